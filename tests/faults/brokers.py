"""RabbitMQ and Kafka beside the services of a run: what is killed there, and what their consumers got in the end.

The consumers are plain pika and aiokafka. The one of RabbitMQ follows the rule of the documents: it applies the next
version of a conversation, ignores what it has applied, and holds what comes too early.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import aiokafka
import asyncpg
import pika
from msgspec import Struct

from tests.faults.readers import Seen
from tests.kafka_ends import committed_ends
from tests.service import send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.faults.check import Log
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ
    from tests.service import Service

PARTITIONS: Final = 3
RELAYS: Final = ("pika", "kafka")
FROZEN_SECONDS: Final = 6.5  #: longer than a lease
CONFIRM_SECONDS: Final = 3.0  #: until a relay that should wait for its checkpoint has nothing to publish
_ENDPOINTS: Final = """
event_broker:
- type: pika
  url: {rabbitmq}
  exchange_name: {name}
  queues: {name}
- type: kafka
  url: {kafka}
  security_protocol: PLAINTEXT
  topic: {name}
  partitions: {partitions}
"""


class Got(Struct, frozen=True):
    """What the consumers of a round got."""

    violations: list[str]
    resent: int  #: messages of RabbitMQ that its consumer had applied before


class Brokers:
    """Both brokers, and how far their consumers are."""

    def __init__(self, rabbitmq: RabbitMQ, kafka: Kafka, dsn: str) -> None:
        self.rabbitmq, self.kafka, self._dsn = rabbitmq, kafka, dsn
        self._name = f"faults-{secrets.token_hex(4)}"  # of exchange, queue and topic: others may use the servers too
        self._offsets: dict[aiokafka.TopicPartition, int] = {}

    def configure(self, folder: Path) -> None:
        """Write the endpoints.yml of services that run in a folder."""
        text = _ENDPOINTS.format(
            rabbitmq=self.rabbitmq.url, kafka=self.kafka.bootstrap, name=self._name, partitions=PARTITIONS
        )
        (folder / "endpoints.yml").write_text(text)

    # ---- faults ----

    def kill_rabbitmq(self) -> None:
        """Kill -9 the node; its exchange, which is not durable, is gone when it is back."""
        self.rabbitmq.kill()
        self.rabbitmq.start_again()

    def kill_kafka(self) -> None:
        """Kill -9 the broker."""
        self.kafka.kill()
        self.kafka.start_again()

    def freeze_relay(self) -> None:
        """Stop the process that relays until another one has taken over, and let it go on where it was."""
        pid = self._pid_of_relay("pika")
        send_signal(pid, signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)  # the fault itself
        send_signal(pid, signal.SIGCONT)

    def kill_before_checkpoint(self) -> None:
        """Kill -9 the process that relays after RabbitMQ has confirmed, and before the checkpoint has moved."""
        asyncio.run(self._kill_before_checkpoint())

    async def _kill_before_checkpoint(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute("BEGIN")
            await connection.execute("SELECT 1 FROM turnlog.checkpoint WHERE name = 'relay pika' FOR UPDATE")
            before, until = self._depth(), time.monotonic() + CONFIRM_SECONDS
            while self._depth() == before and time.monotonic() < until:  # noqa: ASYNC110  a queue tells nobody
                await asyncio.sleep(0.02)
            while not (pid := await _pid_of_relay(connection, "pika")):  # noqa: ASYNC110  nor does a lease
                await asyncio.sleep(0.05)
            send_signal(pid, signal.SIGKILL)
        finally:
            await connection.close()

    def _depth(self) -> int:
        with pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)) as connection:
            return int(connection.channel().queue_declare(self._name, passive=True).method.message_count)

    def _pid_of_relay(self, name: str) -> int:
        async def ask() -> int:
            try:
                connection = await asyncpg.connect(self._dsn)
            except (OSError, asyncpg.PostgresError):  # it goes down with a service that was killed, and comes back
                return 0
            try:
                return await _pid_of_relay(connection, name)
            finally:
                await connection.close()

        found: list[int] = []

        def is_led() -> bool:
            found[:] = [asyncio.run(ask())]
            return found[0] > 0

        wait_until(is_led, f"a process relays to {name}")
        return found[0]

    # ---- what came ----

    def wait_until_published(self, service: Service) -> None:
        """Return when both brokers have confirmed everything."""

        def is_published() -> bool:
            relays = {relay["name"]: relay for relay in service.get("/readyz").json().get("relays", [])}
            return all(name in relays and relays[name]["lag_events"] == 0 for name in RELAYS)

        wait_until(is_published, "both brokers have confirmed everything")

    async def check(self, log: Log) -> Got:
        """Compare what came since the last check with the log of that time."""
        queued = await asyncio.to_thread(lambda: list(self._queued()))
        applied, resent, held = apply_rule(queued)
        violations = [f"RabbitMQ: {seen} was never preceded by the version before it" for seen in held]
        violations += compare("RabbitMQ", log.events, sorted(applied, key=lambda seen: seen.position))
        records = await self._records()
        violations += compare("Kafka", log.events, sorted(records, key=lambda seen: seen.position))
        violations += _out_of_order("Kafka", records)
        return Got(violations, resent)

    def _queued(self) -> Iterator[Seen]:
        with pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)) as connection:
            channel = connection.channel()
            while True:
                method, properties, body = channel.basic_get(self._name, auto_ack=True)
                if method is None:
                    return
                assert properties is not None
                yield _seen({str(key): value for key, value in (properties.headers or {}).items()}, body)

    async def _records(self) -> list[Seen]:
        """All new records, partition by partition, as a consumer of committed records reads them."""
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        await consumer.start()
        try:
            partitions = [aiokafka.TopicPartition(self._name, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = await committed_ends(consumer, self.kafka.bootstrap, partitions)
            found: list[Seen] = []
            for partition in partitions:
                found += await self._partition(consumer, partition, ends[partition])
            return found
        finally:
            await consumer.stop()

    async def _partition(
        self, consumer: aiokafka.AIOKafkaConsumer, partition: aiokafka.TopicPartition, end: int
    ) -> list[Seen]:
        consumer.seek(partition, self._offsets.get(partition, 0))
        found = []
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=200)).get(partition, []):
                headers = {key: value.decode() for key, value in record.headers}
                found.append(_seen(headers, record.value))
        self._offsets[partition] = await consumer.position(partition)
        return found


def _seen(headers: dict[str, Any], body: bytes) -> Seen:
    content = json.loads(body)
    conversation = content.pop("sender_id")
    return Seen(int(headers["turnlog-position"]), conversation, int(headers["turnlog-version"]), json.dumps(content))


def apply_rule(messages: Sequence[Seen]) -> tuple[list[Seen], int, list[Seen]]:
    """What a consumer of RabbitMQ applies, how many it ignores, and what it holds in the end."""
    last: Counter[str] = Counter()
    held: dict[str, dict[int, Seen]] = defaultdict(dict)
    applied: list[Seen] = []
    ignored = 0
    for message in messages:
        early = held[message.conversation]
        ignored += message.version <= last[message.conversation] or message.version in early
        early[message.version] = message
        while (version := last[message.conversation] + 1) in early:
            applied.append(early.pop(version))
            last[message.conversation] = version
        for version in [version for version in early if version <= last[message.conversation]]:
            del early[version]
    return applied, ignored, [message for early in held.values() for message in early.values()]


def compare(name: str, expected: Sequence[Seen], found: Sequence[Seen]) -> list[str]:
    """What is wrong with events in the order of their positions, at most one sentence for each kind of fault."""
    positions = Counter(seen.position for seen in found)
    doubled = [position for position, count in positions.items() if count > 1]
    missing = [seen.position for seen in expected if seen.position not in positions]
    truth = {seen.position: (seen.conversation, seen.version, json.loads(seen.body)) for seen in expected}
    wrong = [
        seen for seen in found if truth.get(seen.position) != (seen.conversation, seen.version, json.loads(seen.body))
    ]
    faults = ((missing, "is missing"), (doubled, "came twice"), (wrong, "is not what the log has"))
    return [f"{name}: {len(which)} events, the first {which[0]}, {what}" for which, what in faults if which]


def _out_of_order(name: str, records: Sequence[Seen]) -> list[str]:
    last: Counter[str] = Counter()
    faults = []
    for record in records:
        if record.version != last[record.conversation] + 1:
            faults.append(f"{name}: {record} came after version {last[record.conversation]}")
        last[record.conversation] = record.version
    return faults[:1]


async def _pid_of_relay(connection: Any, name: str) -> int:
    """Pid of the process that holds a relay's lease, whose owner is named `<host>-<pid>-<random>`; 0 for none."""
    owner: str | None = await connection.fetchval(
        "SELECT owner FROM turnlog.lease WHERE name = $1 AND lease_until > clock_timestamp()", f"relay {name}"
    )
    return int(owner.rsplit("-", 2)[1]) if owner else 0


KINDS: Final[dict[str, Callable[[Brokers], None]]] = {
    "rabbitmq": Brokers.kill_rabbitmq,
    "kafka": Brokers.kill_kafka,
    "relay": Brokers.freeze_relay,
    "confirmed": Brokers.kill_before_checkpoint,
}
"""Faults that requests over HTTP must not notice."""
