"""Services for the tests of the HTTP surface. They share one embedded Postgres and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.http import Client
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_SIZE = 12_000_000
RECEIVE_SECONDS = 2
TOKEN = "s3cr3t-t0ken"
SECRET = "jwt-s3cr3t-0123456789-0123456789-abc"
ORIGIN = "http://a.example"

DOMAIN = """
version: "3.1"
intents: [greet]
slots:
  city: {type: any, influence_conversation: false, mappings: [{type: custom}]}
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all services, with a bot in it."""
    home = tmp_path_factory.mktemp("services")
    (home / "bot").mkdir()
    (home / "bot" / "domain.yml").write_text(DOMAIN)
    return home


@pytest.fixture(scope="session")
def service(home: Path) -> Iterator[Service]:
    """A service without authentication, with small limits."""
    limits = {
        "SANIC_REQUEST_MAX_SIZE": str(MAX_SIZE),
        "SANIC_REQUEST_TIMEOUT": str(RECEIVE_SECONDS),
        "SANIC_KEEP_ALIVE_TIMEOUT": str(2 * RECEIVE_SECONDS),
    }
    flags: list[str | Path] = ["--enable-api", "-m", home / "bot", "--cors", ORIGIN]
    with Service(home, flags, environment=limits, data_dir=home / "data") as service:
        service.wait_until_ready()
        yield service


@pytest.fixture(scope="session")
def guarded(home: Path, service: Service) -> Iterator[Service]:
    """One that wants a token or a JWT, and logs each request. It uses the other one's database."""
    flags: list[str | Path] = ["--enable-api", "-m", home / "bot", "-i", "127.0.0.1", "--access-log"]
    secrets = {"TURNLOG_AUTH_TOKEN": TOKEN, "TURNLOG_JWT_SECRET": SECRET}
    with Service(home, flags, environment=secrets, data_dir=service.data_dir) as guarded:
        guarded.wait_until_ready()
        yield guarded


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """A client of the open service."""
    client = Client(service.port)
    yield client
    client.close()


@pytest.fixture
def guest(guarded: Service) -> Iterator[Client]:
    """A client of the guarded service."""
    client = Client(guarded.port)
    yield client
    client.close()
