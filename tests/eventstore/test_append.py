"""Append: versions and positions, expected versions, openings, generations, checkpoints, and what is refused."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from eventstore import (
    Append,
    Appended,
    CheckpointMove,
    CheckpointMoved,
    Database,
    EventRefused,
    EventStore,
    NewEvent,
    OpeningNeeded,
    QueueFull,
    StoreUnavailable,
    WrongExpectedVersion,
    group_commit,
)
from tests.eventstore.helpers import append, bodies, events, everything, holding_lock, together, version

if TYPE_CHECKING:
    from eventstore.database import Connection


async def rows(connection: Connection, table: str) -> int:
    """How many rows a table of the log has."""
    count: int = await connection.fetchval(f"SELECT count(*) FROM turnlog.{table}")
    return count


# ------------------------------------------------------------------------------------------- versions and positions


async def test_versions_of_a_conversation_are_dense_from_one(store: EventStore) -> None:
    for size in (1, 3, 2):
        await store.append(append("a", *range(size)))
    assert [event.version for event in await everything(store)] == [1, 2, 3, 4, 5, 6]


async def test_positions_are_dense_from_one_over_all_conversations(store: EventStore) -> None:
    await together(store, [append(name, 1, 2) for name in "abcab"])
    assert [event.position for event in await everything(store)] == list(range(1, 11))


async def test_an_event_is_read_as_it_was_appended(store: EventStore) -> None:
    event = NewEvent("slöt", 1.1, '{"a":"\\u0000\\ud800"}', 7)
    await store.append(Append(conversation="ä", events=(event,)))
    [read] = await everything(store)
    assert (read.conversation, read.type, read.timestamp, read.body, read.schema_version) == (
        "ä",
        event.type,
        event.timestamp,
        event.body,
        event.schema_version,
    )


async def test_the_answer_tells_the_versions_before_and_after(store: EventStore) -> None:
    await store.append(append("a", 1))
    assert await store.append(append("a", 2, 3)) == Appended(1, 3, 1, opened=False, repeated=False)


async def test_requests_of_one_batch_follow_each_other(store: EventStore) -> None:
    answers = await together(store, [append("a", 1), append("b", 2), append("a", 3)])
    assert [(answer.base, answer.version) for answer in answers if isinstance(answer, Appended)] == [
        (0, 1),
        (0, 1),
        (1, 2),
    ]


async def test_requests_that_arrive_together_share_a_commit(store: EventStore, connection: Connection) -> None:
    await together(store, [append(str(number)) for number in range(50)])
    assert await rows(connection, "commit") == 1


async def test_a_batch_ends_before_it_has_too_many_events(
    store: EventStore, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_EVENTS", 3)
    await together(store, [append("a", *range(size)) for size in (2, 1, 1, 5)])
    firsts = await connection.fetch("SELECT first_position, last_position FROM turnlog.commit ORDER BY 1")
    assert [tuple(first) for first in firsts] == [(1, 3), (4, 4), (5, 9)]


async def test_actor_and_request_id_stand_beside_each_event(store: EventStore, connection: Connection) -> None:
    await store.append(append("a", 1, 2, actor="me", request_id="r-1"))
    found = await connection.fetch("SELECT actor, request_id FROM turnlog.event")
    assert [tuple(row) for row in found] == [("me", "r-1")] * 2


async def test_a_caller_that_goes_away_does_not_take_its_request_back(store: EventStore, database: Database) -> None:
    async with holding_lock(database):
        task = asyncio.ensure_future(store.append(append("a", "kept")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await store.append(append("b"))
    assert await bodies(store, "a") == ["kept"]


# ------------------------------------------------------------------------------------------------- expected versions


@pytest.mark.parametrize(
    ("at", "expected", "accepted"),
    [
        (0, None, True),
        (2, None, True),
        (0, 0, True),
        (2, 0, False),
        (0, 1, False),
        (0, 2, False),
        (2, 2, True),
        (2, 1, False),
        (2, 3, False),
        (0, -1, False),
        (2, -1, True),
        (2, 2**70, False),
    ],
)
async def test_an_expected_version_is_compared_with_the_present_one(
    store: EventStore, at: int, expected: int | None, accepted: bool
) -> None:
    if at:
        await store.append(append("a", *range(at)))
    [answer] = await together(store, [append("a", "new", expected=expected)])
    assert isinstance(answer, Appended if accepted else WrongExpectedVersion)
    assert await version(store, "a") == at + accepted


async def test_a_wrong_expected_version_tells_the_present_one(store: EventStore) -> None:
    await store.append(append("a", 1, 2))
    with pytest.raises(WrongExpectedVersion) as caught:
        await store.append(append("a", expected=5))
    assert (caught.value.conversation, caught.value.expected, caught.value.actual) == ("a", 5, 2)


async def test_an_expected_version_counts_earlier_requests_of_the_batch(store: EventStore) -> None:
    answers = await together(
        store, [append("a", 1, expected=0), append("a", 2, expected=0), append("a", 3, expected=1)]
    )
    assert [type(answer) for answer in answers] == [Appended, WrongExpectedVersion, Appended]


async def test_an_expected_version_does_not_count_the_requests_own_opening(store: EventStore) -> None:
    answer = await store.append(append("a", 1, opening=events("o"), expected=0))
    assert answer.version == 2


async def test_a_refused_request_does_not_harm_its_neighbours(store: EventStore) -> None:
    answers = await together(store, [append("a", 1), append("b", 2, expected=9), append("c", 3)])
    assert [type(answer) for answer in answers] == [Appended, WrongExpectedVersion, Appended]


async def test_a_refused_request_leaves_no_row(store: EventStore, connection: Connection) -> None:
    await together(store, [append("a", expected=9, key="k", fingerprint=b"f")])
    tables = ["conversation", "event", "commit", "generation", "idempotency_key", "refusal"]
    assert [await rows(connection, table) for table in tables] == [0] * 6


# ---------------------------------------------------------------------------------------------------------- openings


async def test_a_new_conversation_is_opened(store: EventStore) -> None:
    answer = await store.append(append("a", "first", opening=events("o1", "o2")))
    assert answer == Appended(0, 3, 1, opened=True, repeated=False)
    assert await bodies(store, "a") == ["o1", "o2", "first"]


async def test_a_conversation_with_events_is_not_opened_again(store: EventStore) -> None:
    await store.append(append("a", "first"))
    assert not (await store.append(append("a", "second", opening=events("o")))).opened
    assert await bodies(store, "a") == ["first", "second"]


async def test_the_second_request_of_a_batch_finds_the_conversation_open(store: EventStore) -> None:
    await together(store, [append("a", 1, opening=events("o")), append("a", 2, opening=events("o"))])
    assert await bodies(store, "a") == ["o", "1", "2"]


async def test_a_generation_with_nothing_but_its_first_event_is_opened(store: EventStore) -> None:
    await store.append(append("a", 1))
    await store.append(append("a", "replaced", replaces=True))
    assert (await store.append(append("a", 2, opening=events("o")))).opened
    assert await bodies(store, "a") == ["1", "replaced", "o", "2"]


async def test_a_generation_with_events_is_not_opened(store: EventStore) -> None:
    await store.append(append("a", "replaced", "new", replaces=True))
    assert not (await store.append(append("a", 2, opening=events("o")))).opened


async def test_first_requests_that_race_open_once(store: EventStore, database: Database) -> None:
    async with EventStore(database) as second, EventStore(database) as third:
        stores = [store, second, third] * 6
        answers = await asyncio.gather(
            *(each.append(append("a", number, opening=events("o"))) for number, each in enumerate(stores))
        )
    assert [answer.opened for answer in answers].count(True) == 1
    assert [body == "o" for body in await bodies(store, "a")] == [True] + [False] * 18


async def test_without_opening_events_an_empty_generation_is_refused(store: EventStore) -> None:
    with pytest.raises(OpeningNeeded):
        await store.append(append("a", opening=None))
    assert await everything(store) == []


async def test_without_opening_events_a_replaced_generation_is_refused(store: EventStore) -> None:
    await store.append(append("a", "replaced", replaces=True))
    with pytest.raises(OpeningNeeded) as caught:
        await store.append(append("a", opening=None))
    assert caught.value.version == 1


async def test_no_opening_is_needed_where_there_are_events(store: EventStore) -> None:
    answers = await together(store, [append("a", 1), append("a", 2, opening=None)])
    assert [type(answer) for answer in answers] == [Appended, Appended]


# ------------------------------------------------------------------------------------------------------- generations


async def test_a_replacement_begins_a_generation_and_versions_count_on(store: EventStore) -> None:
    await store.append(append("a", 1, 2))
    assert await store.append(append("a", "r", 3, replaces=True)) == Appended(2, 4, 2, opened=False, repeated=False)
    head = await store.read.head("a")
    assert head is not None
    assert (head.version, head.generation, head.generation_version, head.generation_position) == (4, 2, 3, 3)


async def test_a_replacement_of_nothing_is_the_second_generation(store: EventStore) -> None:
    answer = await store.append(append("a", "r", replaces=True))
    assert (answer.base, answer.version, answer.generation) == (0, 1, 2)


async def test_replacements_in_one_batch_count_on(store: EventStore, connection: Connection) -> None:
    answers = await together(store, [append("a", "r", replaces=True) for _ in range(3)])
    assert [answer.generation for answer in answers if isinstance(answer, Appended)] == [2, 3, 4]
    found = await connection.fetch(
        "SELECT generation, first_version, first_position FROM turnlog.generation ORDER BY 1"
    )
    assert [tuple(row) for row in found] == [(2, 1, 1), (3, 2, 2), (4, 3, 3)]


async def test_a_head_is_empty_after_a_replacement_with_one_event(store: EventStore) -> None:
    await store.append(append("a", "r", replaces=True))
    head = await store.read.head("a")
    assert head is not None
    assert head.is_empty


# ------------------------------------------------------------------------------------------------------- checkpoints


async def test_a_checkpoint_moves_with_an_append(store: EventStore) -> None:
    await store.append(append("a", checkpoint=CheckpointMove("import", 0, 7)))
    await store.append(append("a", checkpoint=CheckpointMove("import", 7, 9)))
    checkpoint = await store.checkpoints.get("import")
    assert checkpoint is not None
    assert checkpoint.position == 9


@pytest.mark.parametrize("old", [0, 6, 8])
async def test_an_append_with_a_moved_checkpoint_is_refused(store: EventStore, old: int) -> None:
    await store.append(append("a", checkpoint=CheckpointMove("import", 0, 7)))
    with pytest.raises(CheckpointMoved):
        await store.append(append("a", checkpoint=CheckpointMove("import", old, 9)))
    assert await version(store, "a") == 1


async def test_a_checkpoint_that_does_not_exist_moves_from_zero_only(store: EventStore) -> None:
    with pytest.raises(CheckpointMoved):
        await store.append(append("a", checkpoint=CheckpointMove("import", 1, 2)))
    assert await store.checkpoints.get("import") is None


async def test_a_checkpoint_stays_when_its_append_is_refused(store: EventStore) -> None:
    await together(store, [append("a", expected=5, checkpoint=CheckpointMove("import", 0, 7))])
    assert await store.checkpoints.get("import") is None


# ------------------------------------------------------------------------------------------------ what can't be stored


@pytest.mark.parametrize("size", [1, 1024])
async def test_conversation_ids_have_up_to_1024_bytes(store: EventStore, size: int) -> None:
    await store.append(append("x" * size))
    assert await version(store, "x" * size) == 1


@pytest.mark.parametrize("conversation", ["", "x" * 1025, "é" * 513, "a\0b", "\ud800"], ids=repr)
async def test_a_conversation_id_that_postgres_cannot_hold_is_refused(store: EventStore, conversation: str) -> None:
    with pytest.raises(ValueError, match="conversation id"):
        await store.append(append(conversation))
    with pytest.raises(ValueError, match="conversation id"):
        await store.read.head(conversation)


@pytest.mark.parametrize(
    "fault",
    [
        {"events": ()},
        {"expected": -2},
        {"key": "", "fingerprint": b""},
        {"key": "k" * 256, "fingerprint": b""},
        {"key": "a\0", "fingerprint": b""},
        {"key": "k"},
        {"actor": "\0"},
        {"request_id": "\udfff"},
        {"checkpoint": CheckpointMove("\0", 0, 1)},
        {"replaces": True, "opening": events(1)},
        {"replaces": True, "opening": None},
        {"opening": (NewEvent("\0", 1.0, "{}"),)},
        {"events": (NewEvent("\ud800", 1.0, "{}"),)},
        {"events": (NewEvent("slot", 1.0, "ä"),)},
        {"events": (NewEvent("slot", 1.0, "\0"),)},
        {"events": (NewEvent("slot", math.nan, "{}"),)},
        {"events": (NewEvent("slot", math.inf, "{}"),)},
        {"events": (NewEvent("slot", 10**400, "{}"),)},
        {"events": (NewEvent("slot", 1.0, "{}", 0),)},
        {"events": (NewEvent("slot", 1.0, "{}", 32768),)},
    ],
    ids=repr,
)
async def test_what_postgres_would_refuse_is_refused_before_the_queue(fault: dict[str, Any]) -> None:
    store = EventStore(Database("postgresql://nowhere/none"))
    with pytest.raises(ValueError, match=r"."):
        await store.append(Append(**{"conversation": "a", "events": events(1), **fault}))


async def test_an_append_beyond_all_that_may_wait_is_refused(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING_BYTES", 1000)
    with pytest.raises(ValueError, match="too many"):
        await store.append(append("a", "x" * 1000))


async def test_a_request_that_postgres_refuses_is_refused_alone(store: EventStore, connection: Connection) -> None:
    await connection.execute("ALTER TABLE turnlog.event ADD CONSTRAINT innocent CHECK (body <> 'bad')")
    requests = [append(str(number), "bad" if number in (3, 11) else "good") for number in range(16)]
    answers = await together(store, requests)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, EventRefused)] == [3, 11]
    assert [event.conversation for event in await everything(store)] == [
        str(number) for number in range(16) if number not in (3, 11)
    ]


# --------------------------------------------------------------------------------------------------------- the queue


async def test_more_requests_than_may_wait_are_refused(
    store: EventStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 3)
    async with holding_lock(database):
        tasks = [asyncio.ensure_future(store.append(append("a", number))) for number in range(4)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Appended] * 3 + [QueueFull]


async def test_more_bytes_than_may_wait_are_refused(
    store: EventStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING_BYTES", 2500)
    async with holding_lock(database):
        tasks = [asyncio.ensure_future(store.append(append("a", "x" * 1000))) for _ in range(3)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Appended] * 2 + [QueueFull]


async def test_closing_finishes_what_was_handed_in(store: EventStore, database: Database) -> None:
    async with EventStore(database) as closing:
        task = asyncio.ensure_future(closing.append(append("a", 1)))
        await asyncio.sleep(0)
    assert (await task).version == 1


async def test_a_closed_store_refuses_at_once(database: Database) -> None:
    async with EventStore(database) as closed:
        pass
    with pytest.raises(StoreUnavailable) as caught:
        await closed.append(append("a"))
    assert caught.value.outcome == "not_written"
