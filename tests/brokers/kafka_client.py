"""Kafka as its other users see it: topics, and records as a plain consumer gets them; and messages to publish."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from brokers import Mark, Message, Source, Window, broker_of
from tests.kafka_ends import committed_ends
from tests.projections.keeping import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from brokers import Broker, Publisher
    from tests.kafka import Kafka


def new_source(broker: str = "kafka", replay: str | None = None) -> Source:
    """A log of its own."""
    return Source(uuid4(), broker, replay)


def broker_to(kafka: Kafka, topic: str, **values: Any) -> Broker:
    """A broker on the listener without password."""
    section = {"type": "kafka", "url": kafka.bootstrap, "security_protocol": "PLAINTEXT", "topic": topic}
    return broker_of(section | values, {"RASA_ENVIRONMENT": "tests"})


@contextlib.asynccontextmanager
async def publishing(kafka: Kafka, topic: str, source: Source, **values: Any) -> AsyncIterator[Publisher]:
    """An open publisher."""
    publisher = broker_to(kafka, topic, **values).publisher()
    try:
        await publisher.open(source)
        yield publisher
    finally:
        await publisher.close()


async def mark_of(kafka: Kafka, topic: str, source: Source) -> Mark | None:
    """The mark that the next publisher finds."""
    publisher = broker_to(kafka, topic).publisher()
    try:
        return await publisher.open(source)
    finally:
        await publisher.close()


def message(position: int, conversation: str = "c", body: bytes = b"{}", **more: str | int | bool) -> Message:
    """An event, with more headers than every event has."""
    named = tuple((name.replace("_", "-"), value) for name, value in more.items())
    return Message("log", position, conversation, position, 1, "user", body, named)


def window(source: Source, *messages: Message, position: int | None = None) -> Window:
    """A window that reaches the last of its messages."""
    reached = messages[-1].position if position is None else position
    return Window(messages, Mark(source.log, reached, b"chain", 7))


@contextlib.asynccontextmanager
async def administering(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that makes topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def make(kafka: Kafka, topic: str, partitions: int = 1, **settings: object) -> None:
    """Make a topic; `max_message_bytes=5` is its `max.message.bytes`."""
    given = {name.replace("_", "."): str(value) for name, value in settings.items()}
    async with administering(kafka) as admin:
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=given)])

        async def is_there() -> bool:
            (found,) = await admin.describe_topics([topic])
            return len(found["partitions"]) == partitions

        await until(is_there)  # servers hear of it a little later


async def records(kafka: Kafka, topic: str, isolation: str = "read_committed") -> list[Any]:
    """All records of a topic, in the order of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level=isolation)
    try:
        await consumer.start()
        await consumer._client._wait_on_metadata(topic)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        return await _read(consumer, await committed_ends(consumer, kafka.bootstrap, partitions))
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> list[Any]:
    found: list[Any] = []
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            found += (await consumer.getmany(partition, timeout_ms=100)).get(partition, [])
    return found


async def positions(kafka: Kafka, topic: str, isolation: str = "read_committed") -> list[int]:
    """The positions of all events in a topic, in the order of each partition."""
    return [position_of(record) for record in await records(kafka, topic, isolation)]


def position_of(record: Any) -> int:
    """The position of the event in a record."""
    return int(dict(record.headers)["turnlog-position"])
