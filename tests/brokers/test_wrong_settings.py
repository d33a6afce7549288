"""Settings that lead to no broker: the service starts and serves, says which setting it is, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from tests.brokers import plain
from tests.brokers.running import (
    PER_CONVERSATION,
    configure,
    kafka_section,
    pika_section,
    post,
    said,
    serving,
    wait_for_state,
    wait_until_published,
)
from tests.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from eventstore import Database
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

PASSWORD = "not-the-password"


class Wrong(Struct, frozen=True):
    """Keys of a section that are wrong, and what is said of them."""

    keys: dict[str, Any]
    says: str


RABBITMQ = {
    "password": Wrong({"password": PASSWORD}, "username: 127.0.0.1:{port} refuses user 'guest' or the password"),
    "user": Wrong({"username": "nobody"}, "username: 127.0.0.1:{port} refuses user 'nobody' or the password"),
    "virtual host": Wrong(
        {"url": "amqp://127.0.0.1:{port}/nowhere"},
        "url: 127.0.0.1:{port} does not let us in: NOT_ALLOWED - vhost nowhere not found",
    ),
    "port": Wrong({"port": 1}, "url: no answer from 127.0.0.1:1 (connection refused)"),
    "host": Wrong({"url": "rabbitmq.invalid"}, "url: the host name rabbitmq.invalid is not known"),
}
KAFKA = {
    "port": Wrong({"url": "127.0.0.1:1"}, "url: nobody listens at 127.0.0.1:1"),
    "host": Wrong({"url": "kafka.invalid:9092"}, "url: the host of kafka.invalid:9092 can't be resolved"),
    "topic": Wrong({"partitions": None}, "topic: {topic} does not exist; make it, or say how many `partitions`"),
    "password": Wrong(
        {
            "url": "{sasl}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_username": "turnlog",
            "sasl_password": PASSWORD,
        },
        "sasl_password: {sasl} does not accept the password of user 'turnlog'",
    ),
    "protocol": Wrong({"url": "{sasl}"}, "security_protocol: "),
}


def filled(value: Any, names: dict[str, str]) -> Any:
    """A key's value with what is known only now."""
    return value.format(**names) if isinstance(value, str) else value


def errors(service: Service) -> list[str]:
    """What it has logged as errors, which never holds the password."""
    assert PASSWORD not in service.log.read_text()
    return said(service.log, "error")


@pytest.mark.parametrize("name", RABBITMQ)
def test_a_wrong_setting_for_rabbitmq_loses_nothing(
    rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path, name: str
) -> None:
    wrong, names = RABBITMQ[name], {"port": str(rabbitmq.port)}
    right = pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])
    section = right | {key: filled(value, names) for key, value in wrong.keys.items()}
    with serving(tmp_path, database.dsn, section) as service:
        wait_for_state(service, "pika", "unreachable")
        post(service, "a")
        (line,) = errors(service)
    assert line.startswith(f"endpoints.yml:1: event_broker.{filled(wrong.says, names)}"), line
    with serving(tmp_path, database.dsn, right) as service:
        wait_until_published(service, "pika")
    assert [delivery.position for delivery in plain.drain(rabbitmq, exchange)] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", KAFKA)
async def test_a_wrong_setting_for_kafka_loses_nothing(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path, name: str
) -> None:
    wrong, names = KAFKA[name], {"topic": missing_topic, "sasl": kafka.sasl_bootstrap}
    right = kafka_section(kafka, topic=missing_topic)
    section = right | {key: filled(value, names) for key, value in wrong.keys.items()}
    with serving(tmp_path, database.dsn, section) as service:
        wait_for_state(service, "kafka", "unreachable")
        post(service, "a")
        (line,) = errors(service)
    assert line.startswith(f"endpoints.yml:1: event_broker.{filled(wrong.says, names)}"), line
    with serving(tmp_path, database.dsn, right) as service:
        wait_until_published(service, "kafka")
    assert len(await plain.records(kafka, missing_topic)) == PER_CONVERSATION


async def test_a_missing_topic_may_be_made_while_the_service_runs(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, kafka_section(kafka, topic=missing_topic, partitions=None)) as service:
        wait_for_state(service, "kafka", "unreachable")
        post(service, "a")
        await plain.make_topic(kafka, missing_topic)
        wait_until_published(service, "kafka")
    assert len(await plain.records(kafka, missing_topic)) == PER_CONVERSATION


def test_one_broker_that_is_away_does_not_hold_up_another(
    rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    right = pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])
    with serving(tmp_path, database.dsn, [right | {"name": "away", "port": 1}, right]) as service:
        wait_for_state(service, "away", "unreachable")
        post(service, "a")
        wait_until_published(service, "pika")
        (line,) = errors(service)
    assert line.startswith("endpoints.yml:2: event_broker.0.url: no answer"), line


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"security_protocol": "SASL"},
            "event_broker.security_protocol: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT",
        ),
        ({"security_protocol": "SASL_SSL"}, "event_broker.sasl_username: is missing"),
        ({"topic": "a b"}, "event_broker.topic: must be"),
        ({"url": None}, "event_broker.url: is missing"),
        ({"type": "rabbit"}, "event_broker.type: 'rabbit' is none of"),
    ],
)
def test_a_setting_that_can_not_mean_anything_ends_the_start(
    kafka: Kafka, database: Database, tmp_path: Path, keys: dict[str, Any], says: str
) -> None:
    configure(tmp_path, kafka_section(kafka) | keys)
    service = Service(tmp_path, environment={"DATABASE_URL": database.dsn})
    service.start()
    assert service.status() == 1
    (line,) = [line for line in service.log.read_text().splitlines() if says in line]
    assert line.startswith("turnlog: endpoints.yml:")
