"""Replays for commands: what a person asks for becomes a plan, and the plan is carried out."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from api.progress import progress
from api.relaying import broker_named
from brokers import RelayStopped
from brokers.lines import LinePublisher
from brokers.replay import Plan, Replay, Replayed
from eventstore import EventStore
from eventstore.feed import Feed, Selection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from api.settings import Settings
    from brokers import Publisher

STDOUT = "-"
IMPATIENT = 2  #: signals after which a replay ends at once


class Wanted(Struct, frozen=True, kw_only=True):
    """What a person asked for; None leaves open.

    Attributes:
        id: of the replay.
        broker: the broker's name; None with `output`.
        output: a file that is appended to, or `-` for standard output.
        after, upto: positions.
        since, until: times of commits.
        parked: only events that the broker has as stubs.
        offset_seconds, headers: as in the plan.
    """

    id: str
    broker: str | None = None
    output: str | None = None
    after: int | None = None
    upto: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    selection: Selection = Selection()
    parked: bool = False
    offset_seconds: float = 0
    headers: dict[str, str | int | bool] = {}


class Result(Struct, frozen=True):
    """How a replay ended."""

    replayed: Replayed
    is_complete: bool  #: whether it was not stopped by a signal before its end


class NothingToReplay(Exception):
    """The log has nothing of what was asked for; the message says what is missing."""


def run(settings: Settings, wanted: Wanted) -> Result:
    """Carry out a replay, with progress on standard error; SIGINT and SIGTERM end it after the window under way.

    Raises:
        ReplayFailed: with how far it came.
        NothingToReplay: none of the conversations that were named is in the log.
        RelayStopped: the log does not reach a position that was named.
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    with open_database(settings) as database, _publisher(settings, wanted) as publisher:

        async def work() -> Result:
            async with EventStore(database) as store:
                return await _replay(store, publisher, wanted)

        return asyncio.run(work())


def missing(settings: Settings, conversations: tuple[str, ...] | None) -> tuple[bool, list[str]]:
    """Whether the log has any event, and which of these conversations it does not have."""
    from api.serving import open_database

    with open_database(settings) as database:

        async def work() -> tuple[bool, list[str]]:
            async with EventStore(database) as store:
                found = await Feed(store.read).spans(conversations or ())
                unknown = [name for name in conversations or () if name not in found]
                return await store.read.last_position() > 0, unknown

        return asyncio.run(work())


@contextmanager
def _publisher(settings: Settings, wanted: Wanted) -> Iterator[Publisher]:
    if wanted.output == STDOUT:
        with open(sys.stdout.fileno(), "ab", buffering=0, closefd=False) as stream:
            yield LinePublisher(stream)
    elif wanted.output is not None:
        with open(wanted.output, "ab", buffering=0) as stream:  # noqa: PTH123 - a path as it was given
            yield LinePublisher(stream)
    else:
        assert wanted.broker is not None
        yield broker_named(settings, wanted.broker).publisher()


async def _replay(store: EventStore, publisher: Publisher, wanted: Wanted) -> Result:
    plan = await _plan(store, wanted)
    with progress("replay", max(plan.upto - plan.after, 0)) as shown:
        replay = Replay(store, publisher, plan, lambda done: shown.show(done.position - plan.after, done.confirmed))
        async with _stopped_by_signals(replay) as signals:
            try:
                await (replay.run_parked() if wanted.parked else replay.run())
            except asyncio.CancelledError:
                if len(signals) < IMPATIENT:
                    raise
            finally:
                await publisher.close()
    return Result(replay.done, not signals)


async def _plan(store: EventStore, wanted: Wanted) -> Plan:
    head = await store.read.last_position()
    for position in (wanted.after, wanted.upto):
        if position is not None and position > head:
            raise RelayStopped(f"position {position} is not in this log, which ends at {head}")
    after = max(wanted.after or 0, await store.read.position_at(wanted.since) if wanted.since else 0)
    upto = min(
        head if wanted.upto is None else wanted.upto,
        await store.read.position_at(wanted.until) if wanted.until else head,
    )
    plan = Plan(
        id=wanted.id,
        broker=wanted.broker or "",
        after=after,
        upto=upto,
        selection=wanted.selection,
        offset_seconds=wanted.offset_seconds,
        headers=wanted.headers,
    )
    return await _narrowed(store, plan)


async def _narrowed(store: EventStore, plan: Plan) -> Plan:
    """The plan without the ends of the log at which none of its conversations has an event."""
    if plan.selection.conversations is None:
        return plan
    spans = await Feed(store.read).spans(plan.selection.conversations)
    if not spans:
        raise NothingToReplay("none of these conversations is in the log")
    first = min(first for first, _last in spans.values())
    last = max(last for _first, last in spans.values())
    return replace(plan, after=max(plan.after, first - 1), upto=min(plan.upto, last))


@asynccontextmanager
async def _stopped_by_signals(replay: Replay) -> AsyncIterator[list[int]]:
    """Gives the list of the signals that came. The second one does not wait for the window under way."""
    came: list[int] = []
    loop = asyncio.get_running_loop()
    work = asyncio.current_task()
    assert work is not None

    def stop(number: int) -> None:
        came.append(number)
        replay.stop()
        if len(came) == IMPATIENT:
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
