"""Hints that the log has grown: NOTIFY and LISTEN. They only shorten the wait of readers, who poll underneath."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from eventstore.database import is_unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from eventstore.database import Database

SPACING: Final = 0.02  #: seconds between two hints of a process: each NOTIFY takes a lock of the whole server
AGAIN: Final = 1.0  #: seconds until the next try to reach a database that is away
_CHANNEL_BYTES: Final = 63  # Postgres allows no longer name


def channel(database: Database, what: str = "log") -> str:
    """A channel of a log. Two schemas with very long names may share one: a needless hint does no harm."""
    return f"{what} {database.schema}".encode()[:_CHANNEL_BYTES].decode(errors="ignore")


class HintSender:
    """Tells other processes that this one has appended. Runs on a connection of its own, never in a request's way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted = asyncio.Event()

    def send(self) -> None:
        """Hint soon. All calls until then make one hint; one that the database can't take is dropped."""
        if not self._wanted.is_set():
            self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        await persist(self._database, self._send_on)

    async def _send_on(self, connection: Any) -> None:
        # NOTIFY writes a commit record, which nobody needs to wait for.
        await connection.execute("SET synchronous_commit = off")
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await connection.execute("SELECT pg_notify($1, '')", channel(self._database))
            await asyncio.sleep(SPACING)


class HintListener:
    """Calls `wake` for each hint of any process, and once after each connect, since hints may have been missed."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database, self._wake = database, wake

    async def run(self) -> None:
        """Work until cancelled."""
        await persist(self._database, self._listen_on)

    async def _listen_on(self, connection: Any) -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(channel(self._database), lambda *_hint: self._wake())
        self._wake()
        await closed.wait()


async def persist(database: Database, use: Callable[[Any], Any]) -> None:
    """Use a connection of its own, and the next one when it breaks, until cancelled."""
    while True:
        with contextlib.suppress(ConnectionError):
            async with _connection(database) as connection:
                await use(connection)
        await asyncio.sleep(AGAIN)  # nothing tells when a server is back


@contextlib.asynccontextmanager
async def _connection(database: Database) -> AsyncIterator[Any]:
    """A connection that is given up at once in the end; ConnectionError when the database is away."""
    connection: Any = None
    try:
        connection = await database.connect()
        yield connection
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise ConnectionError from error
    finally:
        if connection is not None:
            connection.terminate()
