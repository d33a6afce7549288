"""The verbs by which the relay speaks to a broker, and what passes between the two."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNLIMITED: Final = 1 << 62


Header = str | int | bool


class Message(Struct, frozen=True, gc=False):
    """One event on its way to a broker. `more` are headers that only some messages have."""

    log: str  #: the log's id
    position: int
    conversation: str  #: Rasa's `sender_id`
    version: int
    generation: int
    type: str
    body: bytes  #: a JSON object in ASCII: `sender_id`, and the event's own fields
    more: tuple[tuple[str, Header], ...] = ()

    @property
    def id(self) -> str:
        """Like no other message's, but for one that is sent again."""
        return f"{self.log}-{self.position}"

    @property
    def headers(self) -> dict[str, Header]:
        """All headers by their names; texts in them hold no U+0000."""
        return {
            "turnlog-log": self.log,
            "turnlog-position": self.position,
            "turnlog-version": self.version,
            "turnlog-generation": self.generation,
            "turnlog-type": self.type,
            **dict(self.more),
        }


class Mark(Struct, frozen=True):
    """How far a broker has come, and how it knows the log again."""

    log: UUID
    position: int  #: of the last event that was published, 0 before the first
    chain: bytes  #: of the commit that holds the position, empty at 0
    epoch: int = 0  #: of the lease under which it was reached


class Window(Struct, frozen=True):
    """Messages that are published together, in the order of the log, and the mark that they reach.

    There may be no messages at all: then only the mark moves.
    """

    messages: tuple[Message, ...]
    mark: Mark


class Source(Struct, frozen=True):
    """Which log is published, by the relay of which broker; `replay` is the id of a replay beside the live relay."""

    log: UUID
    broker: str
    replay: str | None = None


class Publisher(ABC):
    """Speaks to one broker for one relay, which opens it, uses it from one task, and closes it.

    After any exception the relay closes it and makes another one.

    Attributes:
        keeps_mark: whether the broker itself keeps the mark of each window; then `set_mark` is there as well.
            RabbitMQ's is False after `open` when it returned no mark.
        max_message_bytes: bodies beyond it are not handed in; the relay publishes a stub in their place.
        paused: called by the publisher with a reason while the broker takes nothing, and with None when it does again.
    """

    keeps_mark: bool = False
    max_message_bytes: int = UNLIMITED

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` are all keys of the broker's section, as they stand in endpoints.yml."""
        self.paused: Callable[[str | None], None] = lambda _reason: None

    @abstractmethod
    async def open(self, source: Source) -> Mark | None:
        """Connect, and return the mark that the broker itself keeps for this source.

        None when it keeps none: then the relay's own checkpoint says where to go on.

        Raises:
            BrokerUnavailable: with the setting to look at.
            RelayStopped: a person must decide.
        """

    @abstractmethod
    async def publish(self, window: Window) -> None:
        """Publish the window's messages in order, and return when the broker has taken responsibility for each.

        Raises:
            PublishFailed: with how many of the first messages were confirmed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection. May be called at any time, also before `open` and more than once."""

    async def set_mark(self, source: Source, mark: Mark) -> None:
        """Write a mark by hand, in place of `open`, in a publisher that keeps marks.

        Raises:
            BrokerUnavailable: with the setting to look at.
        """
        raise NotImplementedError

    async def lost(self) -> None:
        """Return when the connection is known to be gone, which a publisher need not notice by itself."""
        await asyncio.Event().wait()
