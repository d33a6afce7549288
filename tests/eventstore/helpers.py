"""Short ways to say what a test appends and what it finds."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from eventstore import Append, NewEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from eventstore import Appended, Database, EventStore, RecordedEvent
    from eventstore.database import Connection

#: Seconds after which a test that hangs is given up.
LONG = 30


def events(*bodies: str | int, type: str = "slot") -> tuple[NewEvent, ...]:  # noqa: A002 -- as the field
    """An event for each body."""
    return tuple(NewEvent(type, 1700000000.5, str(body)) for body in bodies)


def append(conversation: str, *bodies: str | int, **more: Any) -> Append:
    """A request with an event for each body, or with one event."""
    return Append(conversation=conversation, events=events(*(bodies or ("{}",))), **more)


async def everything(store: EventStore) -> list[RecordedEvent]:
    """Every event of the log."""
    return await store.read.positions(0, 1_000_000)


async def bodies(store: EventStore, conversation: str) -> list[str]:
    """The bodies of a conversation in the order of their versions."""
    return [event.body for event in await everything(store) if event.conversation == conversation]


async def version(store: EventStore, conversation: str) -> int:
    """A conversation's version, 0 for none."""
    head = await store.read.head(conversation)
    return head.version if head else 0


async def together(store: EventStore, requests: Iterable[Append]) -> list[Appended | BaseException]:
    """Hand in requests in this order, in one batch unless they are many, and gather what each came to."""
    return await asyncio.gather(*(store.append(request) for request in requests), return_exceptions=True)


def append_lock(database: Database) -> str:
    """SQL for the key of the lock under which a log is appended to."""
    text = ("append " + database.quoted_schema).replace("'", "''")
    return f"hashtextextended('{text}', 0)"


@asynccontextmanager
async def session(database: Database) -> AsyncIterator[Connection]:
    """A session in a database that is not the log's."""
    connection: Connection = await asyncpg.connect(database.dsn)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def holding_lock(database: Database) -> AsyncIterator[Connection]:
    """Keeps every append to a log waiting, from a session of its own."""
    async with session(database) as connection:
        await connection.execute(f"SELECT pg_advisory_lock({append_lock(database)})")
        yield connection


async def wait_for_backends(connection: Connection, count: int) -> list[int]:
    """Wait until so many sessions wait for an advisory lock, and return their process ids."""
    async with asyncio.timeout(LONG):
        while True:
            rows = await connection.fetch(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid"
            )
            if len(rows) >= count:
                return [row["pid"] for row in rows]
            await asyncio.sleep(0.01)  # nothing tells when a lock is waited for
