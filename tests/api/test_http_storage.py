"""With the database away every answer that needs it is a 503 that says so, and nothing else changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.api.http import Client, envelope, new_id, slot, values
from tests.service import Service, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore import Database
    from tests.postgres import Server


@pytest.fixture
async def fragile(home: Path, database: Database) -> AsyncIterator[Service]:
    """A service on the test's own database, for which it waits half a second."""
    environment = {"DATABASE_URL": database.dsn, "TURNLOG_STORAGE_TIMEOUT": "0.5"}
    with Service(home, environment=environment) as service:
        service.wait_until_ready()
        yield service


async def test_the_database_goes_away_and_comes_back(fragile: Service, server: Server, database: Database) -> None:
    client, name = Client(fragile.port), new_id()
    assert client.post(name, slot(1)).status == 200
    await shut(server, database)
    assert_reads_are_refused(client, name)
    assert_writes_are_refused(client, name)
    assert_probes_tell(client)
    await server.execute(f"ALTER DATABASE {name_of(database)} ALLOW_CONNECTIONS true")
    wait_until(lambda: client.get("/readyz").status == 200, "it is ready again")
    assert values(client.post(name, slot(3)))[0] == 1
    client.close()


def name_of(database: Database) -> str:
    """Its name on the server."""
    return urlsplit(database.dsn).path[1:]


async def shut(server: Server, database: Database) -> None:
    """Cut all connections of a database and let no new one in."""
    await server.execute(f"ALTER DATABASE {name_of(database)} ALLOW_CONNECTIONS false")
    await server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(database)}'"
    )


def assert_reads_are_refused(client: Client, name: str) -> None:
    """Never an empty conversation in place of one that can't be read."""
    paths = [f"/conversations/{name}/tracker", f"/conversations/{name}/story", "/turnlog/v1/events"]
    for path in (*paths, f"/turnlog/v1/conversations/{name}/events", "/turnlog/v1/conversations"):
        answer = client.get(path)
        error = envelope(answer, 503, "StorageUnavailable")
        assert (error["details"], answer.headers["retry-after"].isdecimal()) == ({}, True)


def assert_writes_are_refused(client: Client, name: str) -> None:
    """With a word on what became of them."""
    for write in (client.post, client.put):
        answer = write(name, [slot(2)])
        error = envelope(answer, 503, "StorageUnavailable")
        assert error["details"]["outcome"] in ("not_written", "unknown")
        assert answer.headers["retry-after"].isdecimal()


def assert_probes_tell(client: Client) -> None:
    """Alive, not ready, and a metric that says why."""
    ready = client.get("/readyz")
    assert (ready.status, ready.json()["status"], ready.headers["retry-after"]) == (503, "unavailable", "1")
    assert ready.json()["database"] not in ("", "ok")
    assert client.get("/livez").status == 200
    assert client.get("/version").status == 200
    assert re.search(r"^turnlog_database_up 0", client.get("/metrics").body.decode(), re.MULTILINE)
