"""A broker that goes away, or forgets what was declared, while a service publishes: requests go on, nothing is lost."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pika
import pytest

from tests.brokers import plain
from tests.brokers.running import (
    kafka_section,
    post,
    relay_of,
    said,
    serving,
    wait_for_state,
    wait_until_published,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika.adapters.blocking_connection import BlockingChannel

    from eventstore import Database
    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ
    from tests.service import Service


@pytest.fixture
def service(section: Section, database: Database, tmp_path: Path) -> Iterator[Service]:
    """A service that has published the events of conversation a, which are 1 to 4."""
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
        yield service


@contextmanager
def channel_to(rabbitmq: RabbitMQ) -> Iterator[BlockingChannel]:
    """A channel of somebody who may change everything."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        yield connection.channel()


def positions(rabbitmq: RabbitMQ, queue: str) -> list[int]:
    """Those of the events in a queue."""
    return [delivery.position for delivery in plain.drain(rabbitmq, queue)]


def test_a_queue_that_is_deleted_is_made_again(service: Service, rabbitmq: RabbitMQ, exchange: str) -> None:
    with channel_to(rabbitmq) as channel:
        channel.queue_delete(exchange)
    post(service, "b")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == [5, 6, 7, 8]


def test_an_exchange_that_is_deleted_is_made_again(service: Service, rabbitmq: RabbitMQ, exchange: str) -> None:
    with channel_to(rabbitmq) as channel:
        channel.exchange_delete(exchange)
    post(service, "b")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 9))


def test_a_queue_that_is_unbound_is_bound_again(service: Service, rabbitmq: RabbitMQ, exchange: str) -> None:
    with channel_to(rabbitmq) as channel:
        channel.queue_unbind(exchange, exchange, "")
    post(service, "b")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 9))
    (line,) = said(service.log, "error")
    assert "event_broker.queues: no queue of exchange" in line


def test_a_message_that_no_queue_gets_is_never_passed_over(
    section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    lost = section | {"exchange_type": "direct", "routing_key": "{type}", "binding_key": "bot"}
    with serving(tmp_path, database.dsn, lost) as service:
        post(service, "a")
        wait_for_state(service, "pika", "unreachable")
        relay = relay_of(service, "pika")
    assert (relay["position"], relay["lag_events"]) == (0, 4)
    assert "gets a message with routing key 'action'" in relay["reason"]
    with channel_to(rabbitmq) as channel:
        for routing_key in ("action", "session_started", "slot"):
            channel.queue_bind(exchange, exchange, routing_key)
    with serving(tmp_path, database.dsn, lost) as service:
        wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == [1, 2, 3, 4]


@pytest.mark.usefixtures("settled")  # before the service
def test_a_node_that_was_down_gets_everything_when_it_is_back(
    service: Service, rabbitmq: RabbitMQ, exchange: str
) -> None:
    with rabbitmq.down():
        post(service, "b")
        wait_for_state(service, "pika", "unreachable")
        post(service, "c")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 13))
    assert relay_of(service, "pika")["reconnects"] >= 1


def test_a_node_that_was_restarted_gets_everything_though_its_exchange_is_gone(
    service: Service, rabbitmq: RabbitMQ, exchange: str
) -> None:
    rabbitmq.restart()
    post(service, "b")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 9))


def test_a_node_that_blocks_is_waited_for(service: Service, rabbitmq: RabbitMQ, exchange: str) -> None:
    with rabbitmq.blocked():
        post(service, "b")
        wait_for_state(service, "pika", "paused")
        post(service, "c")
        assert relay_of(service, "pika")["reason"].startswith("RabbitMQ blocks publishing: ")
    wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 13))
    assert relay_of(service, "pika")["state"] == "publishing"


async def test_a_cluster_that_was_down_gets_everything_once_when_it_is_back(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, kafka_section(kafka, topic=missing_topic)) as service:
        post(service, "a")
        wait_until_published(service, "kafka")
        with kafka.down():
            post(service, "b")
            wait_for_state(service, "kafka", "unreachable")
            post(service, "c")
        wait_until_published(service, "kafka")
    headers = [plain.headers_of(record) for record in await plain.records(kafka, missing_topic)]
    assert sorted(int(found["turnlog-position"]) for found in headers) == list(range(1, 13))


async def test_a_cluster_that_has_lost_the_relays_mark_stops_it(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    """Nothing is published again before somebody says so."""
    with serving(tmp_path, database.dsn, kafka_section(kafka, topic=missing_topic)) as service:
        post(service, "a")
        wait_until_published(service, "kafka")
        await plain.delete_topics(kafka, missing_topic)
        post(service, "b")
        wait_for_state(service, "kafka", "stopped")
        reason = relay_of(service, "kafka")["reason"]
    assert reason.startswith("the broker has no mark of ours, but had confirmed position 4: `turnlog relay --broker")
    assert await plain.records(kafka, missing_topic) == []
