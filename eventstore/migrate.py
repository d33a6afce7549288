"""Applies the numbered SQL files of :mod:`migrations`, forward only."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import asyncpg

from eventstore.database import check_server, is_unavailable, reason_of
from eventstore.errors import DatabaseNotUsable, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore.database import Connection, Database

PARTITION_SIZE: Final = 10_000_000


def available() -> list[tuple[str, str]]:
    """Name and text of every migration that this release knows, in order."""
    found = [file for file in files("migrations").iterdir() if file.name.endswith(".sql")]
    return [(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in sorted(found, key=lambda f: f.name)]


async def migrate(
    database: Database,
    *,
    migrations: Sequence[tuple[str, str]] | None = None,
    partition_size: int = PARTITION_SIZE,
) -> list[str]:
    """Bring the schema up to date and return the names of what was applied.

    Safe to call from any number of processes at once: one does it, the others wait. `partition_size` counts only when
    the log is made.

    Raises:
        DatabaseNotUsable: the server is not fit, the role lacks a right, or the schema is newer than this release.
        StoreUnavailable: there is no answer from the server.
    """
    known = available() if migrations is None else list(migrations)
    try:
        connection = await database.connect()
        try:
            await check_server(connection)
            return await _bring_up(connection, database, known, partition_size)
        finally:
            await connection.close(timeout=database.patience)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseNotUsable(
            f"schema {database.schema!r}: {reason_of(error)}; let the role own the schema,"
            f" as after CREATE SCHEMA {database.quoted_schema} AUTHORIZATION the_role"
        ) from error
    except asyncpg.RaiseError as error:  # a migration looked, and refuses
        raise DatabaseNotUsable(f"schema {database.schema!r}: {error}") from error
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise StoreUnavailable(reason_of(error)) from error


async def _bring_up(
    connection: Connection, database: Database, known: list[tuple[str, str]], partition_size: int
) -> list[str]:
    async with connection.transaction():
        applied = await _migrate_locked(connection, database, known)
    if not await connection.fetchval(database.sql("SELECT count(*) FROM @schema@.log")):
        statement = "INSERT INTO @schema@.log (partition_size) VALUES ($1) ON CONFLICT DO NOTHING"
        await connection.execute(database.sql(statement), partition_size)
    await connection.execute(database.sql("SELECT @schema@.make_partitions()"))
    return applied


async def _migrate_locked(connection: Connection, database: Database, known: list[tuple[str, str]]) -> list[str]:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('migrate ' || $1, 0))", database.schema)
    await _make_schema(connection, database)
    done = {row["name"] for row in await connection.fetch(database.sql("SELECT name FROM @schema@.migration"))}
    _refuse_newer(database.schema, done, [name for name, _ in known])
    pending = [(name, text) for name, text in known if name not in done]
    for name, text in pending:
        await connection.execute(database.sql(text))
        await connection.execute(database.sql("INSERT INTO @schema@.migration (name) VALUES ($1)"), name)
    return [name for name, _ in pending]


async def _make_schema(connection: Connection, database: Database) -> None:
    # Asked first, since CREATE SCHEMA IF NOT EXISTS needs a right on the database even when there is nothing to do.
    if await connection.fetchval("SELECT to_regclass($1)", database.sql("@schema@.migration")):
        return
    if not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", database.schema):
        await connection.execute(database.sql("CREATE SCHEMA @schema@"))
    await connection.execute(
        database.sql(
            "CREATE TABLE @schema@.migration"
            ' (name text COLLATE "C" PRIMARY KEY, applied timestamptz NOT NULL DEFAULT clock_timestamp())'
        )
    )


def _refuse_newer(schema: str, done: set[str], known: list[str]) -> None:
    unknown = sorted(done.difference(known))
    if unknown:
        raise DatabaseNotUsable(
            f"schema {schema!r} is at {unknown[-1]}, which this release does not know: it ends at {known[-1]};"
            " run a newer release"
        )
