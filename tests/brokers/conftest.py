"""Names at the brokers that only one test uses, and what leads to them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.brokers import plain
from tests.brokers.running import pika_section

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ


@pytest.fixture
def exchange(rabbitmq: RabbitMQ) -> Iterator[str]:
    """The name of an exchange, and of a queue: nothing of both is there yet."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    plain.remove(rabbitmq, name, name)


@pytest.fixture
def section(rabbitmq: RabbitMQ, exchange: str) -> Section:
    """A RabbitMQ with an exchange and a queue of the test's own."""
    return pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])


@pytest.fixture
def settled(rabbitmq: RabbitMQ, exchange: str) -> None:
    """The queue is there, and RabbitMQ has found it again at a start.

    For tests that kill the node: RabbitMQ 3.10 may forget a durable queue that is new, with all it has confirmed.
    """
    plain.declare(rabbitmq, exchange, exchange)
    rabbitmq.restart()


@pytest.fixture
async def missing_topic(kafka: Kafka) -> AsyncIterator[str]:
    """The name of a topic that is not there yet."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    await plain.delete_topics(kafka, name)
