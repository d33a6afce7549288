"""What is kept of the log is compared with a fold of it: each difference is found and named, none is invented."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dialogue import Domain, parse_domain
from eventstore import CorruptLog, Database, DatabaseNotUsable, EventStore, StoreUnavailable
from projections import Trackers
from projections import verify as module
from projections.conversations import NAME, ConversationIndex
from projections.verify import NotComparable, Snapshots, count_snapshots, verify_snapshots, verify_table
from tests.dialogue.data import recorded
from tests.dialogue.strategies import loop_events, postable
from tests.eventstore.helpers import session
from tests.projections.keeping import append, caught_up, kept
from tests.projections.logged import event, new_id, post, put, slot, snapshots_written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from dialogue import Event
    from eventstore.database import Connection
    from projections.slots import LoggedEvent
    from projections.verify import Compared

EMPTY: Final = Domain.empty()
BOT: Final = parse_domain([("domain.yml", recorded("tracker_scenarios.json")["domain"])])
TABLE: Final = f"turnlog.{NAME}_1"


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A session that no trigger keeps from changing the log."""
    async with session(database) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


def nobody(_done: int, _total: int) -> None:
    """Does not look at progress."""


# ---- tables ----


@pytest.fixture
async def indexed(store: EventStore) -> EventStore:
    """A log of 12 events, and an index that knows them all. Conversation c2 has two generations."""
    for number in range(3):
        await append(store, f"c{number}", "user", "action", "bot")
    await append(store, "c2", "tracker_replaced")
    await append(store, "c1", "user", "bot")
    async with kept(store, ConversationIndex()):
        await caught_up(store, NAME)
    return store


async def compare(store: EventStore) -> Compared:
    """Verify the index."""
    return await verify_table(store.database, ConversationIndex(), nobody)


async def test_an_index_that_is_right_equals_a_fold(indexed: EventStore) -> None:
    compared = await compare(indexed)
    assert (compared.slot, compared.position, compared.rows, compared.faults) == (1, 12, 3, [])


async def test_an_index_that_lags_is_compared_where_it_is(indexed: EventStore) -> None:
    await append(indexed, "c0", "user")
    compared = await compare(indexed)
    assert (compared.position, compared.faults) == (12, [])


async def test_progress_is_told_after_each_batch(indexed: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    told: list[tuple[int, int]] = []
    compared = await verify_table(indexed.database, ConversationIndex(), lambda *progress: told.append(progress))
    assert (compared.faults, told) == ([], [(5, 12), (10, 12), (12, 12)])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (f"UPDATE {TABLE} SET events = 7 WHERE conversation = 1", "'c0' at position 3 has events 7, not 3"),
        (f"UPDATE {TABLE} SET intent = 'x' WHERE conversation = 2", "'c1' at position 12 has intent 'x', not None"),
        (f"UPDATE {TABLE} SET position = 4, version = 9 WHERE conversation = 1", "position 4, not 3, version 9, not 3"),
        (f"DELETE FROM {TABLE} WHERE conversation = 3", "'c2' has no row, its events make .*\"version\":4"),
        (f"INSERT INTO {TABLE} VALUES (9, 3, 1, 1, 1, 0, 0, 0)", "conversation number 9 has a row, and no events"),
        ("UPDATE turnlog.projection SET processed = 11", "11 events were applied to slot 1, but it is at position 12"),
        (f"DROP TABLE {TABLE}", "conversation_index_1 is gone"),
    ],
)
async def test_a_difference_is_named(indexed: EventStore, connection: Connection, change: str, fault: str) -> None:
    await connection.execute(change)
    [found] = (await compare(indexed)).faults
    assert re.search(fault, found)


async def test_of_many_differences_some_are_named(
    indexed: EventStore, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAULTS", 2)
    await connection.execute(f"UPDATE {TABLE} SET events = 7")
    faults = (await compare(indexed)).faults
    assert [len(faults), faults[-1]] == [3, "and more"]


async def test_an_event_that_is_missing_is_named(indexed: EventStore, connection: Connection) -> None:
    await connection.execute("DELETE FROM turnlog.event WHERE position = 5")
    with pytest.raises(CorruptLog, match="11 events at the 12 positions after 0"):
        await compare(indexed)


async def test_events_that_can_not_be_folded_are_named(indexed: EventStore, connection: Connection) -> None:
    await connection.execute("UPDATE turnlog.event SET body = '{' WHERE position = 10 OR type = 'user'")
    with pytest.raises(CorruptLog, match="the events at positions 1 to 12 can't be folded: JSONDecodeError"):
        await compare(indexed)


async def test_an_index_that_was_never_built_is_left_out(store: EventStore) -> None:
    with pytest.raises(NotComparable, match="not built yet"):
        await compare(store)


async def test_an_index_of_another_release_is_left_out(indexed: EventStore, connection: Connection) -> None:
    await connection.execute("UPDATE turnlog.projection SET code_version = 2")
    with pytest.raises(NotComparable, match="readers have version 2, this release makes 1"):
        await compare(indexed)


async def test_a_database_that_is_away_is_named_as_such(database: Database) -> None:
    away = replace(database, dsn="postgresql://127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await verify_table(away, ConversationIndex(), nobody)


async def test_a_database_that_is_only_read_is_named_as_such(indexed: EventStore, connection: Connection) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(DatabaseNotUsable, match="compared in a temporary table"):
        await compare(indexed)


class Interrupted(ConversationIndex):
    """An index whose fold is interrupted after its first batch."""

    def __init__(self, event: asyncio.Event, go_on: asyncio.Event) -> None:
        self._reached, self._go_on = event, go_on

    async def apply(self, connection: Any, table: str, events: Sequence[LoggedEvent]) -> None:
        await super().apply(connection, table, events)
        self._reached.set()
        await self._go_on.wait()


async def test_the_index_may_be_rebuilt_and_go_on_meanwhile(
    indexed: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    comparing = asyncio.ensure_future(verify_table(indexed.database, Interrupted(reached, go_on), nobody))
    await reached.wait()
    monkeypatch.setattr("projections.runner.POLL", 0.01)
    async with kept(indexed, ConversationIndex()) as runner:
        await append(indexed, "c3", "user", "tracker_replaced")
        await runner.rebuild()
        await caught_up(indexed, NAME)
    go_on.set()
    compared = await comparing
    assert (compared.slot, compared.position, compared.rows, compared.faults) == (2, 14, 4, [])


async def test_a_table_that_is_dropped_at_the_last_moment_is_looked_for_again(
    indexed: EventStore, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when readers get another one between the look at which they have and the look into it."""
    locked = module._locked
    asked: list[str] = []

    async def swap_first(session: Any, table: str) -> bool:
        asked.append(table)
        if len(asked) == 1:
            await connection.execute(
                f"UPDATE turnlog.projection SET slot = 7; ALTER TABLE {TABLE} RENAME TO {NAME}_7;"
                f"UPDATE turnlog.checkpoint SET name = 'projection {NAME}_7'"
            )
        return await locked(session, table)

    monkeypatch.setattr(module, "_locked", swap_first)
    await connection.execute("ALTER TABLE turnlog.projection ALTER slot SET GENERATED BY DEFAULT")
    compared = await compare(indexed)
    assert (compared.slot, compared.faults, len(asked)) == (7, [], 2)


# ---- snapshots ----


@pytest.fixture
async def trackers(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trackers]:
    """Trackers that write a snapshot for every four events."""
    monkeypatch.setattr("projections.trackers.SNAPSHOT_EVERY", 4)
    trackers = Trackers(store, EMPTY)
    yield trackers
    await trackers.close()


@pytest.fixture
async def kept_twice(trackers: Trackers) -> None:
    """Two snapshots of conversation a, at versions 4 and 8, and one of b, at version 5. Positions 1 to 13."""
    await post(trackers, "a", slot(1))
    await snapshots_written()
    await post(trackers, "a", slot(2), slot(3), event("undo"), slot(4))
    await snapshots_written()
    await post(trackers, "b", slot(1), slot(2))
    await snapshots_written()


async def verified(store: EventStore, domain: Domain = EMPTY) -> Snapshots:
    """Verify all snapshots of a domain."""
    return await verify_snapshots(store.read, domain, nobody)


@pytest.mark.usefixtures("kept_twice")
async def test_snapshots_that_are_right_equal_a_fold(store: EventStore) -> None:
    assert await verified(store) == Snapshots(equal=3, foreign=0, faults=[])
    assert await count_snapshots(store.read) == 3


@pytest.mark.usefixtures("kept_twice")
async def test_progress_is_told_with_the_events_folded(store: EventStore) -> None:
    told: list[tuple[int, int]] = []
    await verify_snapshots(store.read, EMPTY, lambda *progress: told.append(progress))
    assert told == [(1, 4), (2, 8), (3, 13)]


@pytest.mark.usefixtures("kept_twice")
async def test_snapshots_of_another_domain_are_left_out(store: EventStore) -> None:
    assert await verified(store, BOT) == Snapshots(equal=0, foreign=3, faults=[])


@pytest.mark.usefixtures("kept_twice")
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            "UPDATE turnlog.snapshot SET state = replace(state, '\"city\":1', '\"city\":2') WHERE version = 4",
            "the snapshot of conversation 'a' at version 4 is not what its events make",
        ),
        (
            "UPDATE turnlog.snapshot SET state = replace(state, 'false', 'true') WHERE version = 8",
            "the snapshot of conversation 'a' at version 8 is not what its events make",
        ),
        (
            "UPDATE turnlog.snapshot SET version = 6 WHERE version = 8",
            "the snapshot of conversation 'a' at version 6 says position 8, the event is at 6",
        ),
        (
            "UPDATE turnlog.snapshot SET version = 9 WHERE version = 8",
            "'a' at version 9 can't be compared: CorruptLog: conversation 'a' has 4 events with versions 5 to 9",
        ),
        (
            "UPDATE turnlog.snapshot SET position = 99 WHERE version = 5",
            "the snapshot of conversation 'b' at version 5 says position 99, the event is at 13",
        ),
        (
            "UPDATE turnlog.snapshot SET conversation = 7 WHERE version = 5",
            "a snapshot at version 5 is of conversation number 7, which is not there",
        ),
        (
            "DELETE FROM turnlog.event WHERE position = 12",
            "'b' at version 5 can't be compared: CorruptLog: conversation 'b' has 4 events with versions 1 to 5",
        ),
        ("UPDATE turnlog.event SET body = '7' WHERE position = 12", "'b' at version 5 can't be compared: "),
    ],
)
async def test_a_snapshot_that_lies_is_named(
    store: EventStore, connection: Connection, change: str, fault: str
) -> None:
    await connection.execute(change)
    found = await verified(store)
    assert found.equal == 2
    assert [fault in text for text in found.faults] == [True]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    domain=st.sampled_from([EMPTY, BOT]),
    at_once=st.sampled_from([1, 3, 1000]),
    batches=st.lists(
        st.tuples(st.booleans(), st.lists(postable | loop_events, min_size=1, max_size=8)), min_size=1, max_size=6
    ),
)
async def test_no_snapshot_is_called_wrong_that_is_right(
    database: Database, domain: Domain, at_once: int, batches: list[tuple[bool, list[Event]]]
) -> None:
    """Whatever the events are, and in whatever portions they were folded before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.trackers.SNAPSHOT_EVERY", 2)
        patch.setattr(module, "EVENTS_AT_ONCE", at_once)
        patch.setattr(module, "SNAPSHOTS_AT_ONCE", 2)
        async with EventStore(database, connections=2) as store:
            before = (await verified(store, domain)).equal
            trackers, conversation = Trackers(store, domain), new_id()
            for replaces, events in batches:
                await (put if replaces else post)(trackers, conversation, *events)
                await snapshots_written()
            await trackers.close()
            found = await verified(store, domain)
    assert found.faults == []
    assert found.equal > before
