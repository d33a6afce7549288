"""Verification: every change behind the log's back is noticed, and its first place named."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from eventstore import CheckpointMove, CorruptLog, Database, EventStore, verify
from tests.eventstore.helpers import append, together

if TYPE_CHECKING:
    from eventstore.database import Connection
    from tests.postgres import Server

pytestmark = pytest.mark.usefixtures("_events")

UNGUARDED = "".join(
    f"ALTER TABLE turnlog.{table} DISABLE TRIGGER ALL;"
    for table in ("event", "event_0", "commit", "conversation", "generation", "log")
)


async def fill(store: EventStore) -> None:
    """Positions 1 to 12 in 5 commits; two conversations, one of them with two generations."""
    await together(store, [append("a", "ä".encode("unicode_escape").decode(), 2), append("b", 3)])
    await store.append(append("a", 4, 5))
    await store.append(append("b", "r", 7, 8, replaces=True))
    await store.append(append("a", 9, checkpoint=CheckpointMove("import", 0, 1)))
    await together(store, [append("b", 10), append("a", 11, 12)])


@pytest.fixture
async def _events(store: EventStore, connection: Connection) -> None:
    await fill(store)
    await connection.execute(UNGUARDED)


async def test_a_log_that_nobody_touched_is_whole(store: EventStore) -> None:
    verified = await verify(store.read)
    [last] = await store.read.commits(12, 12)
    assert (verified.first, verified.last, verified.commits, verified.conversations) == (1, 12, 5, 2)
    assert (verified.log, verified.chain) == ((await store.read.identity()).id, last.chain)


async def test_an_empty_log_is_whole(server: Server) -> None:
    async with server.database() as database, EventStore(database) as store:
        verified = await verify(store.read)
    assert (verified.first, verified.last, verified.commits, verified.chain) == (1, 0, 0, b"")


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(1, 12, (1, 12)), (4, None, (4, 12)), (5, 6, (4, 8)), (2, 9, (1, 9)), (12, 12, (10, 12)), (13, None, (13, 12))],
)
async def test_a_part_of_the_log_is_verified_by_whole_commits(
    store: EventStore, first: int, last: int | None, found: tuple[int, int]
) -> None:
    verified = await verify(store.read, first=first, last=last)
    assert (verified.first, verified.last) == found


async def test_progress_is_told_after_each_commit(store: EventStore) -> None:
    told: list[tuple[int, int]] = []
    await verify(store.read, progress=lambda position, last: told.append((position, last)))
    assert told == [(3, 12), (5, 12), (8, 12), (9, 12), (12, 12)]


async def test_a_log_that_is_longer_than_one_read_is_verified(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMMITS_AT_ONCE", "EVENTS_AT_ONCE", "HEADS_AT_ONCE"):
        monkeypatch.setattr(import_module("eventstore.verify"), name, 2)
    assert (await verify(store.read)).commits == 5


async def test_a_log_that_grows_meanwhile_is_verified(store: EventStore) -> None:
    async def grow() -> None:
        for number in range(60):
            await store.append(append(str(number % 7), number, number, replaces=number % 5 == 0))

    growing = asyncio.ensure_future(grow())
    while not growing.done():
        await verify(store.read)
    await growing
    assert (await verify(store.read)).last == 132


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE turnlog.event SET body = '{}' WHERE position = 5", "event at position 5 was changed"),
        ("UPDATE turnlog.event SET type = 'user' WHERE position = 5", "event at position 5 was changed"),
        ("UPDATE turnlog.event SET timestamp = timestamp + 1 WHERE position = 5", "event at position 5 was changed"),
        ("UPDATE turnlog.event SET schema_version = 2 WHERE position = 5", "event at position 5 was changed"),
        ("UPDATE turnlog.event SET version = 9 WHERE position = 5", "event at position 5 was changed"),
        (
            "UPDATE turnlog.event SET conversation = 2, version = 9 WHERE position = 5",
            "event at position 5 was changed",
        ),
        ("UPDATE turnlog.conversation SET salt = 'x' WHERE id = 'b'", "event at position 3 was changed"),
        (
            "UPDATE turnlog.event e SET body = '{}', digest = turnlog.event_digest(c.salt, e.version, type,"
            " schema_version, timestamp, '{}')"
            " FROM turnlog.conversation c WHERE c.no = e.conversation AND position = 5",
            "the chain breaks at the commit of positions 4 to 5",
        ),
        ("DELETE FROM turnlog.event WHERE position = 5", "no event at position 5"),
        ("DELETE FROM turnlog.event WHERE position = 12", "no event at position 12"),
        ("DELETE FROM turnlog.event WHERE position BETWEEN 4 AND 8", "no event at position 4"),
        ("DELETE FROM turnlog.event", "no event at position 1"),
        ("DELETE FROM turnlog.commit WHERE last_position = 8", "positions 9 to 9 comes after position 5"),
        ("DELETE FROM turnlog.commit WHERE last_position = 12", "event at position 12, and the last commit ends at 9"),
        (
            "DELETE FROM turnlog.commit WHERE last_position > 8; DELETE FROM turnlog.event WHERE position > 8",
            "has its last event at position 12, the log ends at 8",
        ),
        (
            "UPDATE turnlog.commit SET time = time - interval '1 day' WHERE last_position = 8",
            "positions 6 to 8 is not later",
        ),
        ("UPDATE turnlog.commit SET time = time + interval '1 us' WHERE last_position = 3", "chain breaks at"),
        ("UPDATE turnlog.commit SET chain = 'x' WHERE last_position = 12", "the chain breaks at"),
        ("DELETE FROM turnlog.conversation WHERE id = 'a'", "event at position 1 belongs to no conversation"),
        ("UPDATE turnlog.conversation SET version = 8 WHERE id = 'a'", "'a' is at version 8, its events end with 7"),
        ("UPDATE turnlog.conversation SET last_position = 11 WHERE id = 'a'", "'a' is at version 7"),
        ("UPDATE turnlog.conversation SET first_position = 2 WHERE id = 'a'", "'a' begins at position 2"),
        (
            "INSERT INTO turnlog.conversation VALUES (9, 'ghost', 1, 1, 0, 3, 3, 3, 'x')",
            "'ghost' has no events at positions 3 and 3",
        ),
        ("DELETE FROM turnlog.generation", "'b' is in generation 2, its generations end with 1"),
        ("UPDATE turnlog.generation SET first_version = 3", "generation 2 of conversation 'b' does not begin"),
        ("UPDATE turnlog.generation SET first_position = 5", "generation 2 of conversation 'b' does not begin"),
        ("UPDATE turnlog.conversation SET generation_version = 3 WHERE id = 'b'", "'b' is in generation 2"),
    ],
)
async def test_a_change_is_noticed(store: EventStore, connection: Connection, change: str, message: str) -> None:
    await connection.execute(change)
    with pytest.raises(CorruptLog, match=message):
        await verify(store.read)


async def test_events_of_another_log_are_noticed(store: EventStore, connection: Connection, server: Server) -> None:
    async with server.database() as foreign, EventStore(foreign) as other:
        await fill(other)
        await copy("event_0", foreign, connection)
    with pytest.raises(CorruptLog, match="event at position 1 was changed"):
        await verify(store.read)


async def test_commits_of_another_log_are_noticed(store: EventStore, connection: Connection, server: Server) -> None:
    async with server.database() as foreign, EventStore(foreign) as other:
        await fill(other)
        await copy("commit", foreign, connection)
    with pytest.raises(CorruptLog, match="chain breaks at the commit of positions 1 to 3"):
        await verify(store.read)


async def copy(table: str, source: Database, target: Connection) -> None:
    """Put another log's table in the place of this one's."""
    async with EventStore(source) as store:
        rows = await store.read.fetch(f"SELECT * FROM @schema@.{table}")
    await target.execute(f"DELETE FROM turnlog.{table}")
    await target.copy_records_to_table(table, schema_name="turnlog", records=[tuple(row) for row in rows])


async def test_an_end_that_the_log_does_not_reach_is_named(store: EventStore) -> None:
    with pytest.raises(CorruptLog, match="ends at position 12, before 13"):
        await verify(store.read, last=13)
