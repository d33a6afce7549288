"""Sending events of the log again, beside the live relay and marked as a replay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from brokers import parking
from brokers.errors import BrokerError, PublishFailed
from brokers.messages import message_of, stub_of
from brokers.publisher import Mark, Source, Window
from dialogue.json import dumps, loads
from eventstore.feed import Feed, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from brokers.publisher import Message, Publisher
    from eventstore import EventStore
    from eventstore.feed import FeedEvent, Stretch


class Replayed(Struct, frozen=True):
    """How far a replay is."""

    position: int  #: up to which everything that was selected is confirmed
    confirmed: int  #: events that the broker has confirmed


class ReplayFailed(BrokerError):
    """The replay ended early; `done` says how far it came."""

    def __init__(self, reason: str, done: Replayed) -> None:
        super().__init__(reason)
        self.reason, self.done = reason, done


class Plan(Struct, frozen=True, kw_only=True):
    """What is sent again, and how.

    Attributes:
        id: of the replay; messages carry it as a header, and brokers with transactions tell replays apart by it.
        broker: the name of the broker.
        after, upto: the first position is the one after `after`, the last one is `upto`, which the log must reach.
        selection: which of these events.
        offset_seconds: added to the timestamps of the events that are sent.
        headers: more headers for each message.
    """

    id: str
    broker: str
    after: int
    upto: int
    selection: Selection = Selection()
    offset_seconds: float = 0
    headers: dict[str, str | int | bool] = {}


class Replay:
    """One replay. The publisher stays the caller's to close."""

    def __init__(
        self, store: EventStore, publisher: Publisher, plan: Plan, tell: Callable[[Replayed], None] = lambda _: None
    ) -> None:
        """`tell` is called after each window."""
        self._store, self._publisher, self._plan, self._tell = store, publisher, plan, tell
        self._feed = Feed(store.read)
        self._done = Replayed(plan.after, 0)
        self._stop = asyncio.Event()

    @property
    def done(self) -> Replayed:
        """How far it is."""
        return self._done

    def stop(self) -> None:
        """End after the window under way."""
        self._stop.set()

    async def run(self) -> Replayed:
        """Send everything that the plan names, or less if it is told to stop.

        Raises:
            ReplayFailed: the broker can't be reached or did not confirm.
            StoreUnavailable, CorruptLog: the log can't be read.
        """
        log = await self._open()
        while self._done.position < self._plan.upto and not self._stop.is_set():
            plan = self._plan
            stretch = await self._feed.selected(self._done.position, plan.upto, plan.selection)
            await self._send(log, stretch, self._messages(log, stretch.events))
        return self._done

    async def run_parked(self) -> Replayed:
        """Send whole, and in order, the events of the plan's positions that the broker has as stubs only.

        Raises:
            ReplayFailed: as above, or one is still too large.
        """
        log = await self._open()
        for position in await parking.parked(self._store.read, self._plan.broker, self._plan.after):
            if position > self._plan.upto or self._stop.is_set():
                break
            stretch = await self._feed.selected(position - 1, position, Selection())
            messages = [self._message(event, log) for event in stretch.events]
            self._refuse_large(messages)
            await self._send(log, stretch, messages)
            await parking.mark_replayed(self._store.read, self._plan.broker, [position])
        return self._done

    async def _open(self) -> UUID:
        log = (await self._store.read.identity()).id
        try:
            await self._publisher.open(Source(log, self._plan.broker, self._plan.id))
        except BrokerError as error:
            raise ReplayFailed(str(error), self._done) from error
        return log

    def _messages(self, log: UUID, events: Iterable[FeedEvent]) -> list[Message]:
        limit = self._publisher.max_message_bytes
        pairs = [(self._message(event, log), event.timestamp) for event in events]
        return [stub_of(message, at) if len(message.body) > limit else message for message, at in pairs]

    def _message(self, event: FeedEvent, log: UUID) -> Message:
        if self._plan.offset_seconds:
            event = _moved(event, self._plan.offset_seconds)
        message = message_of(event, log, replay=self._plan.id)
        return replace(message, more=(*message.more, *self._plan.headers.items())) if self._plan.headers else message

    def _refuse_large(self, messages: Sequence[Message]) -> None:
        limit = self._publisher.max_message_bytes
        for message in messages:
            if len(message.body) > limit:
                raise ReplayFailed(
                    f"the event at position {message.position} has {len(message.body)} bytes, and max_message_bytes "
                    f"of broker {self._plan.broker} is {limit}: raise it, and the broker's own limit",
                    self._done,
                )

    async def _send(self, log: UUID, stretch: Stretch, messages: Sequence[Message]) -> None:
        try:
            if messages:
                await self._publisher.publish(Window(tuple(messages), Mark(log, stretch.position, stretch.chain)))
        except PublishFailed as error:
            self._advance(messages[error.confirmed - 1].position if error.confirmed else None, error.confirmed)
            raise ReplayFailed(str(error), self._done) from error
        self._advance(stretch.position, len(messages))

    def _advance(self, position: int | None, confirmed: int) -> None:
        self._done = Replayed(position or self._done.position, self._done.confirmed + confirmed)
        self._tell(self._done)


def _moved(event: FeedEvent, seconds: float) -> FeedEvent:
    body: dict[str, Any] = loads(event.body.encode("ascii"))
    if "timestamp" in body:
        body["timestamp"] += seconds
    return replace(event, timestamp=event.timestamp + seconds, body=dumps(body))
