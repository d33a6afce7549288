"""A broker that keeps what it gets, and fails when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from brokers import Broker, Mark, Message, Publisher, PublishFailed, Relay, Source, Window, relays
from tests.projections.keeping import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from brokers import RelayStatus
    from eventstore import EventStore


class ScriptedBroker:
    """What stays when publishers come and go. Set the attributes to let things happen.

    Attributes:
        got: every message, in the order of its arrival.
        windows: how many messages came at once.
        refuse_open, refuse: errors for the next opens and the next windows; each is used once.
        mark: what the broker keeps, if `keeps_mark`.
        gate: windows wait until it is set.
    """

    def __init__(self, *, keeps_mark: bool = False, max_message_bytes: int = 1 << 40) -> None:
        self.got: list[Message] = []
        self.windows: list[int] = []
        self.sources: list[Source] = []
        self.refuse_open: list[Exception] = []
        self.refuse: list[Exception] = []
        self.mark: Mark | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.keeps_mark, self.max_message_bytes = keeps_mark, max_message_bytes
        self.publishers: list[ScriptedPublisher] = []

    def broker(self, **fields: Any) -> Broker:
        """The configuration that leads here."""
        common: dict[str, Any] = {"name": "scripted", "kind": "tests", "place": "endpoints.yml:1: event_broker"}
        return Broker(**(common | fields), publisher=lambda: ScriptedPublisher(self))

    @property
    def positions(self) -> list[int]:
        """Of all messages, in the order of their arrival."""
        return [message.position for message in self.got]


class ScriptedPublisher(Publisher):
    """One connection to it."""

    def __init__(self, broker: ScriptedBroker) -> None:
        super().__init__({})
        self._broker = broker
        self.keeps_mark, self.max_message_bytes = broker.keeps_mark, broker.max_message_bytes
        self.breaks = asyncio.Event()
        self.is_closed = False
        broker.publishers.append(self)

    async def open(self, source: Source) -> Mark | None:
        self._broker.sources.append(source)
        if self._broker.refuse_open:
            raise self._broker.refuse_open.pop(0)
        return self._broker.mark

    async def publish(self, window: Window) -> None:
        await self._broker.gate.wait()
        self._broker.windows.append(len(window.messages))
        if self._broker.refuse:
            error = self._broker.refuse.pop(0)
            confirmed = error.confirmed if isinstance(error, PublishFailed) else 0
            self._broker.got += window.messages[: confirmed + 1]  # the next one arrives, and is not confirmed
            raise error
        self._broker.got += window.messages
        if self.keeps_mark:
            self._broker.mark = window.mark

    async def set_mark(self, source: Source, mark: Mark) -> None:
        self._broker.mark = mark

    async def close(self) -> None:
        self.is_closed = True

    async def lost(self) -> None:
        await self.breaks.wait()


@contextlib.asynccontextmanager
async def relaying(store: EventStore, broker: Broker) -> AsyncIterator[Relay]:
    """A relay at work. Should it fail, the test fails with it."""
    relay = Relay(store, broker)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run())
        try:
            yield relay
        finally:
            task.cancel()


async def status_of(store: EventStore, name: str = "scripted") -> RelayStatus | None:
    """What its relay says."""
    return next((status for status in await relays(store.read) if status.name == name), None)


async def has_state(store: EventStore, state: str) -> None:
    """Wait until the relay says so."""

    async def says_so() -> bool:
        status = await status_of(store)
        return status is not None and status.state == state

    await until(says_so)


async def published(store: EventStore, name: str = "scripted") -> None:
    """Wait until a broker has confirmed everything that is in the log."""

    async def is_there() -> bool:
        status = await status_of(store, name)
        return status is not None and status.position == await store.read.last_position()

    await until(is_there)
