"""Appends are flushed when they are answered, whatever the server's and the session's settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from eventstore import Database, EventStore, StoreUnavailable, group_commit
from tests.eventstore.helpers import append, everything

if TYPE_CHECKING:
    from eventstore.database import Connection

# Writes down the setting that the commit of an append finds.
WITNESS = """
CREATE TABLE witness (setting text);
CREATE FUNCTION bear_witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON turnlog.commit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION bear_witness();
"""


@pytest.mark.parametrize(
    ("setting", "found"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
async def test_a_commit_is_flushed_whatever_the_session_says(
    database: Database, connection: Connection, setting: str, found: str
) -> None:
    """As it is behind a pooler, which gives each statement any session."""
    await connection.execute(WITNESS)
    await connection.execute(f"SET synchronous_commit = {setting}")
    columns = group_commit._columns([append("a")])
    batch = group_commit._new_batch_id()
    await connection.fetchrow(database.sql(group_commit._APPEND), batch, "node", "api", *columns, False)
    assert await connection.fetchval("SELECT setting FROM witness") == found
    assert await connection.fetchval("SHOW synchronous_commit") == setting


async def test_an_append_in_another_isolation_is_refused(database: Database, connection: Connection) -> None:
    columns = group_commit._columns([append("a")])
    arguments = (group_commit._new_batch_id(), "node", "api", *columns, False)
    await connection.execute("SET default_transaction_isolation = 'repeatable read'")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="READ COMMITTED, not repeatable read"):
        await connection.fetchrow(database.sql(group_commit._APPEND), *arguments)


async def test_the_store_needs_no_default_of_the_database(database: Database, connection: Connection) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';"
        f"ALTER DATABASE {name} SET synchronous_commit = off;"
        f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'; ALTER DATABASE {name} SET datestyle = 'German'"
    )
    async with EventStore(database) as store:
        await store.append(append("a"))
        assert len(await everything(store)) == 1


async def test_an_error_that_is_no_fault_of_the_data_is_no_refusal_of_it(
    database: Database, connection: Connection
) -> None:
    await connection.execute("ALTER TABLE turnlog.commit RENAME TO gone")
    async with EventStore(Database(database.dsn, patience=1.5)) as store:
        with pytest.raises(StoreUnavailable, match=r"turnlog\.commit") as caught:
            await store.append(append("a"))
        assert caught.value.outcome == "not_written"
        await connection.execute("ALTER TABLE turnlog.gone RENAME TO commit")
        assert (await store.append(append("a"))).version == 1
