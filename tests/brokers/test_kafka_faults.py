"""What keeps a Kafka broker from being used is told in a sentence with the setting, in time. Nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiokafka import errors

from brokers import BrokerUnavailable, Publisher, PublishFailed, Source, broker_of
from brokers.kafka_cluster import Cluster
from brokers.kafka_faults import explained, failed, unreachable
from brokers.kafka_options import Address, KafkaOptions
from tests.brokers.kafka_client import (
    administering,
    broker_to,
    make,
    message,
    new_source,
    positions,
    publishing,
    window,
)
from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka import Kafka

LISTENERS = {
    "PLAINTEXT": "bootstrap",
    "SSL": "ssl_bootstrap",
    "SASL_PLAINTEXT": "sasl_bootstrap",
    "SASL_SSL": "sasl_ssl_bootstrap",
}


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    """A topic of the test's own."""
    name = f"events-{uuid4()}"
    await make(kafka, name)
    return name


@pytest.fixture
def source() -> Source:
    """A log of the test's own."""
    return new_source()


@pytest.fixture(autouse=True)
async def leaves_nothing() -> AsyncIterator[None]:
    """No task of a publisher outlives its end, and no error was left for nobody."""
    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
    unheard: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    yield
    gc.collect()
    loop.set_exception_handler(None)
    left = [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    assert (left, unheard) == ([], [])


def publisher_to(kafka: Kafka, protocol: str, topic: str = "none", **values: Any) -> Publisher:
    """A publisher on the listener of a protocol, with all that any of them needs."""
    section = {
        "type": "kafka",
        "url": getattr(kafka, LISTENERS[protocol]),
        "topic": topic,
        "security_protocol": protocol,
        "sasl_username": kafka.user,
        "sasl_password": kafka.password,
        "ssl_cafile": str(kafka.authority),
        "ssl_certfile": str(kafka.client.certificate),
        "ssl_keyfile": str(kafka.client.key),
    }
    return broker_of(section | values, {}).publisher()


async def refusal(publisher: Publisher, source: Source) -> str:
    """Why a publisher can't be opened."""
    try:
        with pytest.raises(BrokerUnavailable) as caught:
            await publisher.open(source)
    finally:
        await publisher.close()
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- whom to talk to, how


@pytest.mark.parametrize("protocol", LISTENERS)
async def test_each_protocol_works(kafka: Kafka, topic: str, source: Source, protocol: str) -> None:
    publisher = publisher_to(kafka, protocol, topic, ssl_check_hostname=True)
    await publisher.open(source)
    await publisher.publish(window(source, message(1)))
    await publisher.close()
    assert await positions(kafka, topic) == [1]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_each_mechanism_works(kafka: Kafka, topic: str, source: Source, mechanism: str) -> None:
    publisher = publisher_to(kafka, "SASL_SSL", topic, sasl_mechanism=mechanism)
    await publisher.open(source)
    await publisher.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password(kafka: Kafka, source: Source, mechanism: str) -> None:
    publisher = publisher_to(kafka, "SASL_SSL", sasl_mechanism=mechanism, sasl_password="a-wrong-one")
    told = await refusal(publisher, source)
    assert told == f"sasl_password: {kafka.sasl_ssl_bootstrap} does not accept the password of user 'turnlog'"


@pytest.mark.parametrize(
    ("protocol", "listener"),
    [(protocol, listener) for protocol in LISTENERS for listener in LISTENERS if protocol != listener],
)
async def test_a_wrong_protocol(kafka: Kafka, source: Source, protocol: str, listener: str) -> None:
    address = getattr(kafka, LISTENERS[listener])
    told = await refusal(publisher_to(kafka, protocol, url=address), source)
    assert told.startswith(f"security_protocol: {address} ")
    assert protocol in told


async def test_a_server_that_is_not_trusted(kafka: Kafka, source: Source) -> None:
    told = await refusal(publisher_to(kafka, "SSL", ssl_cafile=None), source)
    assert told.startswith(f"ssl_cafile: the certificate of {kafka.ssl_bootstrap} is not trusted: unable to get")


async def test_a_server_that_wants_a_certificate(kafka: Kafka, source: Source) -> None:
    told = await refusal(publisher_to(kafka, "SSL", ssl_certfile=None, ssl_keyfile=None), source)
    assert told.startswith(f"ssl_certfile: {kafka.ssl_bootstrap} may want a certificate of ours: ")


@pytest.mark.parametrize("key", ["ssl_cafile", "ssl_certfile"])
async def test_a_file_that_is_missing(kafka: Kafka, source: Source, key: str) -> None:
    files = {key: "/missing.pem", "ssl_keyfile": None}
    told = await refusal(publisher_to(kafka, "SSL", topic="none", **files), source)
    assert told == f"{key}: /missing.pem: No such file or directory"


async def test_a_certificate_for_another_host() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 62, "Hostname mismatch"
    options = KafkaOptions(servers=(Address("a", 1),), security_protocol="SSL")
    told = unreachable(error, Address("a", 1), options)
    assert str(told) == "ssl_check_hostname: the certificate of a:1 is not trusted: Hostname mismatch"


async def test_nobody_listens(kafka: Kafka, source: Source) -> None:
    url = f"127.0.0.1:{free_port()}"
    assert await refusal(publisher_to(kafka, "PLAINTEXT", url=url), source) == f"url: nobody listens at {url}"


async def test_a_host_without_an_address(kafka: Kafka, source: Source) -> None:
    told = await refusal(publisher_to(kafka, "PLAINTEXT", url="nowhere.invalid:9092"), source)
    assert told.startswith("url: the host of nowhere.invalid:9092 can't be resolved: ")


async def test_each_of_several_servers_is_told(kafka: Kafka, source: Source) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    told = await refusal(publisher_to(kafka, "PLAINTEXT", url=f"{nobody},nowhere.invalid"), source)
    assert told.startswith(f"url: nobody listens at {nobody}; the host of nowhere.invalid:9092 can't be resolved")


async def test_one_of_several_servers_is_enough(kafka: Kafka, topic: str, source: Source) -> None:
    publisher = publisher_to(kafka, "PLAINTEXT", topic, url=f"127.0.0.1:{free_port()},{kafka.bootstrap}")
    await publisher.open(source)
    await publisher.close()


async def test_a_server_that_hangs(kafka: Kafka, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokers.kafka_cluster.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("brokers.kafka_cluster.REQUEST_SECONDS", 0.2)
    with kafka.frozen():
        told = await refusal(publisher_to(kafka, "PLAINTEXT"), source)
    assert told == f"url: {kafka.bootstrap} does not answer"


async def test_a_server_that_speaks_something_else(kafka: Kafka, source: Source) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", port := free_port()):
        told = await refusal(publisher_to(kafka, "PLAINTEXT", url=f"127.0.0.1:{port}"), source)
    assert told.startswith(f"security_protocol: 127.0.0.1:{port} closes the connection at once")


def test_a_server_of_the_cluster_that_can_not_be_reached_is_told_apart() -> None:
    """The usual reason is what the cluster calls itself, which is not set here."""
    options = KafkaOptions(servers=(Address("a", 1),), security_protocol="PLAINTEXT")
    told = str(unreachable(ConnectionRefusedError(), Address("inner", 9092), options))
    assert told == (
        "url: nobody listens at inner:9092 (which the cluster names as a server of its own, by advertised.listeners)"
    )


async def test_the_password_is_not_logged(
    kafka: Kafka, topic: str, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        publisher = publisher_to(kafka, "SASL_PLAINTEXT", topic)
        await publisher.open(source)
        await publisher.publish(window(source, message(1, body=b'{"text":"private"}')))
        await publisher.close()
    assert kafka.password not in caplog.text
    assert "private" not in caplog.text


# ----------------------------------------------------------------------------------------------------- while publishing


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is given up soon."""
    monkeypatch.setattr("brokers.kafka.TRANSACTION_SECONDS", 0.5)
    monkeypatch.setattr("brokers.kafka.PATIENCE", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_the_broker_is_gone(kafka: Kafka, topic: str, source: Source) -> None:
    async with (
        publishing(kafka, topic, source) as exact,
        publishing(kafka, topic, source, transactional=False) as simple,
    ):
        with kafka.down():
            for publisher in (exact, simple):
                with pytest.raises(PublishFailed) as caught:
                    await publisher.publish(window(source, message(1)))
                assert str(caught.value) == f"url: nobody listens at {kafka.bootstrap}"
                assert caught.value.confirmed == 0
                await publisher.close()


@pytest.mark.usefixtures("impatient")
async def test_the_broker_hangs(kafka: Kafka, topic: str, source: Source) -> None:
    async with publishing(kafka, topic, source) as publisher:
        with kafka.frozen():
            with pytest.raises(PublishFailed, match="url: the cluster does not answer"):
                await publisher.publish(window(source, message(1, body=b"x" * 1_000_000)))
            await publisher.close()


async def test_the_topic_is_deleted(kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokers.kafka.TRANSACTION_SECONDS", 2.0)
    async with publishing(kafka, topic, source) as publisher:
        async with administering(kafka) as admin:
            await admin.delete_topics([topic])
        with pytest.raises(PublishFailed, match=f"topic: topic {topic} does not exist"):
            await publisher.publish(window(source, message(1)))


async def test_a_publisher_may_be_closed_at_any_time(kafka: Kafka, topic: str, source: Source) -> None:
    publisher = broker_to(kafka, topic).publisher()
    await publisher.close()
    await publisher.open(source)
    await publisher.close()
    await publisher.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_publisher_may_be_cancelled_at_any_time(kafka: Kafka, topic: str, source: Source, turns: int) -> None:
    publisher = broker_to(kafka, topic).publisher()
    opening = asyncio.create_task(publisher.open(source))
    for _ in range(turns):
        await asyncio.sleep(0.001)
    opening.cancel()
    await asyncio.wait([opening])
    await publisher.close()


# ------------------------------------------------------------------------------------------------- what can't be staged


@pytest.mark.parametrize(
    ("error", "reason", "setting"),
    [
        (errors.TopicAuthorizationFailedError("t"), "user 'u' may not use topic t", "topic"),
        (errors.TransactionalIdAuthorizationFailed(), "user 'u' may not use transactional ids that", "transactional"),
        (errors.ClusterAuthorizationFailedError(), "user 'u' lacks the right IdempotentWrite", "sasl_username"),
        (errors.CoordinatorNotAvailableError(), "the cluster has no coordinator", "transactional"),
        (errors.InvalidTransactionTimeout(), "the cluster's transaction.max.timeout.ms is", "transactional"),
        (errors.IncompatibleBrokerVersion("22"), "the cluster can't do what is asked of it", "transactional"),
        (NotImplementedError("22"), "the cluster can't do what is asked of it", "transactional"),
        (errors.LeaderNotAvailableError("t"), "topic t has a partition without a leader", ""),
        (errors.KafkaConnectionError(), "the connection was lost", "url"),
        (failed(90), "the cluster ended the transaction", ""),
        (failed(12345), "[Error -1] UnknownError: code 12345", ""),
        (errors.OutOfOrderSequenceNumber(), "[Error 45] OutOfOrderSequenceNumber", ""),
    ],
)
def test_errors_of_the_cluster_are_told(error: Exception, reason: str, setting: str) -> None:
    options = KafkaOptions(servers=(Address("a", 1),), sasl_username="u", sasl_password="p")
    told, where = explained(error, options)
    assert told.startswith(reason)
    assert where == setting


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", [19, 20])
async def test_too_few_replicas(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A cluster of one server has no such thing."""
    async with publishing(kafka, topic, source) as publisher:
        monkeypatch.setattr("brokers.kafka_producer._outcome", lambda *_: failed(code, topic))
        with pytest.raises(PublishFailed, match=f"^topic {topic} takes nothing: fewer of its replicas are in sync"):
            await publisher.publish(window(source, message(1)))


@pytest.mark.parametrize(
    "error", [errors.CoordinatorNotAvailableError(), errors.IncompatibleBrokerVersion("InitProducerId")]
)
async def test_a_cluster_without_transactions_is_told_what_to_set(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ask_any = Cluster.ask_any

    async def refuse(cluster: Cluster, request: Any) -> Any:
        if type(request).__name__ == "FindCoordinatorRequest":
            raise error
        return await ask_any(cluster, request)

    monkeypatch.setattr(Cluster, "ask_any", refuse)
    monkeypatch.setattr("brokers.kafka.OPEN_SECONDS", 0.5)
    told = await refusal(broker_to(kafka, topic).publisher(), source)
    assert told.startswith("transactional: ")
    assert "`transactional: false` publishes without" in told
