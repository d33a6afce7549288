"""What is kept of the log is compared with a fold of it: each difference is found and named, none is invented."""

from __future__ import annotations

import asyncio
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
from tests.projections.keeping import append, caught_up, kept, until
from tests.projections.logged import event, new_id, post, put, slot, snapshots_written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from dialogue import Event
    from eventstore.database import Connection
    from projections.slots import LoggedEvent
    from projections.verify import Compared

EMPTY: Final = Domain.empty()
BOT: Final = parse_domain([("domain.yml", recorded("tracker_scenarios.json")["domain"])])


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
    """A log of 12 events with an index that knows them all. Conversation c2 has two generations."""
    for number in range(3):
        await append(store, f"c{number}", "user", "action", "bot")
    await append(store, "c2", "tracker_replaced")
    await append(store, "c1", "user", "bot")
    await build(store)
    return store


async def build(store: EventStore) -> None:
    """Let the index catch up."""
    async with kept(store, ConversationIndex()):
        await caught_up(store, NAME)


async def compare(store: EventStore) -> Compared:
    """Verify the index."""
    return await verify_table(store.database, ConversationIndex(), nobody)


async def test_an_index_that_is_right_equals_the_fold(indexed: EventStore) -> None:
    compared = await compare(indexed)
    assert (compared.slot, compared.position, compared.rows, compared.faults) == (1, 12, 3, [])


async def test_an_index_that_lags_is_compared_where_it_is(indexed: EventStore) -> None:
    await append(indexed, "c0", "user")
    compared = await compare(indexed)
    assert (compared.position, compared.faults) == (12, [])


async def test_a_log_of_several_batches_is_folded(indexed: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    told: list[tuple[int, int]] = []
    compared = await verify_table(indexed.database, ConversationIndex(), lambda *progress: told.append(progress))
    assert (compared.faults, told) == ([], [(5, 12), (10, 12), (12, 12)])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE {table} SET events = 7 WHERE conversation = 1", "row of conversation 'c0' .* has events 7, not 3"),
        ("UPDATE {table} SET intent = 'x' WHERE conversation = 2", "'c1' at position 12 has intent 'x', not None"),
        ("UPDATE {table} SET position = 4, version = 9 WHERE conversation = 1", "has position 4, not 3, version 9, not 3"),
        ("DELETE FROM {table} WHERE conversation = 3", "conversation 'c2' has no row, its events make .*\"version\":4"),
        ("INSERT INTO {table} VALUES (9, 3, 1, 1, 1, 0, 0, 0)", "conversation number 9 has a row, and no events"),
        ("UPDATE turnlog.projection SET processed = 11", "11 events were applied to slot 1, but it is at position 12"),
        ("DROP TABLE {table}", "conversation_index_1 is gone"),
    ],
)
async def test_a_difference_is_named(
    indexed: EventStore, connection: Connection, change: str, fault: str
) -> None:
    await connection.execute(change.format(table="turnlog.conversation_index_1"))
    [found] = (await compare(indexed)).faults
    assert re_search(fault, found)


def re_search(pattern: str, text: str) -> bool:
    """Whether the pattern is in the text."""
    import re

    return re.search(pattern, text) is not None
