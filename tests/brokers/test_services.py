"""The brokers that tests start: they keep what they confirmed, let in who should come in, and outlive nobody."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pika
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.kafka import Kafka
from tests.rabbitmq import RabbitMQ
from tests.service import is_alive, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from pika.adapters.blocking_connection import BlockingChannel

DURABLE = pika.BasicProperties(delivery_mode=2)


def context(server: RabbitMQ | Kafka, *, with_certificate: bool) -> ssl.SSLContext:
    """What a client needs to trust the server, and to be trusted."""
    made = ssl.create_default_context(cafile=str(server.authority))
    if with_certificate:
        made.load_cert_chain(server.client.certificate, server.client.key)
    return made


# ---------------------------------------------------------------------------------------------------------- RabbitMQ


@pytest.fixture
def queue(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A durable queue of the test's own."""
    name = f"queue-{uuid4()}"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(name, durable=True)
    yield name
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_delete(name)


def publish(rabbitmq: RabbitMQ, queue: str, body: bytes) -> None:
    """Publish a message, and wait until the server has confirmed it."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel: BlockingChannel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", queue, body, DURABLE, mandatory=True)


def messages(rabbitmq: RabbitMQ, queue: str) -> list[bytes]:
    """Take all messages off a queue."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        return [body for _, _, body in iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None))]


def test_a_confirmed_message_is_consumed(rabbitmq: RabbitMQ, queue: str) -> None:
    publish(rabbitmq, queue, b"one")
    assert messages(rabbitmq, queue) == [b"one"]


def test_rabbitmq_keeps_a_confirmed_message_when_it_is_killed(rabbitmq: RabbitMQ, queue: str) -> None:
    publish(rabbitmq, queue, b"one")
    with rabbitmq.down():
        assert not rabbitmq.is_ready
    assert messages(rabbitmq, queue) == [b"one"]


def test_rabbitmq_keeps_a_confirmed_message_when_it_is_stopped(rabbitmq: RabbitMQ, queue: str) -> None:
    publish(rabbitmq, queue, b"one")
    rabbitmq.restart()
    assert rabbitmq.queues()[queue] == 1


def test_rabbitmq_talks_tls_to_a_client_with_a_certificate(rabbitmq: RabbitMQ) -> None:
    options = pika.SSLOptions(context(rabbitmq, with_certificate=True), "localhost")
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq.tls_port, ssl_options=options)
    with pika.BlockingConnection(parameters) as connection:
        assert connection.is_open


def test_rabbitmq_turns_a_client_without_a_certificate_away(rabbitmq: RabbitMQ) -> None:
    options = pika.SSLOptions(context(rabbitmq, with_certificate=False), "localhost")
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq.tls_port, ssl_options=options)
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(parameters)


def test_a_user_of_rabbitmq_has_only_the_rights_that_were_given(rabbitmq: RabbitMQ, queue: str) -> None:
    name = f"user-{uuid4()}"
    rabbitmq.add_user(name, "secret")
    rabbitmq.permit(name, write=".*")
    parameters = pika.URLParameters(f"amqp://{name}:secret@127.0.0.1:{rabbitmq.port}")
    with pika.BlockingConnection(parameters) as connection:
        connection.channel().basic_publish("", queue, b"one")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            connection.channel().queue_declare("another")
    assert messages(rabbitmq, queue) == [b"one"]


def test_rabbitmq_blocks_and_unblocks_who_publishes(rabbitmq: RabbitMQ, queue: str) -> None:
    said: list[str] = []
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.add_on_connection_blocked_callback(lambda *_: said.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: said.append("unblocked"))
        with rabbitmq.blocked():
            connection.channel().basic_publish("", queue, b"one")
            wait_until(lambda: connection.process_data_events() or said == ["blocked"], "it is blocked")
        wait_until(lambda: connection.process_data_events() or said == ["blocked", "unblocked"], "it is unblocked")


# ------------------------------------------------------------------------------------------------------------- Kafka


@pytest.fixture
async def topic(kafka: Kafka) -> AsyncIterator[str]:
    """A topic with one partition, of the test's own."""
    name = f"topic-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    yield name
    await admin.delete_topics([name])
    await admin.close()


@asynccontextmanager
async def transactional(kafka: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with transactions."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=f"tests-{uuid4()}", transaction_timeout_ms=10_000
    )
    async with producer:
        yield producer


async def records(kafka: Kafka, topic: str, **how: Any) -> list[bytes]:
    """All records of a topic that were committed before now."""
    partition = TopicPartition(topic, 0)
    how = {"bootstrap_servers": kafka.bootstrap, "isolation_level": "read_committed"} | how
    consumer = AIOKafkaConsumer(**how)
    try:
        await consumer.start()
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[bytes] = []
        while await consumer.position(partition) < end:
            found += [record.value for record in (await consumer.getmany(timeout_ms=100)).get(partition, [])]
        return found
    finally:
        await consumer.stop()


async def test_only_what_a_transaction_committed_is_consumed(kafka: Kafka, topic: str) -> None:
    async with transactional(kafka) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"never")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"one")
    assert await records(kafka, topic) == [b"one"]


async def test_kafka_keeps_a_committed_record_when_it_is_killed(kafka: Kafka, topic: str) -> None:
    async with transactional(kafka) as producer, producer.transaction():
        await producer.send_and_wait(topic, b"one")
    with kafka.down():
        assert not kafka.is_ready
    assert await records(kafka, topic) == [b"one"]


async def test_kafka_keeps_a_committed_record_when_it_is_stopped(kafka: Kafka, topic: str) -> None:
    async with transactional(kafka) as producer, producer.transaction():
        await producer.send_and_wait(topic, b"one")
    kafka.restart()
    assert await records(kafka, topic) == [b"one"]


async def test_kafka_makes_no_topic_unasked(kafka: Kafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    missing = f"missing-{uuid4()}"
    await admin.describe_topics([missing])
    assert missing not in await admin.list_topics()
    await admin.close()


async def test_kafka_talks_tls_to_a_client_with_a_certificate(kafka: Kafka, topic: str) -> None:
    how = {"security_protocol": "SSL", "ssl_context": context(kafka, with_certificate=True)}
    assert await records(kafka, topic, bootstrap_servers=kafka.ssl_bootstrap, **how) == []


async def test_kafka_turns_a_client_without_a_certificate_away(kafka: Kafka, topic: str) -> None:
    how = {"security_protocol": "SSL", "ssl_context": context(kafka, with_certificate=False)}
    with pytest.raises(KafkaError):
        await records(kafka, topic, bootstrap_servers=kafka.ssl_bootstrap, **how)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_kafka_knows_its_user(kafka: Kafka, topic: str, mechanism: str) -> None:
    how = {"sasl_mechanism": mechanism, "sasl_plain_username": kafka.user, "sasl_plain_password": kafka.password}
    plain = {"bootstrap_servers": kafka.sasl_bootstrap, "security_protocol": "SASL_PLAINTEXT"}
    assert await records(kafka, topic, **how, **plain) == []
    tls = {"bootstrap_servers": kafka.sasl_ssl_bootstrap, "security_protocol": "SASL_SSL"}
    assert await records(kafka, topic, **how, **tls, ssl_context=context(kafka, with_certificate=False)) == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_kafka_turns_a_wrong_password_away(kafka: Kafka, topic: str, mechanism: str) -> None:
    how = {"sasl_mechanism": mechanism, "sasl_plain_username": kafka.user, "sasl_plain_password": "wrong"}
    plain = {"bootstrap_servers": kafka.sasl_bootstrap, "security_protocol": "SASL_PLAINTEXT"}
    with pytest.raises(KafkaError):
        await records(kafka, topic, **how, **plain)


# ---------------------------------------------------------------------------------------------------- around the two

LEAVES_DAEMON_BEHIND = "(setsid sleep 600 & echo $! > {pids}); echo $$ >> {pids}; exec sleep 600"
HOLDS_SERVER = """
import sys, os, signal, time
from pathlib import Path
from tests.servers import Guarded
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
Guarded(["sh", "-c", sys.argv[1]], Path(sys.argv[2]), os.environ).start()
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_of_a_server_outlives_the_tests(tmp_path: Path, number: int) -> None:
    pids = tmp_path / "pids"
    command = LEAVES_DAEMON_BEHIND.format(pids=pids)
    tests = subprocess.Popen([sys.executable, "-c", HOLDS_SERVER, command, tmp_path / "log"], stderr=subprocess.DEVNULL)
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "the server has started")
    found = [int(pid) for pid in pids.read_text().split()]
    assert all(is_alive(pid) for pid in found)
    tests.send_signal(number)
    tests.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in found), "all its processes are gone")


@pytest.mark.parametrize("kind", [RabbitMQ, Kafka])
def test_a_server_that_is_not_ours_is_never_ended(
    kind: type[RabbitMQ | Kafka], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kind.variable, "amqp://elsewhere:5672")
    named = kind.start(tmp_path)
    for end in (named.kill, named.stop, named.restart):
        with pytest.raises(AssertionError, match=f"{kind.variable} names another one: unset it"):
            end()
    named.close()
    assert not list(tmp_path.iterdir())
