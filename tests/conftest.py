"""Fixtures that several packages' tests share: Postgres servers, a database for each test, an open log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventstore import EventStore
from tests.postgres import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The embedded Postgres, one for all tests."""
    server = Server.start(tmp_path_factory.mktemp("postgres"))
    yield server
    await server.close()


@pytest.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    """A migrated database of the test's own."""
    async with server.database() as database:
        yield database


@pytest.fixture
async def store(database: Database) -> AsyncIterator[EventStore]:
    """The log in the test's own database."""
    async with EventStore(database) as store:
        yield store
