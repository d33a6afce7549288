"""The log as one object: append, read, and what readers keep beside it."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

from eventstore.checkpoints import Checkpoints
from eventstore.group_commit import GroupCommit, Origin
from eventstore.leases import Leases
from eventstore.reads import Reader
from eventstore.snapshots import Snapshots

if TYPE_CHECKING:
    from types import TracebackType

    from eventstore.database import Database
    from eventstore.events import Append, Appended

MAX_CONVERSATION_BYTES: Final = 1024
MAX_KEY_BYTES: Final = 255


class EventStore:
    """The log in one database, as one process sees it. Belongs to the running loop.

    Attributes:
        read: heads, events and commits.
        snapshots, checkpoints, leases: what readers of the log keep beside it.
    """

    def __init__(self, database: Database, *, origin: Origin = "api", connections: int = 4) -> None:
        self.database = database
        self.node = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.read = Reader(database, connections=connections)
        self.snapshots = Snapshots(self.read)
        self.checkpoints = Checkpoints(self.read)
        self.leases = Leases(self.read, owner=self.node)
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
            ValueError: what Postgres can't hold: a wrong conversation id, key, actor or type.
            WrongExpectedVersion, IdempotencyKeyReused, OpeningNeeded, CheckpointMoved: nothing was written.
            EventRefused: nothing was written.
            StoreUnavailable: its `outcome` says what is known.
        """
        check_conversation_id(request.conversation)
        _check(request)
        return await self._commit.append(request)

    @property
    def head(self) -> int:
        """The last position that this process knows of; a hint for readers, never a bound."""
        return self._commit.head


def check_conversation_id(conversation: str) -> None:
    """Raise ValueError unless the id is 1 to 1,024 bytes of UTF-8 without U+0000."""
    size = _utf8_size("conversation id", conversation)
    if not 1 <= size <= MAX_CONVERSATION_BYTES:
        raise ValueError(f"a conversation id has 1 to {MAX_CONVERSATION_BYTES} bytes of UTF-8, not {size}")


def _check(request: Append) -> None:
    if not request.events:
        raise ValueError("an append needs at least one event")
    if request.key is not None and not 1 <= _utf8_size("idempotency key", request.key) <= MAX_KEY_BYTES:
        raise ValueError(f"an idempotency key has 1 to {MAX_KEY_BYTES} bytes of UTF-8")
    for name, text in (("actor", request.actor), ("request id", request.request_id)):
        if text is not None:
            _utf8_size(name, text)


def _utf8_size(name: str, text: str) -> int:
    if "\0" in text:
        raise ValueError(f"{name} {text[:80]!r} contains U+0000")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} {text[:80]!r} is not valid Unicode: {error.reason}") from error
