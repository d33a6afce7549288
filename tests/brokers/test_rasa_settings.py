"""endpoints.yml and consumers that were made for Rasa need no change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import plain
from tests.brokers.running import PER_CONVERSATION, kafka_section, pika_section, post, serving, wait_until_published

if TYPE_CHECKING:
    from pathlib import Path

    from eventstore import Database
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ


def senders(rabbitmq: RabbitMQ, queue: str) -> list[str]:
    """The conversations whose slots are in a queue."""
    bodies = [delivery.json for delivery in plain.drain(rabbitmq, queue)]
    return [body["sender_id"] for body in bodies if body["event"] == "slot"]


@pytest.mark.parametrize("form", ["host", "url", "url without credentials"])
def test_a_single_section_publishes(
    rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path, form: str
) -> None:
    section = pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])
    if form != "host":
        section["url"] = rabbitmq.url if form == "url" else f"amqp://127.0.0.1:{rabbitmq.port}"
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a", "b")
        wait_until_published(service, "pika")
    assert senders(rabbitmq, exchange) == ["a", "b"]


def test_without_a_type_it_is_rabbitmq(rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path) -> None:
    section = pika_section(rabbitmq, exchange_name=exchange, queues=exchange)
    del section["type"]
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    assert senders(rabbitmq, exchange) == ["a"]


def test_a_queue_that_a_consumer_declared_before_is_used(
    rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    plain.declare(rabbitmq, exchange, exchange)
    with serving(tmp_path, database.dsn, pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    assert senders(rabbitmq, exchange) == ["a"]


def test_a_consumer_may_declare_everything_after_us(
    rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    """And a queue of its own gets what is published from then on."""
    own = f"{exchange}-own"
    with serving(tmp_path, database.dsn, pika_section(rabbitmq, exchange_name=exchange, queues=[exchange])) as service:
        post(service, "a")
        wait_until_published(service, "pika")
        plain.declare(rabbitmq, exchange, exchange)
        plain.declare(rabbitmq, exchange, own)
        post(service, "b")
        wait_until_published(service, "pika")
    found = senders(rabbitmq, exchange), senders(rabbitmq, own)
    plain.remove(rabbitmq, exchange, own)
    assert found == (["a", "b"], ["b"])


async def test_every_form_of_kafkas_url_publishes(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    """A text, a list and a text with commas; without the variable, and without a key, as is Rasa's default."""
    nobody = "127.0.0.1:1"
    forms = {"text": kafka.bootstrap, "list": [nobody, kafka.bootstrap], "commas": f"{kafka.bootstrap},{nobody}"}
    sections = [
        kafka_section(kafka, name=name, url=url, topic=missing_topic, partition_by_sender=False)
        for name, url in forms.items()
    ]
    with serving(tmp_path, database.dsn, sections) as service:
        post(service, "a")
        wait_until_published(service, *forms)
    records = await plain.records(kafka, missing_topic)
    assert [record.key for record in records] == [None] * len(forms) * PER_CONVERSATION
    assert {plain.headers_of(record)["RASA_ENVIRONMENT"] for record in records} == {"RASA_ENVIRONMENT_NOT_SET"}
