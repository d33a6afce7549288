"""The log only grows: the database itself refuses every other change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from eventstore import EventStore
from tests.eventstore.helpers import append, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore.database import Connection
    from tests.postgres import Server

FIXED = {
    "log": "created = now()",
    "generation": "first_version = 9",
    "event": "body = 'forged'",
    "event_0": "body = 'forged'",
    "event_1": "body = 'forged'",
    "commit": "node = 'forged'",
}


@pytest.fixture(scope="module")
async def connection(server: Server) -> AsyncIterator[Connection]:
    """A session in a database with some rows, which stay as they are in every test."""
    async with server.database() as database, session(database) as connection:
        async with EventStore(database) as store:
            await store.append(append("a", 1, 2, replaces=True))
        yield connection


@pytest.mark.parametrize("table", FIXED)
async def test_an_update_is_refused(connection: Connection, table: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="the log only grows"):
        await connection.execute(f"UPDATE turnlog.{table} SET {FIXED[table]}")


@pytest.mark.parametrize("table", [*FIXED, "conversation"])
async def test_a_delete_is_refused(connection: Connection, table: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match=f"DELETE on turnlog.{table}"):
        await connection.execute(f"DELETE FROM turnlog.{table}")


@pytest.mark.parametrize("table", [*FIXED, "conversation"])
async def test_a_truncate_is_refused(connection: Connection, table: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="the log only grows"):
        await connection.execute(f"TRUNCATE turnlog.{table}")
