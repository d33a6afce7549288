"""Reads: conversations by version, everything by position, and the log as it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from eventstore import CorruptLog, EventStore, Head, checkpoints, leases, reads, snapshots
from tests.eventstore.helpers import append, together

if TYPE_CHECKING:
    from eventstore.database import Connection


async def head(store: EventStore, conversation: str = "a") -> Head:
    head = await store.read.head(conversation)
    assert head is not None
    return head


async def test_a_conversation_without_events_has_no_head(store: EventStore) -> None:
    assert await store.read.head("none") is None


async def test_heads_that_are_asked_for_together_are_each_answered(store: EventStore) -> None:
    await together(store, [append("a", 1), append("b", 1, 2)])
    heads = await asyncio.gather(*(store.read.head(name) for name in ["a", "b", "none", "a"]))
    assert [head and head.version for head in heads] == [1, 2, None, 1]


async def test_a_head_is_never_older_than_the_question(store: EventStore) -> None:
    for number in range(1, 20):
        asking = asyncio.ensure_future(store.read.head("a"))
        await store.append(append("a", number))
        assert (await head(store)).version == number
        await asking


@pytest.mark.parametrize(
    ("after", "upto", "found"), [(0, 5, "01234"), (2, 4, "23"), (4, 5, "4"), (5, 5, ""), (3, 3, "")]
)
async def test_events_of_a_conversation_are_read_by_version(
    store: EventStore, after: int, upto: int, found: str
) -> None:
    await together(store, [append(name, number) for number in range(5) for name in "ab"])
    events = await store.read.conversation("a", await head(store), after, upto)
    assert "".join(event.body for event in events) == found
    assert [event.version for event in events] == list(range(after + 1, upto + 1))


async def test_a_conversation_is_read_over_its_generations(store: EventStore) -> None:
    await store.append(append("a", 1, 2))
    await store.append(append("a", "r", 3, replaces=True))
    present = await head(store)
    assert [event.body for event in await store.read.conversation("a", present, 0, 4)] == ["1", "2", "r", "3"]
    assert [event.body for event in await store.read.conversation("a", present, 1, 4)] == ["2", "r", "3"]
    assert [event.body for event in await store.read.conversation("a", present, 2, 4)] == ["r", "3"]
    assert [event.body for event in await store.read.conversation("a", present, 3, 4)] == ["3"]


async def test_a_version_that_is_missing_is_no_silent_gap(store: EventStore, connection: Connection) -> None:
    await store.append(append("a", 1, 2, 3))
    await connection.execute("ALTER TABLE turnlog.event_0 DISABLE TRIGGER ALL")
    await connection.execute("DELETE FROM turnlog.event_0 WHERE position = 2")
    with pytest.raises(CorruptLog):
        await store.read.conversation("a", await head(store), 0, 3)
    with pytest.raises(CorruptLog):
        await store.read.positions(0, 3)


@pytest.mark.parametrize(("after", "limit", "found"), [(0, 9, "01234"), (0, 2, "01"), (3, 9, "34"), (5, 9, "")])
async def test_everything_is_read_by_position(store: EventStore, after: int, limit: int, found: str) -> None:
    await together(store, [append(str(number % 2), number) for number in range(5)])
    assert "".join(event.body for event in await store.read.positions(after, limit)) == found


async def test_the_last_position_grows(store: EventStore) -> None:
    assert await store.read.last_position() == 0
    await store.append(append("a", 1, 2))
    assert await store.read.last_position() == 2


async def test_the_store_knows_the_last_position_of_its_own_appends(store: EventStore) -> None:
    await store.append(append("a", 1, 2))
    assert store.head == 2


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(1, 9, [(1, 2), (3, 4), (5, 6)]), (2, 2, [(1, 2)]), (4, 5, [(3, 4), (5, 6)]), (7, 9, [])],
)
async def test_commits_are_found_by_the_positions_they_hold(
    store: EventStore, first: int, last: int, found: list[tuple[int, int]]
) -> None:
    for _ in range(3):
        await store.append(append("a", 1, 2))
    commits = await store.read.commits(first, last)
    assert [(commit.first_position, commit.last_position) for commit in commits] == found


async def test_times_of_commits_grow(store: EventStore) -> None:
    for number in range(20):
        await store.append(append("a", number))
    times = [commit.time for commit in await store.read.commits(1, 20)]
    assert times == sorted(set(times))


async def test_times_of_commits_grow_when_the_clock_jumps_back(store: EventStore, connection: Connection) -> None:
    await store.append(append("a", 1))
    await connection.execute(
        "ALTER TABLE turnlog.commit DISABLE TRIGGER ALL; UPDATE turnlog.commit SET time = now() + interval '1 day'"
    )
    await store.append(append("a", 2))
    first, second = await store.read.commits(1, 2)
    assert second.time - first.time == timedelta(microseconds=1)


async def test_the_position_at_a_time_is_that_of_the_last_commit_until_then(store: EventStore) -> None:
    for _ in range(3):
        await store.append(append("a", 1, 2))
    first, second, _third = await store.read.commits(1, 6)
    tick = timedelta(microseconds=1)
    times = [first.time - tick, first.time, second.time - tick, second.time]
    assert [await store.read.position_at(time) for time in times] == [0, 2, 2, 4]


async def test_the_version_at_a_position_counts_what_was_appended_until_then(store: EventStore) -> None:
    names = "bbabaababbaaab"
    await together(store, [append(name, number) for number, name in enumerate(names)])
    expected = [names[:position].count("a") for position in range(len(names) + 1)]
    present = await head(store)
    assert [await store.read.version_at(present, position) for position in range(len(names) + 1)] == expected


async def test_the_head_at_a_version_is_of_the_generation_that_held_it(store: EventStore) -> None:
    await store.append(append("b"))
    await store.append(append("a", 1, 2))
    await store.append(append("a", "r", 3, replaces=True))
    await store.append(append("a", "r", replaces=True))
    present = await head(store)
    heads = [await store.read.head_at(present, version) for version in range(1, 6)]
    assert [(head.version, head.generation, head.generation_version, head.generation_position) for head in heads] == [
        (1, 1, 0, 2),
        (2, 1, 0, 2),
        (3, 2, 3, 4),
        (4, 2, 3, 4),
        (5, 3, 5, 6),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        reads.CONVERSATION,
        reads.POSITIONS,
        reads.COMMITS,
        reads.VERSION_AT,
        reads.GENERATION_AT,
        reads.FIRST_POSITION,
        checkpoints.CHAIN_AT,
        checkpoints.MOVE,
        snapshots.NEAREST,
        leases.RENEW,
    ],
)
async def test_no_number_of_a_statement_is_narrower_than_a_position(connection: Connection, statement: str) -> None:
    prepared = await connection.prepare(statement.replace("@schema@", "turnlog"))
    numbers = {parameter.name for parameter in prepared.get_parameters() if parameter.name.startswith("int")}
    assert numbers == {"int8"}
