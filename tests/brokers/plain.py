"""Consumers as readers of Rasa's events write them, with pika and aiokafka and nothing of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pika
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec import Struct

from tests.kafka_ends import committed_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import ConsumerRecord
    from pika.adapters.blocking_connection import BlockingChannel

    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ


class Delivery(Struct, frozen=True):
    """A message of RabbitMQ, with what pika says of it."""

    exchange: str
    routing_key: str
    properties: Any
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, which is a JSON object."""
        return _object(self.body)

    @property
    def position(self) -> int:
        """The event's place in the log."""
        position: int = self.properties.headers["turnlog-position"]
        return position


def declare(rabbitmq: RabbitMQ, exchange: str, queue: str) -> None:
    """Declare and bind as Rasa does, and as Rasa's documents let a consumer do."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, exchange_type="fanout")
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, routing_key="")


def remove(rabbitmq: RabbitMQ, exchange: str, *queues: str) -> None:
    """Delete an exchange and queues, which need not be there."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue)
        channel.queue_delete(f"turnlog-mark-pika/{exchange}")
        channel.exchange_delete(exchange)


def drain(rabbitmq: RabbitMQ, queue: str) -> list[Delivery]:
    """Take all messages off a queue."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        return list(_taken(connection.channel(), queue))


def _taken(channel: BlockingChannel, queue: str) -> Iterator[Delivery]:
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield Delivery(method.exchange, method.routing_key, properties, body)


async def records(kafka: Kafka, topic: str) -> list[ConsumerRecord]:
    """All committed records of a topic, partition by partition."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        ends = await committed_ends(consumer, kafka.bootstrap, consumer.assignment())
        found: list[ConsumerRecord] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for taken in (await consumer.getmany(timeout_ms=200)).values():
                found += taken
        return found
    finally:
        await consumer.stop()


async def make_topic(kafka: Kafka, name: str) -> None:
    """Make a topic with three partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 3, 1)])
    finally:
        await admin.close()


async def delete_topics(kafka: Kafka, name: str) -> None:
    """Delete a topic and the relay's own beside it, which need not be there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        mine = {name, f"{name}.turnlog-checkpoint"} & set(await admin.list_topics())
        if mine:
            await admin.delete_topics(list(mine))
    finally:
        await admin.close()


def value_of(record: ConsumerRecord) -> dict[str, Any]:
    """A record's value, which is a JSON object."""
    return _object(record.value)


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    assert isinstance(value, dict)
    return value
