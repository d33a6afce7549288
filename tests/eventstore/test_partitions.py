"""Partitions of the log: made ahead, made when needed, and left out where nothing can be in them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from eventstore import Database, EventStore, maintain, migrate, reads, verify
from tests.eventstore.helpers import LONG, append, bodies, everything, together
from tests.eventstore.plans import plan, relations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore.database import Connection
    from tests.postgres import Server

SIZE = 10


@pytest.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    """A log whose partitions are small."""
    async with server.database(migrated=False) as database:
        await migrate(database, partition_size=SIZE)
        yield database


async def partitions(connection: Connection) -> int:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'turnlog.event'::regclass"
    )
    return count


@asynccontextmanager
async def reading_for_long(connection: Connection) -> AsyncIterator[None]:
    """An open transaction that has read the events, as pg_dump has."""
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetch("SELECT * FROM turnlog.event")
        yield


async def test_a_whole_partition_lies_ahead_from_the_start(connection: Connection) -> None:
    assert await partitions(connection) == 2


@pytest.mark.parametrize("head", [SIZE - 1, SIZE, SIZE + 1, 2 * SIZE])
async def test_maintenance_makes_a_whole_partition_ahead(store: EventStore, connection: Connection, head: int) -> None:
    await store.append(append("a", *range(head)))
    assert (await maintain(store.read)).partitions >= 1
    assert await partitions(connection) * SIZE >= head + SIZE


async def test_maintenance_makes_none_when_enough_lies_ahead(store: EventStore) -> None:
    await store.append(append("a", *range(SIZE)))
    await maintain(store.read)
    assert (await maintain(store.read)).partitions == 0


async def test_appends_cross_partitions(store: EventStore) -> None:
    for number in range(SIZE * 3):
        await store.append(append("a", number, number))
    assert [event.position for event in await everything(store)] == list(range(1, SIZE * 6 + 1))
    assert (await verify(store.read)).last == SIZE * 6


async def test_an_append_longer_than_many_partitions_makes_them(store: EventStore) -> None:
    await store.append(append("a", *range(SIZE * 7)))
    assert await bodies(store, "a") == [str(number) for number in range(SIZE * 7)]


async def test_appends_that_race_past_the_last_partition_all_succeed(store: EventStore, database: Database) -> None:
    async with EventStore(database) as other:
        requests = [each.append(append(str(number), *range(4))) for number, each in enumerate([store, other] * 20)]
        await asyncio.gather(*requests)
    assert len(await everything(store)) == 160


async def test_a_long_reader_stops_no_append_that_makes_partitions(store: EventStore, connection: Connection) -> None:
    async with asyncio.timeout(LONG), reading_for_long(connection):
        await store.append(append("a", *range(SIZE * 5)))
    assert await partitions(connection) > 5


async def test_a_long_reader_stops_no_maintenance(store: EventStore, connection: Connection) -> None:
    await store.append(append("a", *range(SIZE + 1)))
    async with asyncio.timeout(LONG), reading_for_long(connection):
        assert (await maintain(store.read)).partitions > 0


async def test_a_read_by_position_looks_into_its_partitions_only(store: EventStore, connection: Connection) -> None:
    await together(store, [append("a", *range(SIZE * 6))])
    found = relations(await plan(connection, reads.POSITIONS, SIZE + 1, SIZE + 5))
    assert {name for name in found if name.startswith("event_")} == {"event_1"}


async def test_a_read_of_a_conversation_looks_into_its_partitions_only(
    store: EventStore, connection: Connection
) -> None:
    await store.append(append("a", *range(SIZE)))
    await store.append(append("b", *range(SIZE)))
    await store.append(append("c", *range(SIZE * 4)))
    head = await store.read.head("b")
    assert head is not None
    arguments = (head.number, 0, head.version, head.generation_position, head.last_position)
    found = relations(await plan(connection, reads.CONVERSATION, *arguments))
    assert {name for name in found if name.startswith("event_")} == {"event_1"}


async def test_each_partition_refuses_a_version_twice(connection: Connection) -> None:
    uniques = await connection.fetchval("SELECT count(*) FROM pg_constraint WHERE conname LIKE 'event\\_%unique'")
    assert uniques == await partitions(connection)
