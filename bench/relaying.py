"""How fast the log gets to the brokers: whole logs, single events, and what that costs the appends meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiokafka
import pika
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec import Struct

from bench import bare
from brokers import Relay, broker_of, relays
from dialogue import encode, from_wire
from eventstore import Append, Database, EventStore, NewEvent, embedded, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from brokers import Broker, RelayStatus

EVENTS: Final = 60_000  #: in a log that is published whole
CONVERSATIONS: Final = 1_000
RATE: Final = 500  #: events a second, one by one
SECONDS: Final = 10
CONNECTIONS: Final = 16
NUMBERED: Final = b'"name":"number"'
EVENT: Final[dict[str, Any]] = {
    "event": "user",
    "text": "a table for two, please",
    "parse_data": {"intent": {"name": "greet", "confidence": 0.9}, "entities": [], "text": "a table for two, please"},
    "input_channel": "rest",
    "message_id": "0123456789abcdef0123456789abcdef",
}


Arrivals = list[tuple[float, list[bytes]]]
"""Times of a consumer, and the bodies that came then."""


class Latency(Struct, frozen=True):
    """Seconds from the answer over HTTP to the consumer."""

    median: float
    p99: float
    batch: float  #: how many events came together, on average


@asynccontextmanager
async def filled_log(folder: Path) -> AsyncIterator[EventStore]:
    """A log with EVENTS events."""
    server = await asyncio.to_thread(embedded.start, folder / "data")
    try:
        database = Database(server.dsn)
        await migrate(database)
        async with EventStore(database) as store:
            await _fill(store)
            yield store
    finally:
        server.close()


async def _fill(store: EventStore) -> None:
    typed = from_wire(EVENT, 1_700_000_000.0)
    events = (NewEvent(typed.type, float(typed.timestamp), encode(typed)),) * 5
    for first in range(0, EVENTS // 5, 1000):
        numbers = range(first, min(first + 1000, EVENTS // 5))
        await asyncio.gather(
            *(store.append(Append(conversation=f"c{number % CONVERSATIONS}", events=events)) for number in numbers)
        )


def bodies() -> list[bytes]:
    """As many bodies as the log has events, as the relay sends them."""
    body = json.dumps({"sender_id": "c123", **EVENT, "timestamp": 1_700_000_000.0, "metadata": {}}).encode()
    return [body] * EVENTS


async def relay_rate(store: EventStore, broker: Broker) -> float:
    """Events a second that the relay publishes; the clock begins when it is connected, as that of its limit does."""
    work = asyncio.create_task(Relay(store, broker).run())
    try:
        await _until(store, broker.name, lambda relay: relay.state == "publishing")
        began = time.perf_counter()
        await _until(store, broker.name, lambda relay: relay.position >= EVENTS)
        return EVENTS / (time.perf_counter() - began)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _until(store: EventStore, name: str, is_so: Callable[[RelayStatus], bool]) -> None:
    """Wait until a relay's status is as wanted; it tells nobody when it changes."""
    while not any(relay.name == name and is_so(relay) for relay in await relays(store.read)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def rabbitmq_broker(url: str, number: int) -> Broker:
    """A broker of its own with a quorum queue."""
    return broker_of(
        {
            "url": url,
            "username": "guest",
            "password": "guest",
            "name": f"rabbitmq-{number}",
            "exchange_name": f"bench-{number}",
            "queues": [f"relay-{number}"],
            "queue_type": "quorum",
        },
        {},
    )


def kafka_broker(bootstrap: str, number: int) -> Broker:
    """A broker of its own, with transactions, to a topic of one partition."""
    return broker_of(
        {
            "type": "kafka",
            "url": bootstrap,
            "security_protocol": "PLAINTEXT",
            "name": f"kafka-{number}",
            "topic": f"relay-{number}",
            "partitions": 1,
        },
        {},
    )


def declare_quorum_queue(url: str, name: str) -> None:
    """Make an empty quorum queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_delete(name)
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})


async def make_topic(bootstrap: str, name: str) -> None:
    """Make a topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()


# ---- single events ----


async def post_at_rate(url: str, answered: dict[str, float]) -> None:
    """Post RATE events a second for SECONDS, each with a number; notes the time of each answer."""
    parts = urlsplit(url)
    clients = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(CONNECTIONS)]
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            tasks.create_task(_post(free, await free.get(), number, answered))
    for _, writer in clients:
        writer.close()


async def _post(
    free: asyncio.Queue[Any],
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    number: int,
    answered: dict[str, float],
) -> None:
    reader, writer = client
    body = b'{"event":"slot","name":"number","value":"%d"}' % number
    path = b"/conversations/c%d/tracker/events?include_events=NONE" % (number % CONVERSATIONS)
    writer.write(b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b" % (path, len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    answered[str(number)] = time.perf_counter()
    assert head.startswith(b"HTTP/1.1 200"), head
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length is not None
    await reader.readexactly(int(length[1]))
    free.put_nowait(client)


@asynccontextmanager
async def kafka_arrivals(bootstrap: str, topic: str) -> AsyncIterator[Arrivals]:
    """What a consumer of committed records gets, and when."""
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    await consumer.seek_to_end()
    arrivals: Arrivals = []

    async def read() -> None:
        while True:
            found = await consumer.getmany(timeout_ms=1000)
            values = [record.value for records in found.values() for record in records]
            if values:
                arrivals.append((time.perf_counter(), values))

    task = asyncio.create_task(read())
    try:
        yield arrivals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


@asynccontextmanager
async def rabbitmq_arrivals(url: str, queue: str) -> AsyncIterator[Arrivals]:
    """What a consumer gets, and when."""
    connection, channel = await bare.connected(url)
    arrivals: Arrivals = []

    def arrived(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        arrivals.append((time.perf_counter(), [body]))

    channel.basic_consume(queue, arrived, auto_ack=True)
    try:
        yield arrivals
    finally:
        connection.close()


async def service_latency(url: str, arriving: AbstractAsyncContextManager[Arrivals]) -> Latency:
    """From the answer over HTTP to the consumer."""
    answered: dict[str, float] = {}
    async with arriving as arrivals:
        await post_at_rate(url, answered)
        await _until_all_arrived(arrivals)
    return _latency(answered, arrivals)


async def bare_latency(bootstrap: str, topic: str) -> Latency:
    """From the making of an event to the consumer, when a bare producer commits whatever has come by then."""
    made: dict[str, float] = {}
    waiting: list[bytes] = []
    async with kafka_arrivals(bootstrap, topic) as arrivals, bare.Transactions(bootstrap, topic) as producer:
        making = asyncio.create_task(_make_at_rate(made, waiting))
        while not making.done() or waiting:
            bodies, waiting[:] = waiting[:], []
            if bodies:
                await producer.commit(bodies)
            else:
                await asyncio.sleep(0.001)
        await _until_all_arrived(arrivals)
    return _latency(made, arrivals)


async def _make_at_rate(made: dict[str, float], waiting: list[bytes]) -> None:
    began = time.perf_counter()
    for number in range(RATE * SECONDS):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        made[str(number)] = time.perf_counter()
        waiting.append(b'{"sender_id":"c1","event":"slot","name":"number","value":"%d"}' % number)


def _latency(since: dict[str, float], arrivals: Arrivals) -> Latency:
    """The consumer may be earlier than the answer."""
    arrived = {json.loads(value)["value"]: at for at, values in arrivals for value in values if NUMBERED in value}
    waits = sorted(max(0.0, arrived[number] - at) for number, at in since.items())
    assert len(waits) == RATE * SECONDS
    return Latency(statistics.median(waits), waits[int(0.99 * len(waits))], len(arrived) / len(arrivals))


async def _until_all_arrived(arrivals: Arrivals) -> None:
    while sum(NUMBERED in value for _, values in arrivals for value in values) < RATE * SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
