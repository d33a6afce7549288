"""The limits for the relay: publishers that do nothing but publish, as their libraries' documents show it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import aiokafka
import pika
from pika.adapters.asyncio_connection import AsyncioConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW: Final = 1000  #: messages that wait for their confirmation
BATCH_BYTES: Final = 1_000_000
HEADERS: Final = (
    ("turnlog-log", b"6fe6d418-26d6-4360-9dca-cbf81270fd97"),
    ("turnlog-generation", b"1"),
    ("turnlog-type", b"user"),
    ("RASA_ENVIRONMENT", b"RASA_ENVIRONMENT_NOT_SET"),
)


async def rabbitmq(url: str, queue: str, bodies: Sequence[bytes]) -> float:
    """Messages a second to a queue: persistent, confirmed, a window of 1,000, by pika's asyncio adapter."""
    connection, channel = await connected(url)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    sent = confirmed = 0

    def fill() -> None:
        nonlocal sent
        while sent < len(bodies) and sent - confirmed < WINDOW:
            channel.basic_publish("", queue, bodies[sent], pika.BasicProperties(delivery_mode=2))
            sent += 1

    def confirm(frame: Any) -> None:
        nonlocal confirmed
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        confirmed = frame.method.delivery_tag if frame.method.multiple else confirmed + 1
        if confirmed >= len(bodies) and not done.done():
            done.set_result(None)
        elif sent - confirmed < WINDOW // 2:
            fill()

    selected: asyncio.Future[Any] = loop.create_future()
    channel.confirm_delivery(confirm, callback=selected.set_result)
    await selected
    began = time.perf_counter()
    fill()
    await done
    rate = len(bodies) / (time.perf_counter() - began)
    connection.close()
    return rate


async def connected(url: str) -> tuple[Any, Any]:
    """A connection and a channel on it."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Any] = loop.create_future()
    AsyncioConnection(
        pika.URLParameters(url),
        on_open_callback=opened.set_result,
        on_open_error_callback=lambda _connection, error: opened.set_exception(error),
    )
    connection = await opened
    channel: asyncio.Future[Any] = loop.create_future()
    connection.channel(on_open_callback=channel.set_result)
    return connection, await channel


async def kafka(bootstrap: str, topic: str, bodies: Sequence[bytes]) -> float:
    """Records a second to one partition, with as many headers as the relay's, by batches of an idempotent producer."""
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    try:
        began = time.perf_counter()
        batch, sent = producer.create_batch(), []
        for number, body in enumerate(bodies):
            headers = [*HEADERS, ("turnlog-position", b"%d" % number), ("turnlog-version", b"%d" % number)]
            if batch.append(key=b"c", value=body, timestamp=None, headers=headers) is None:
                sent.append(await producer.send_batch(batch, topic, partition=0))
                batch = producer.create_batch()
                batch.append(key=b"c", value=body, timestamp=None, headers=headers)
        sent.append(await producer.send_batch(batch, topic, partition=0))
        await asyncio.gather(*sent)
        return len(bodies) / (time.perf_counter() - began)
    finally:
        await producer.stop()


class Transactions:
    """A bare producer that commits a batch in each transaction."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="bare")

    async def __aenter__(self) -> Transactions:
        await self._producer.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._producer.stop()

    async def commit(self, bodies: Sequence[bytes]) -> None:
        """Send these in one transaction, and return when it is committed."""
        async with self._producer.transaction():
            batch = self._producer.create_batch()
            for body in bodies:
                batch.append(key=b"c", value=body, timestamp=None)
            await self._producer.send_batch(batch, self._topic, partition=0)
