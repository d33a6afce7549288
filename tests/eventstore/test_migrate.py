"""Migrations: once, in order, to the same schema on every way, in any schema, with few rights."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from msgspec.structs import replace

from eventstore import (
    Database,
    DatabaseNotUsable,
    EventStore,
    StoreUnavailable,
    maintain,
    migrate,
    verify,
)
from eventstore.migrate import available
from tests.eventstore.helpers import append, bodies, everything, holding_lock, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.postgres import Server

ODD = "Odd \"name\" 'of' a %s schema; é --"
NAMES = [name for name, _ in available()]

# Everything in a schema, one line for each thing, without what differs from one database to the next.
CATALOG = """
SELECT 'relation', c.relname::text, c.relkind::text, c.reloptions::text, pg_get_partkeydef(c.oid),
    pg_get_expr(c.relpartbound, c.oid) FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace
UNION ALL SELECT 'column', a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod),
    concat(a.attnotnull, a.attidentity, a.attnum, ' ', a.attcollation::regcollation), pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = $1::text::regnamespace AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'v')
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid), NULL
    FROM pg_constraint WHERE connamespace = $1::text::regnamespace
UNION ALL SELECT 'index', indrelid::regclass::text, pg_get_indexdef(indexrelid), NULL, NULL, NULL
    FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = $1::text::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(t.oid), tgenabled::text, NULL, NULL
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    WHERE c.relnamespace = $1::text::regnamespace AND NOT tgisinternal
UNION ALL SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), NULL, NULL, NULL
    FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace
ORDER BY 1, 2, 3, 4, 5, 6
"""


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[Database]:
    """A database without a schema."""
    async with server.database(migrated=False) as database:
        yield database


async def catalog(database: Database) -> list[tuple[Any, ...]]:
    async with session(database) as connection:
        return [tuple(row) for row in await connection.fetch(CATALOG, database.quoted_schema)]


async def applied(database: Database) -> list[str]:
    async with session(database) as connection:
        rows = await connection.fetch(database.sql("SELECT name FROM @schema@.migration ORDER BY name"))
        return [row["name"] for row in rows]


async def test_an_empty_database_gets_every_migration(empty: Database) -> None:
    assert await migrate(empty) == NAMES
    assert await applied(empty) == NAMES


async def test_a_database_that_is_up_to_date_stays_as_it_is(empty: Database) -> None:
    await migrate(empty)
    before = await catalog(empty)
    assert await migrate(empty) == []
    assert await catalog(empty) == before


async def test_an_upgraded_database_equals_a_fresh_one(empty: Database, database: Database) -> None:
    for count in range(1, len(NAMES) + 1):
        assert await migrate(empty, migrations=available()[:count]) == [NAMES[count - 1]]
    assert await catalog(empty) == await catalog(database)


async def test_of_many_who_migrate_at_once_one_does_it(empty: Database) -> None:
    done = await asyncio.gather(*(migrate(empty) for _ in range(5)))
    assert sorted(done, key=len) == [[], [], [], [], NAMES]


async def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(
            empty,
            migrations=[
                ("0001_good", "CREATE TABLE @schema@.thing (id int PRIMARY KEY)"),
                ("0002_bad", "INSERT INTO @schema@.thing VALUES (1), (1)"),
            ],
        )
    assert await migrate(empty) == NAMES


async def test_a_newer_schema_is_refused_and_both_are_named(database: Database) -> None:
    await migrate(database, migrations=[*available(), ("9999_future", "SELECT 1")])
    with pytest.raises(
        DatabaseNotUsable, match=f"9999_future, which this release does not know: it ends at {NAMES[-1]}"
    ):
        await migrate(database)


async def test_each_log_has_an_id_of_its_own(empty: Database) -> None:
    logs = [empty, replace(empty, schema="second")]
    ids = set()
    for log in logs:
        await migrate(log)
        async with EventStore(log) as store:
            ids.add((await store.read.identity()).id)
    assert len(ids) == 2


# ----------------------------------------------------------------------------------------------------------- schemas


async def test_a_schema_with_an_odd_name_works_entirely(empty: Database) -> None:
    database = replace(empty, schema=ODD)
    await migrate(database, partition_size=5)
    async with EventStore(database) as store:
        await store.append(append("a", *range(23), key="k", fingerprint=b"f", opening=append("a", "o").events))
        await store.append(append("a", "r", replaces=True))
        assert len(await bodies(store, "a")) == 25
        await maintain(store.read)
        lease = await store.leases.acquire("relay")
        assert lease is not None
        await store.checkpoints.move("relay", 0, 25, lease)
        assert await store.checkpoints.resume("relay") == 25
        assert await store.snapshots.keep("fold", [("a", 25, "{}")]) == 1
        assert (await verify(store.read)).last == 25


async def test_two_logs_in_one_database_know_nothing_of_each_other(empty: Database) -> None:
    first, second = empty, replace(empty, schema=ODD)
    await migrate(first)
    await migrate(second)
    async with EventStore(first) as one, EventStore(second) as other:
        await asyncio.gather(one.append(append("a", "one")), other.append(append("a", "other")))
        found = [[(event.position, event.body) for event in await everything(store)] for store in (one, other)]
    assert found == [[(1, "one")], [(1, "other")]]


async def test_the_lock_of_one_log_stops_no_append_to_another(empty: Database) -> None:
    first, second = empty, replace(empty, schema=ODD)
    await migrate(first)
    await migrate(second)
    async with holding_lock(first), EventStore(second) as other:
        assert (await other.append(append("a"))).version == 1


@pytest.mark.parametrize("schema", ["", "x" * 64, "é" * 32, "a\0b", "a\nb", "a$$b", "$n$", "\ud800"], ids=repr)
async def test_a_name_that_no_schema_can_have_is_refused(schema: str) -> None:
    with pytest.raises(DatabaseNotUsable, match="can't be used"):
        Database("postgresql://localhost/x", schema)


def test_a_database_shows_no_secret() -> None:
    dsn = "postgresql://me:s3cret@here:5/name?password=s3cret&sslpassword=s3cret"
    assert repr(Database(dsn)) == "Database(host='here', name='name', schema='turnlog')"


# ------------------------------------------------------------------------------------------------ servers and rights


async def test_a_server_that_does_not_flush_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def with_fsync_off(self: Database) -> Any:
        return Answering(await connect(self), {"SHOW fsync": "off"})

    connect = Database.connect
    monkeypatch.setattr(Database, "connect", with_fsync_off)
    with pytest.raises(DatabaseNotUsable, match="fsync=on"):
        await migrate(database)


async def test_a_server_that_is_too_old_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def with_old_version(self: Database) -> Any:
        return Answering(await connect(self), {"SHOW server_version_num": "130011"})

    connect = Database.connect
    monkeypatch.setattr(Database, "connect", with_old_version)
    with pytest.raises(DatabaseNotUsable, match="PostgreSQL 13 is too old: Turnlog needs 14 or newer"):
        await migrate(database)


class Answering:
    """A connection that answers some questions as another server would."""

    def __init__(self, connection: Any, answers: dict[str, str]) -> None:
        self._connection, self._answers = connection, answers

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        if statement in self._answers:
            return self._answers[statement]
        return await self._connection.fetchval(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_a_database_with_another_encoding_is_refused(server: Server) -> None:
    name = f"turnlog_latin_{os.getpid()}"
    await server.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(DatabaseNotUsable, match="encoding is LATIN1"):
            await migrate(Database(server.dsn_of(name)))
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def plain_role(empty: Database) -> AsyncIterator[Database]:
    """The database as a role sees it that may do nothing but connect."""
    role = f"turnlog_role_{os.getpid()}"
    parts = urlsplit(empty.dsn)
    host = parts.netloc.rpartition("@")[2]
    async with session(empty) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'sample'")
        yield replace(empty, dsn=urlunsplit(parts._replace(netloc=f"{role}:sample@{host}")))
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_without_rights_is_told_what_it_needs(plain_role: Database) -> None:
    with pytest.raises(DatabaseNotUsable, match='CREATE SCHEMA "turnlog" AUTHORIZATION'):
        await migrate(plain_role)


async def test_the_owner_of_a_prepared_schema_needs_no_other_right(plain_role: Database, empty: Database) -> None:
    role = urlsplit(plain_role.dsn).username
    async with session(empty) as connection:
        await connection.execute(f"CREATE SCHEMA turnlog AUTHORIZATION {role}")
    assert await migrate(plain_role, partition_size=3) == NAMES
    async with EventStore(plain_role) as store:
        await store.append(append("a", *range(20), key="k", fingerprint=b"f"))
        await maintain(store.read)
        assert (await verify(store.read)).last == 20


async def test_a_server_that_is_away_is_named_as_such(empty: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate(replace(empty, dsn="postgresql://127.0.0.1:1/none"))


async def test_a_schema_of_somebody_else_with_a_table_of_the_views_name_is_refused(empty: Database) -> None:
    async with session(empty) as connection:
        await connection.execute("CREATE TABLE public.events (id int)")
    with pytest.raises(DatabaseNotUsable, match=r"'public': it holds a table .* set POSTGRESQL_SCHEMA"):
        await migrate(replace(empty, schema="public"))
