"""The relay: follows the log and publishes every event to one broker, in order, after the commit.

Of all processes that run the relay of a broker, the one that holds the lease works. It reads a window of events, lets
the publisher publish them, and moves the checkpoint to what was confirmed. Whatever goes wrong ends this round; the
next begins at the checkpoint, so that nothing is left out, and what was sent without a confirmation is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from brokers import parking
from brokers.errors import BrokerUnavailable, PublishFailed, RelayStopped
from brokers.messages import messages_of, stub_of
from brokers.publisher import Mark, Source, Window
from brokers.status import Sayings
from eventstore import Checkpoint, CheckpointMoved, CorruptLog, ForeignLog, LeaseLost, StoreUnavailable
from eventstore.feed import Feed
from eventstore.leading import is_cancelled, lead
from eventstore.leases import RENEW_EVERY

if TYPE_CHECKING:
    from uuid import UUID

    from brokers.publisher import Message, Publisher
    from brokers.registry import Broker
    from brokers.status import State
    from eventstore import EventStore
    from eventstore.feed import FeedEvent
    from eventstore.leading import Holding

log = structlog.get_logger("turnlog.relay")

_E = TypeVar("_E", bound=Exception)

BACKLOG: Final = 1_000  #: messages of a window after which another one surely follows
POLL: Final = 0.25  #: seconds after which the log is looked at without a hint
STAND_BY: Final = RENEW_EVERY  #: seconds between two tries to take the lease, or to reach the database
FIRST_DELAY: Final = 0.2  #: seconds until the first try to reach a broker again; doubled for each further one
LONGEST_DELAY: Final = 10.0  #: seconds between two tries at most


class Relay:
    """Publishes the log to one broker, in this process or standing by for another one."""

    def __init__(self, store: EventStore, broker: Broker) -> None:
        self._store, self._broker = store, broker
        self._feed = Feed(store.read)
        self._sayings = Sayings(store.read, broker.name, broker.kind, store.node)
        self._news = asyncio.Event()
        self._position = 0  # up to where the broker has confirmed
        self._failures = 0  # in a row
        self._line = ""  # what was logged last of why this process does not work
        self._pause: str | None = None  # why the broker takes nothing
        self._telling: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None  # the checkpoint, behind the last window

    def notify(self) -> None:
        """Say that the log may have grown. Any number of calls cost one look."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled.

        The broker or the database may be away, another process may hold the lease: all are waited for. An exception
        that comes out is a fault of this module or of a custom publisher.
        """
        while True:
            delay = STAND_BY
            try:
                await lead(self._store.leases, self._broker.title, self._work)
            except* (LeaseLost, CheckpointMoved) as group:
                self._note("relay steps back", _innermost(group))
            except* StoreUnavailable as group:
                self._note("relay waits for the database", _innermost(group))
            except* BrokerUnavailable as group:
                delay = await self._tell_unreachable(_innermost(group))
            except* (RelayStopped, ForeignLog, CorruptLog) as group:
                await self._stand_still(_innermost(group))
            except* Exception as group:  # a publisher may be anybody's code, and may not take the projections with it
                log.exception("relay failed", broker=self._broker.name)
                delay = await self._tell_unreachable(
                    BrokerUnavailable(f"a fault of the publisher: {_innermost(group)!r}")
                )
            if is_cancelled():
                raise asyncio.CancelledError
            await asyncio.sleep(delay)  # nothing tells when a lease runs out, or a server is back

    # ---- one round ----

    async def _work(self, holding: Holding) -> None:
        self._sayings.renew()
        publisher = self._broker.publisher()
        publisher.paused = self._tell_paused
        try:
            log_id = (await self._store.read.identity()).id
            mark = await publisher.open(Source(log_id, self._broker.name))
            await self._resume(publisher, mark, holding)
            await self._say("publishing", reconnected=self._failures > 0)
            self._line = ""
            await self._follow(publisher, log_id, holding)
        finally:
            if self._telling is not None:
                self._telling.cancel()
            await publisher.close()

    async def _resume(self, publisher: Publisher, mark: Mark | None, holding: Holding) -> None:
        """Find out where to go on: by the broker's own mark where it keeps one, else by the checkpoint."""
        name = self._broker.title
        checkpoint = await self._store.checkpoints.get(name)
        copy = checkpoint.position if checkpoint else 0
        if mark is not None:
            truth = Checkpoint(name, mark.position, mark.log, mark.chain, mark.epoch)
        elif copy and publisher.keeps_mark:
            raise RelayStopped(
                f"the broker has no mark of ours, but had confirmed position {copy}: `turnlog relay --broker "
                f"{self._broker.name} --set-position {copy}` goes on there, `--set-position 0` publishes all again"
            )
        else:
            truth = checkpoint or await self._first(publisher, holding)
        await self._store.checkpoints.verify(truth)
        self._position = truth.position
        if truth.position != copy:
            await self._store.checkpoints.move(name, copy, truth.position, holding.lease)

    async def _first(self, publisher: Publisher, holding: Holding) -> Checkpoint:
        """Where a broker begins that was never published to; one that keeps marks gets to know it."""
        log_id = (await self._store.read.identity()).id
        head = await self._store.read.last_position() if self._broker.start == "now" else 0
        chain = (await self._store.read.commits(head, head))[-1].chain if head else b""
        if head and publisher.keeps_mark:
            await publisher.publish(Window((), Mark(log_id, head, chain, holding.lease.epoch)))
        return Checkpoint(self._broker.title, head, log_id, chain, holding.lease.epoch)

    async def _follow(self, publisher: Publisher, log_id: UUID, holding: Holding) -> None:
        """Publish window after window; while there is a backlog, the next is made ready meanwhile."""
        lost = asyncio.ensure_future(publisher.lost())
        ahead: asyncio.Task[Window | None] | None = None
        try:
            while True:
                self._news.clear()
                was_ahead = ahead is not None
                window = await (ahead or self._window(publisher, log_id, holding, self._position))
                ahead = None
                if window is None:
                    await self._moved()  # the next look begins where the checkpoint is
                    if not was_ahead:  # that was before the news were cleared: look again
                        await self._wait_for_news(lost)
                    continue
                if len(window.messages) >= BACKLOG:
                    ahead = asyncio.create_task(self._window(publisher, log_id, holding, window.mark.position))
                await self._publish(publisher, window, holding)
                if ahead is None or not publisher.keeps_mark:
                    await self._moved()
        finally:
            under_way = [task for task in (lost, ahead, self._moving) if task is not None]
            self._moving = None
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _wait_for_news(self, lost: asyncio.Future[None]) -> None:
        if lost.done():
            lost.result()
            raise BrokerUnavailable("the connection was lost")
        news: asyncio.Future[Any] = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({news, lost}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    async def _window(self, publisher: Publisher, log_id: UUID, holding: Holding, after: int) -> Window | None:
        """What is published next; None when the log has no more."""
        stretch = await self._feed.after(after)
        if stretch is None:
            return None
        wanted = [event for event in stretch.events if self._broker.publish_imported or not event.imported]
        messages = messages_of(wanted, log_id)
        if any(len(message.body) > publisher.max_message_bytes for message in messages):
            messages = await self._parked(messages, wanted, publisher.max_message_bytes)
        return Window(tuple(messages), Mark(log_id, stretch.position, stretch.chain, holding.lease.epoch))

    async def _parked(self, messages: list[Message], events: list[FeedEvent], limit: int) -> list[Message]:
        """The messages, with stubs in place of those that are too large; these are remembered first."""
        sizes = [(message.position, len(message.body)) for message in messages if len(message.body) > limit]
        await parking.park(self._store.read, self._broker.name, sizes)
        for position, size in sizes:
            log.error(
                "event parked: too large for the broker, which gets a stub",
                broker=self._broker.name, position=position, bytes=size, max_message_bytes=limit,
                advice=f"raise max_message_bytes and run turnlog replay --parked --to {self._broker.name}",
            )  # fmt: skip
        return [
            stub_of(message, event.timestamp) if len(message.body) > limit else message
            for message, event in zip(messages, events, strict=True)
        ]

    async def _publish(self, publisher: Publisher, window: Window, holding: Holding) -> None:
        """Publish a window, and begin to move the checkpoint behind it.

        Where the broker itself keeps the mark the checkpoint is a copy, and the next window need not wait for it.
        """
        holding.check()
        try:
            await publisher.publish(window)
        except PublishFailed as error:
            await self._moved()
            if error.confirmed:
                await self._advance(window.messages[error.confirmed - 1].position, holding)
            raise
        await self._moved()
        self._moving = asyncio.create_task(self._advance(window.mark.position, holding))
        self._failures = 0

    async def _moved(self) -> None:
        """Return when the checkpoint is where it was last moved to."""
        if self._moving is not None:
            moving, self._moving = self._moving, None
            await moving

    async def _advance(self, position: int, holding: Holding) -> None:
        await self._store.checkpoints.move(self._broker.title, self._position, position, holding.lease)
        self._position = position

    # ---- what others get to know ----

    async def _say(self, state: State, reason: str = "", *, reconnected: bool = False) -> None:
        if await self._sayings.say(state, reason, reconnected=reconnected):
            log.info(f"relay {state}", broker=self._broker.name, position=self._position, reason=reason)

    def _note(self, line: str, error: Exception) -> None:
        """Log why this process does not work now; once, however long it lasts."""
        if line != self._line:
            log.warning(line, broker=self._broker.name, reason=str(error))
        self._line = line

    def _tell_paused(self, reason: str | None) -> None:
        """Called amid a window, which may wait for long."""
        self._pause = reason
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._say_pauses())

    async def _say_pauses(self) -> None:
        """Say what holds, until nothing newer is to be said."""
        said: object = self
        while said != self._pause:
            said = self._pause
            try:
                await self._say("publishing" if said is None else "paused", self._pause or "")
            except StoreUnavailable as error:
                self._note("relay waits for the database", error)

    async def _tell_unreachable(self, error: BrokerUnavailable) -> float:
        """Say that the broker is away, and return after how many seconds to try again."""
        self._failures += 1
        await self._say_unreachable(f"{self._place(error.setting)}: {error.reason}")
        delay = min(FIRST_DELAY * (1 << min(self._failures - 1, 10)), LONGEST_DELAY)
        return delay * random.uniform(0.5, 1)  # noqa: S311 - spreads the tries of many processes

    async def _say_unreachable(self, reason: str) -> None:
        try:
            behind = await self._store.read.last_position() - self._position
            if await self._sayings.say("unreachable", reason):
                log.error(f"{reason}; events wait in the log, {behind:,} behind", broker=self._broker.name)
        except StoreUnavailable as error:
            self._note("relay waits for the database", error)

    def _place(self, setting: str) -> str:
        return f"{self._broker.place}.{setting}" if setting else self._broker.place

    async def _stand_still(self, error: Exception) -> None:
        """Wait until somebody sets the checkpoint."""
        reason = str(error)
        if isinstance(error, ForeignLog):
            reason += (
                f": `turnlog relay --broker {self._broker.name} --set-position N` goes on after position N of this log"
            )
        log.error("relay stopped", broker=self._broker.name, reason=reason)
        with contextlib.suppress(StoreUnavailable):
            await self._sayings.say("stopped", reason)
        seen = found = await self._checkpoint()
        while found == seen:
            await asyncio.sleep(STAND_BY)  # a row of a table tells nobody that it changed
            found = await self._checkpoint()

    async def _checkpoint(self) -> Checkpoint | None:
        while True:
            try:
                return await self._store.checkpoints.get(self._broker.title)
            except StoreUnavailable:
                await asyncio.sleep(STAND_BY)


def _innermost(group: BaseExceptionGroup[_E]) -> _E:
    first = group.exceptions[0]
    return _innermost(first) if isinstance(first, BaseExceptionGroup) else first
