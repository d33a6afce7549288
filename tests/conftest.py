"""Fixtures that several packages' tests share: a database for each test, an open log, and brokers.

Tests may run in several workers at once; each has servers of its own, so that a test may end them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from eventstore import EventStore
from tests.kafka import Kafka
from tests.postgres import Server
from tests.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from eventstore import Database


settings.register_profile("turnlog", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("turnlog")


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


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The RabbitMQ of all tests. Whoever ends it starts it again."""
    rabbitmq = RabbitMQ.start(tmp_path_factory.mktemp("rabbitmq"))
    yield rabbitmq
    rabbitmq.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The Kafka of all tests. Whoever ends it starts it again."""
    kafka = Kafka.start(tmp_path_factory.mktemp("kafka"))
    yield kafka
    kafka.close()
