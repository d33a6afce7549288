"""The log's tests run on the newest and on the oldest Postgres at hand, or on the one that DATABASE_URL names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.eventstore.helpers import session
from tests.postgres import Server, installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore import Database
    from eventstore.database import Connection

VERSIONS = ["named"] if "DATABASE_URL" in os.environ else ["newest", "oldest"]


@pytest.fixture(scope="session", params=VERSIONS)
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """Each Postgres in turn."""
    server = Server.start(tmp_path_factory.mktemp("postgres"), bin_dir=_binaries(request.param))
    yield server
    await server.close()


def _binaries(version: str) -> Path | None:
    if version != "oldest":
        return None
    if not (found := installed()):
        pytest.skip("no Postgres of Debian's packages is installed, so the log was tested on the embedded one only")
    return found[0]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A session in the test's database that is not the log's."""
    async with session(database) as connection:
        yield connection
