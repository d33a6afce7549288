"""Several processes append and read at once: nothing is skipped, doubled or out of order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from eventstore import EventStore, WrongExpectedVersion, verify
from tests.eventstore.helpers import LONG, append, bodies, everything, version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database

PROCESSES = 4
APPENDS = 60


@pytest.fixture
async def processes(database: Database) -> AsyncIterator[list[EventStore]]:
    """The log as several processes see it."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(EventStore(database, connections=2)) for _ in range(PROCESSES)]


async def write(store: EventStore, name: str, seed: int, conversations: int) -> None:
    choose = random.Random(seed)
    for number in range(APPENDS):
        conversation = str(choose.randrange(conversations))
        await store.append(append(conversation, *[f"{name}-{number}-{part}" for part in range(choose.randint(1, 3))]))


async def increment(store: EventStore, name: str) -> None:
    """Append on the version that was read, as often as it takes."""
    for number in range(15):
        while True:
            try:
                await store.append(append("counter", f"{name}-{number}", expected=await version(store, "counter")))
                break
            except WrongExpectedVersion:
                continue


async def tail(store: EventStore, upto: int) -> list[int]:
    """Read by position while others append."""
    positions: list[int] = []
    while len(positions) < upto:
        positions += [event.position for event in await store.read.positions(len(positions), 37)]
    return positions


@pytest.mark.parametrize("conversations", [1, 20])
async def test_versions_are_contiguous_when_processes_append_at_once(
    processes: list[EventStore], conversations: int
) -> None:
    await asyncio.gather(*(write(store, str(k), k, conversations) for k, store in enumerate(processes * 3)))
    seen: Counter[str] = Counter()
    for event in await everything(processes[0]):
        seen[event.conversation] += 1
        assert event.version == seen[event.conversation]


async def test_each_writer_finds_its_events_once_and_in_its_order(processes: list[EventStore]) -> None:
    await asyncio.gather(*(write(store, str(k), k, 1) for k, store in enumerate(processes)))
    found = [tuple(body.split("-")) for body in await bodies(processes[0], "0")]
    for name in map(str, range(PROCESSES)):
        own = [(int(number), int(part)) for writer, number, part in found if writer == name]
        assert own == sorted(set(own))
        assert {number for number, _ in own} == set(range(APPENDS))


async def test_of_conditional_appends_one_wins_at_each_version(processes: list[EventStore]) -> None:
    async with asyncio.timeout(LONG):
        await asyncio.gather(*(increment(store, str(k)) for k, store in enumerate(processes)))
    found = await bodies(processes[0], "counter")
    assert sorted(found) == sorted(f"{k}-{number}" for k in range(PROCESSES) for number in range(15))


async def test_a_reader_by_position_sees_no_gap_and_no_inversion(processes: list[EventStore]) -> None:
    writers = asyncio.gather(*(write(store, str(k), k, 5) for k, store in enumerate(processes)))
    async with asyncio.timeout(LONG):
        readers = asyncio.gather(*(tail(store, PROCESSES * APPENDS) for store in processes))
        for positions in await readers:
            assert positions == list(range(1, len(positions) + 1))
    await writers


async def test_a_log_that_many_wrote_is_whole(processes: list[EventStore]) -> None:
    await asyncio.gather(*(write(store, str(k), k, 5) for k, store in enumerate(processes)))
    verified = await verify(processes[0].read)
    assert verified.conversations == 5
