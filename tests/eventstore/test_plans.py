"""The statements of every request use indexes, in logs of every size: also in one that was never analysed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from eventstore import EventStore, checkpoints, feed, group_commit, leases, maintenance, reads, snapshots
from eventstore.database import prepare_session
from eventstore.verify import COMMITS as VERIFIED_COMMITS
from eventstore.verify import EVENTS as VERIFIED_EVENTS
from tests.eventstore.helpers import append, session, together
from tests.eventstore.plans import kinds, nodes, plan, scans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from eventstore import Database
    from eventstore.database import Connection
    from tests.postgres import Server

BIG = 2**40
NOW = datetime.now(UTC)
INDEXED = {"Index Scan", "Index Only Scan", "Tid Scan"}
# Tables of one row, and rows that stand in the place of tables.
SMALL = {"log"}

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "heads": (reads.HEADS, (["c1", "c2", "none"],)),
    "a conversation": (reads.CONVERSATION, (1, 0, 5, 1, BIG)),
    "positions": (reads.POSITIONS, (100, 200)),
    "commits": (reads.COMMITS, (100, 200)),
    "the last position": (reads.LAST_POSITION, ()),
    "the position at a time": (reads.POSITION_AT, (NOW,)),
    "the version at a position": (reads.VERSION_AT, (1, 700)),
    "the generation at a version": (reads.GENERATION_AT, (1, 5)),
    "conversations": (reads.CONVERSATIONS, (0, 100)),
    "the first position": (reads.FIRST_POSITION, (1,)),
    "a checkpoint": (checkpoints.GET, ("relay",)),
    "the chain at a position": (checkpoints.CHAIN_AT, (100,)),
    "moving a checkpoint": (checkpoints.MOVE, ("relay", 0, 100, "lease", "me", 1)),
    "the nearest snapshot": (snapshots.NEAREST, (1, "fold", 0, 5)),
    "keeping snapshots": (snapshots.KEEP, (["c1"], "fold", [3], ["{}"])),
    "acquiring a lease": (leases.ACQUIRE, ("lease", "me", 5.0)),
    "renewing a lease": (leases.RENEW, ("lease", "me", 1, 5.0)),
    "releasing a lease": (leases.RELEASE, ("lease", "me", 1)),
    "expired keys": (maintenance.EXPIRE.format(table="idempotency_key"), ("24 hours", 100)),
    "verified commits": (VERIFIED_COMMITS, (100, 50)),
    "verified events": (VERIFIED_EVENTS, (100, 200, 8_000_000)),
    "the feed": (feed.EVENTS, (100, 200, 4_000_000, ["c1"], ["slot"], 0.0, 9e9)),
    "the feed's commits": (feed.COMMITS, (100, 200)),
    "spans of conversations": (feed.SPANS, (["c1", "none"],)),
}


@pytest.fixture(scope="module", params=["never analysed", "analysed"])
async def log(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Connection]:
    """A session in a database with a log of some size, in several commits; nothing in it is changed."""
    async with server.database() as database, session(database) as connection:
        async with EventStore(database) as store:
            for _ in range(5):
                await together(store, [append(f"c{number}", 1, 2) for number in range(100)])
        if request.param == "analysed":
            await connection.execute("ANALYZE")
        yield connection


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_uses_indexes(log: Connection, name: str) -> None:
    statement, arguments = STATEMENTS[name]
    found = scans(await plan(log, statement, *arguments))
    assert {table: how for table, how in found.items() if table not in SMALL and not how <= INDEXED} == {}


@pytest.mark.parametrize("statement", [reads.POSITIONS, reads.CONVERSATION], ids=["positions", "a conversation"])
async def test_the_log_is_read_in_the_order_of_an_index(log: Connection, statement: str) -> None:
    arguments = (100, 700) if statement == reads.POSITIONS else (1, 0, 10, 1, BIG)
    assert not {"Sort", "Incremental Sort"} & kinds(await plan(log, statement, *arguments))


async def test_an_append_uses_indexes_from_the_first_call_on(database: Database, connection: Connection) -> None:
    """Also for many conversations at once, in tables that were never analysed."""
    await prepare_session(connection)
    found = await plans_within(connection, lambda: call(connection, database, 500))
    found += await plans_within(connection, lambda: call(connection, database, 500))
    assert {kind for kind in kinds(found) if "Scan" in kind} <= {*INDEXED, "Function Scan", "CTE Scan", "Result"}
    assert not {"Hash Join", "Merge Join"} & kinds(found)
    assert "Nested Loop" in kinds(found)


async def call(connection: Connection, database: Database, count: int) -> None:
    columns = group_commit._columns(
        [append(f"c{number}", 1, key="k", fingerprint=b"f", expected=0) for number in range(count)]
    )
    statement = database.sql(group_commit._APPEND)
    await connection.fetchrow(statement, group_commit._new_batch_id(), "node", "api", *columns, False)


async def plans_within(connection: Connection, work: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """The plans of the statements within a function, as Postgres reports them."""
    reports: list[str] = []

    def keep(_connection: object, message: Any) -> None:
        reports.append(message.message)

    await connection.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_nested_statements = on; SET auto_explain.log_min_duration = 0;"
        "SET auto_explain.log_format = json; SET client_min_messages = log"
    )
    connection.add_log_listener(keep)
    await work()
    await asyncio.sleep(0)  # reports are handed on in the loop's next round
    connection.remove_log_listener(keep)
    await connection.execute("RESET client_min_messages")
    texts = [report[report.index("{") :] for report in reports if "plan:" in report]
    assert texts
    plans = [json.loads(text) for text in texts]
    return [node for each in plans if '"turnlog"' in each["Query Text"] for node in nodes(each["Plan"])]
