"""The log as one object: append, read, and what readers keep beside it."""

from __future__ import annotations

import os
import secrets
import socket
from math import isfinite
from typing import TYPE_CHECKING, Final

from eventstore.checkpoints import Checkpoints
from eventstore.conversation_id import check_conversation_id, utf8_size
from eventstore.group_commit import GroupCommit, Origin
from eventstore.leases import Leases
from eventstore.reads import Reader
from eventstore.snapshots import Snapshots
from eventstore.turns import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from eventstore.database import Database
    from eventstore.events import Append, Appended, NewEvent

MAX_KEY_BYTES: Final = 255
MAX_SCHEMA_VERSION: Final = 32767


class EventStore:
    """The log in one database, as one process sees it. Belongs to the running loop.

    Attributes:
        read: heads, events and commits.
        snapshots, checkpoints, leases: what readers of the log keep beside it.
        turns: who answers a conversation.
    """

    def __init__(self, database: Database, *, origin: Origin = "api", connections: int = 4) -> None:
        self.database = database
        self.node = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.read = Reader(database, connections=connections)
        self.snapshots = Snapshots(self.read)
        self.checkpoints = Checkpoints(self.read)
        self.leases = Leases(self.read, owner=self.node)
        self.turns = Turns(self.read, database, node=self.node)
        self._commit = GroupCommit(database, node=self.node, origin=origin)

    async def __aenter__(self) -> EventStore:
        await self.read.open()
        self._commit.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._commit.close()
        await self.read.close()

    async def append(self, request: Append) -> Appended:
        """Append a request's events, all or none, and answer when they are flushed.

        Cancelling the caller does not take the request back.

        Raises:
            ValueError: what Postgres can't hold: a wrong conversation id, key, actor, type, body or timestamp.
            WrongExpectedVersion, IdempotencyKeyReused, OpeningNeeded, CheckpointMoved: nothing was written.
            EventRefused, AppendTooLarge: nothing was written.
            StoreUnavailable: its `outcome` says what is known.
        """
        _check(request)
        return await self._commit.append(request)

    @property
    def head(self) -> int:
        """The last position that this process knows of; a hint for readers, never a bound."""
        return self._commit.head


def _check(request: Append) -> None:
    check_conversation_id(request.conversation)
    if not request.events:
        raise ValueError("an append needs at least one event")
    if request.replaces and request.opening != ():
        raise ValueError("an append that replaces has no opening events, its own first event begins the generation")
    if request.expected is not None and request.expected < -1:
        raise ValueError(f"an expected version is -1 or greater, not {request.expected}")
    if request.key is not None:
        _check_key(request.key, request.fingerprint)
    if request.actor is not None:
        utf8_size("actor", request.actor)
    if request.request_id is not None:
        utf8_size("request id", request.request_id)
        _check_one_line("request id", request.request_id)
    if request.checkpoint is not None:
        utf8_size("checkpoint", request.checkpoint.name)
    for event in request.opening or ():
        _check_event(event)
    for event in request.events:
        _check_event(event)


def _check_key(key: str, fingerprint: bytes | None) -> None:
    if not 1 <= utf8_size("idempotency key", key) <= MAX_KEY_BYTES:
        raise ValueError(f"an idempotency key has 1 to {MAX_KEY_BYTES} bytes of UTF-8")
    if fingerprint is None:
        raise ValueError("an idempotency key needs the fingerprint of its request")


def _check_one_line(name: str, text: str) -> None:
    if not text or "\n" in text:
        raise ValueError(f"{name} {text[:80]!r} is empty or has several lines")


def _check_event(event: NewEvent) -> None:
    utf8_size("event type", event.type)
    _check_one_line("event type", event.type)
    if not event.body.isascii() or "\0" in event.body or "\n" in event.body or not event.body:
        raise ValueError(f"the body of an event of type {event.type!r} is not JSON in one line of ASCII")
    if not 1 <= event.schema_version <= MAX_SCHEMA_VERSION:
        raise ValueError(f"a schema version is 1 to {MAX_SCHEMA_VERSION}, not {event.schema_version}")
    if not _is_finite(event.timestamp):
        raise ValueError(f"an event of type {event.type!r} has a timestamp that no double holds")


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # an integer beyond every double
        return False
