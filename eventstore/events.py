"""Events before and after the log accepted them. The log knows no event type: a body is text to it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class NewEvent(Struct, frozen=True):
    """An event that a caller hands in."""

    type: str  #: without U+0000 and lone surrogates
    timestamp: float  #: Unix seconds, as the event says
    body: str  #: canonical JSON in ASCII
    schema_version: int = 1


class RecordedEvent(Struct, frozen=True):
    """An event of the log. Immutable; identified by its position, or by conversation and version."""

    position: int  #: in the whole log: 1, 2, 3 ... in the order of commits
    conversation: str
    version: int  #: within the conversation: 1, 2, 3 ...
    type: str
    timestamp: float
    schema_version: int
    body: str


class Head(Struct, frozen=True):
    """Where a conversation is."""

    number: int  #: the log's own key of the conversation
    version: int  #: of the last event
    generation: int  #: 1, and one more with each replacement
    generation_version: int  #: version of the event that began the generation; 0 in the first
    generation_position: int
    last_position: int
    turn_seconds: float | None = None  #: for which a turn still holds it; not above 0: the turn was cut off; None: none

    @property
    def is_empty(self) -> bool:
        """Whether the current generation holds no events."""
        return self.version == self.generation_version


class CheckpointMove(Struct, frozen=True):
    """A checkpoint that must be at `old` and is moved to `new` together with an append, or is made when `old` is 0.

    It counts something of the caller's own, such as the rows that an importer has read, and not positions of the log:
    read it with `Checkpoints.get`.
    """

    name: str
    old: int
    new: int


class Append(Struct, frozen=True, kw_only=True):
    """A request to append, all or nothing.

    With `replaces`, the first event begins a new generation, and there is no `opening`. Otherwise `opening` is put in
    front only if the generation is empty at that moment; None refuses to meet an empty generation
    (:class:`~eventstore.errors.OpeningNeeded`), which spares the work of making opening events for a conversation that
    surely has some.
    """

    conversation: str  #: 1 to 1,024 bytes of UTF-8, without U+0000
    events: tuple[NewEvent, ...]  #: at least one
    opening: tuple[NewEvent, ...] | None = ()
    expected: int | None = None  #: version as of before the request's own events; -1 any but 0; None any
    key: str | None = None  #: idempotency key, 1 to 255 bytes
    fingerprint: bytes | None = None  #: of the request's content, with `key`
    replaces: bool = False
    checkpoint: CheckpointMove | None = None
    actor: str | None = None
    request_id: str | None = None


class Appended(Struct, frozen=True):
    """What an append reached; for a repeated one, what the first one reached."""

    base: int  #: version before it
    version: int  #: version after it
    generation: int
    opened: bool  #: whether the opening events were put in front
    repeated: bool  #: whether the idempotency key had been used for the same request before


class Commit(Struct, frozen=True):
    """One commit of the log."""

    first_position: int
    last_position: int
    time: datetime
    chain: bytes


class LogIdentity(Struct, frozen=True):
    """Which log this is; checkpoints name it."""

    id: UUID
    partition_size: int
