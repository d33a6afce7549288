"""How to reach Postgres, and what its errors mean to us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
from msgspec import Struct

from eventstore.errors import DatabaseNotUsable, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connection = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")

OLDEST_POSTGRES: Final = 14
MAX_NAME_BYTES: Final = 63  # Postgres cuts longer ones, so that two names could mean one schema but two locks

# Nothing but other data can help against these.
DATA_FAULTS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,  # the driver could not encode it
)
# The connection or the server went away, has no room, may not write, lost a right, has a broken disk: any of it may be
# mended while the service runs.
_UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, so that the same call may succeed later."""
    return isinstance(error, _UNAVAILABLE) and not isinstance(error, DATA_FAULTS)


def was_rolled_back(error: BaseException) -> bool:
    """Whether the server itself said that a statement failed, so that it certainly changed nothing.

    An error that also ends the session proves nothing: it may follow the commit.
    """
    return isinstance(error, asyncpg.PostgresError) and getattr(error, "severity_en", None) == "ERROR"


def reason_of(error: BaseException) -> str:
    """One line that says what happened; asyncio's and the driver's errors are often empty or long."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class Database(Struct, frozen=True):
    """A Postgres database and the schema in it that holds the log.

    `patience` is the time in seconds after which a call is given up when the database is away.
    """

    dsn: str
    schema: str = "turnlog"
    patience: float = 5.0

    def __post_init__(self) -> None:
        fault = _fault_of_name(self.schema)
        if fault:
            raise DatabaseNotUsable(f"schema {self.schema!r} can't be used: {fault}")

    def __repr__(self) -> str:
        parts = urlsplit(self.dsn)
        return f"Database(host={parts.hostname!r}, name={parts.path[1:]!r}, schema={self.schema!r})"

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
        except BaseException:  # whatever it is goes on; only the connection must not stay behind
            connection.terminate()
            raise
        return connection

    async def patiently(self, work: Callable[[], Awaitable[T]], *, since: float | None = None) -> T:
        """Do `work`, which must be safe to repeat, until the database answers or the patience ends.

        `since` is the time of the loop at which the patience began; now, if it is left out.

        Raises:
            StoreUnavailable: with the outcome "not_written", since `work` only reads or repeats itself safely.
        """
        clock = asyncio.get_running_loop().time
        deadline = (clock() if since is None else since) + self.patience
        pause, reason = 0.02, ""
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await work()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                reason = reason if reason and isinstance(error, TimeoutError) else reason_of(error)
                if clock() + pause >= deadline:
                    raise StoreUnavailable(reason) from error
            await asyncio.sleep(pause)  # nothing tells when a server is back: ask again, ever more slowly
            pause = min(2 * pause, 0.5)


def _fault_of_name(schema: str) -> str | None:
    if not 1 <= len(schema.encode(errors="replace")) <= MAX_NAME_BYTES:
        return f"a name has 1 to {MAX_NAME_BYTES} bytes of UTF-8"
    if "\0" in schema or not schema.isprintable():
        return "it holds characters that can't be printed"
    if "$$" in schema or "$n$" in schema:
        return "$$ and $n$ end the texts that it is put into"
    return None


async def prepare_session(connection: Any) -> None:
    """Settings that our statements rely on.

    They all look for some rows by an index, whatever the tables grow to. A plan made while a table was small, or for a
    span of positions of unknown length, must not read or sort a whole table instead. Where there is no index, up to
    Postgres 17 such a plan's cost is so high that it would be compiled, which takes longer than to run it; and of a
    large table a few rows would be read by several processes, whose start takes longer too.
    """
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');"
        "SET default_transaction_isolation = 'read committed'; SET jit = off;"
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
        "SET plan_cache_mode = force_generic_plan; SET max_parallel_workers_per_gather = 0"
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
