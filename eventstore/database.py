"""How to reach Postgres, and what its errors mean to us."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
from msgspec import Struct

from eventstore.errors import DatabaseNotUsable, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connection = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")

OLDEST_POSTGRES: Final = 14

# The connection or the server went away, is starting or stopping, has no room, or may not write (a standby).
_UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.PostgresSystemError,
    # Rights and names may be mended while the service runs.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SyntaxOrAccessError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, so that the same call may succeed later."""
    return isinstance(error, _UNAVAILABLE)


def reason_of(error: BaseException) -> str:
    """One line that says what happened; asyncio's and the driver's errors are often empty or long."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class Database(Struct, frozen=True):
    """A Postgres database and the schema in it that holds the log.

    `patience` is the time in seconds after which a call is given up when the database is away.
    """

    dsn: str
    schema: str = "turnlog"
    patience: float = 5.0

    def __repr__(self) -> str:
        return f"Database(schema={self.schema!r}, dsn='{re.sub(r':[^:@/]*@', ':***@', self.dsn)}')"

    @property
    def quoted_schema(self) -> str:
        """The schema's name as SQL."""
        return '"' + self.schema.replace('"', '""') + '"'

    def sql(self, text: str) -> str:
        """A statement with the schema's name in place of ``@schema@``."""
        return text.replace("@schema@", self.quoted_schema)

    async def connect(self) -> Connection:
        """A new connection, which the caller closes. Its commits are flushed before they are answered.

        Raises whatever asyncpg raises; :func:`is_unavailable` tells.
        """
        connection = await asyncpg.connect(
            self.dsn, timeout=self.patience, server_settings={"application_name": "turnlog"}
        )
        try:
            await prepare_session(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`, which must be safe to repeat, until the database answers or the patience ends.

        Raises:
            StoreUnavailable: with the outcome "not_written", since `work` only reads or repeats itself safely.
        """
        deadline = asyncio.get_running_loop().time() + self.patience
        pause = 0.02
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await work()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if asyncio.get_running_loop().time() + pause >= deadline:
                    raise StoreUnavailable(reason_of(error)) from error
            await asyncio.sleep(pause)  # nothing tells when a server is back: ask again, ever more slowly
            pause = min(2 * pause, 0.5)


async def prepare_session(connection: Any) -> None:
    """Settings that our statements rely on.

    A plan made while a table was still small must not scan it when it has grown, so index scans are preferred always.
    """
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');"
        "SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off"
    )


async def check_server(connection: Connection) -> None:
    """Raise DatabaseNotUsable for a server that is too old, or that does not flush what it commits."""
    major = int(await connection.fetchval("SHOW server_version_num")) // 10000
    if major < OLDEST_POSTGRES:
        raise DatabaseNotUsable(f"PostgreSQL {major} is too old: Turnlog needs {OLDEST_POSTGRES} or newer")
    if await connection.fetchval("SHOW fsync") == "off":
        raise DatabaseNotUsable("the server runs with fsync=off and can lose what it has acknowledged: set fsync=on")
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        encoding = await connection.fetchval("SHOW server_encoding")
        raise DatabaseNotUsable(f"the database's encoding is {encoding}: Turnlog needs UTF8")
