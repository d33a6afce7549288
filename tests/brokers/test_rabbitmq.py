"""Events reach RabbitMQ as Rasa's do, each one confirmed, and every fault is told with what to look at."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import pika
import pytest
import structlog
import uvloop
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from brokers import BrokerUnavailable, Mark, Message, PublishFailed, Source, Window, broker_of
from brokers import rabbitmq as module
from brokers import rabbitmq_connection as connection_module
from brokers.rabbitmq import Confirmations
from tests.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pika.adapters.blocking_connection import BlockingChannel

    from brokers.rabbitmq import RabbitMQPublisher

LOG: Final = UUID(int=7)
SOURCE: Final = Source(LOG, "pika")


class Place(Struct, frozen=True):
    """An exchange and a queue of the test's own, on the node of all tests."""

    node: RabbitMQ
    exchange: str
    queue: str

    @classmethod
    @contextmanager
    def new(cls, node: RabbitMQ) -> Iterator[Place]:
        """A place where nothing is declared yet, nor in the end."""
        place = cls(node, f"exchange-{uuid4()}", f"queue-{uuid4()}")
        yield place
        with place.channel() as channel:
            channel.queue_delete(place.queue)
            channel.queue_delete(place.mark_queue)
            channel.exchange_delete(place.exchange)

    @property
    def mark_queue(self) -> str:
        """The queue that holds the mark of the relay `pika`."""
        return f"turnlog-mark-pika/{self.exchange}"

    def section(self, **keys: Any) -> dict[str, Any]:
        """The section of endpoints.yml that publishes there."""
        return {"url": self.node.url, "exchange_name": self.exchange, "queues": [self.queue]} | keys

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel of somebody else."""
        with pika.BlockingConnection(pika.URLParameters(self.node.url)) as connection:
            yield connection.channel()

    def arrived(self, queue: str | None = None) -> list[tuple[Any, bytes]]:
        """Take all messages from the queue, as (properties, body)."""
        with self.channel() as channel:
            count = channel.queue_declare(queue or self.queue, passive=True).method.message_count
            return [channel.basic_get(queue or self.queue, auto_ack=True)[1:] for _ in range(count)]

    def positions(self) -> list[int]:
        """The positions of all messages in the queue, which are taken from it."""
        return [json.loads(body)["n"] for _, body in self.arrived()]


@pytest.fixture
def place(rabbitmq: RabbitMQ) -> Iterator[Place]:
    """Nothing is declared there yet."""
    with Place.new(rabbitmq) as place:
        yield place


def publisher_of(section: dict[str, Any], environ: dict[str, str] | None = None) -> RabbitMQPublisher:
    made = broker_of(section, environ or {}).publisher()
    assert isinstance(made, module.RabbitMQPublisher)
    return made


@asynccontextmanager
async def opened(section: dict[str, Any], environ: dict[str, str] | None = None) -> AsyncIterator[RabbitMQPublisher]:
    """A publisher that is connected; in the end it is closed."""
    publisher = publisher_of(section, environ)
    try:
        await publisher.open(SOURCE)
        yield publisher
    finally:
        await publisher.close()


async def fault(section: dict[str, Any], environ: dict[str, str] | None = None) -> BrokerUnavailable:
    """What a publisher says that can't be opened."""
    with pytest.raises(BrokerUnavailable) as caught:
        async with opened(section, environ):
            pass
    return caught.value


def messages(count: int, first: int = 1, *, type_: str = "user", more: str = "") -> list[Message]:
    """Messages of consecutive positions; `more` makes their bodies longer."""
    return [
        Message(
            log=str(LOG),
            position=position,
            conversation=f"c{position % 3}",
            version=position,
            generation=1,
            type=type_,
            body=json.dumps({"n": position, "more": more}).encode(),
        )
        for position in range(first, first + count)
    ]


def window(messages: Sequence[Message]) -> Window:
    return Window(tuple(messages), Mark(LOG, messages[-1].position if messages else 0, b""))


async def failure(publisher: RabbitMQPublisher, messages: Sequence[Message]) -> PublishFailed:
    """How publishing a window fails."""
    with pytest.raises(PublishFailed) as caught:
        await publisher.publish(window(messages))
    return caught.value


# ---- what is declared ----


async def test_a_client_that_declares_as_rasa_does_finds_what_it_expects(place: Place) -> None:
    async with opened(place.section()):
        with place.channel() as channel:
            channel.exchange_declare(place.exchange, "fanout", durable=False, auto_delete=False)
            channel.queue_declare(place.queue, durable=True)
            channel.queue_bind(place.queue, place.exchange, "")


async def test_every_queue_is_bound(place: Place) -> None:
    other = f"{place.queue}-2"
    async with opened(place.section(queues=[place.queue, other])) as publisher:
        await publisher.publish(window(messages(3)))
    assert len(place.arrived()) == len(place.arrived(other)) == 3
    with place.channel() as channel:
        channel.queue_delete(other)


async def test_what_was_declared_in_another_way_is_used_and_told(place: Place) -> None:
    with place.channel() as channel:
        channel.exchange_declare(place.exchange, "fanout", durable=True)
        channel.queue_declare(place.queue, durable=True, arguments={"x-max-length": 1000})
    with structlog.testing.capture_logs() as logged:
        async with opened(place.section()) as publisher:
            await publisher.publish(window(messages(3)))
    assert place.positions() == [1, 2, 3]
    told = [(line["event"], line["name"]) for line in logged if line["log_level"] == "warning"]
    assert told == [
        ("the exchange was declared in another way, and is used as it is", place.exchange),
        ("the queue was declared in another way, and is used as it is", place.queue),
    ]
    assert "exchange_durable" in logged[0]["advice"]
    assert "inequivalent arg 'durable'" in logged[0]["reason"]


@pytest.mark.parametrize("exchange_type", ["fanout", "topic", "direct"])
async def test_other_exchanges_and_queues_are_declared_when_asked_for(place: Place, exchange_type: str) -> None:
    section = place.section(exchange_type=exchange_type, exchange_durable=True, queue_type="quorum")
    async with opened(section) as publisher:
        await publisher.publish(window(messages(2)))
        with place.channel() as channel:
            channel.exchange_declare(place.exchange, exchange_type, durable=True)
            channel.queue_declare(place.queue, durable=True, arguments={"x-queue-type": "quorum"})


async def test_the_default_queue_is_told(place: Place) -> None:
    with structlog.testing.capture_logs() as logged:
        async with opened(place.section(queues=None)):
            pass
    assert [line["queues"] for line in logged] == [("rasa_core_events",)]


# ---- what is published ----


async def test_a_window_arrives_whole_and_in_order(place: Place) -> None:
    async with opened(place.section(window=100)) as publisher:
        await publisher.publish(window(messages(3000)))
        await publisher.publish(window(messages(500, 3001)))
        await publisher.publish(window([]))
    assert place.positions() == list(range(1, 3501))


async def test_it_works_on_uvloop_too(place: Place) -> None:
    async def run() -> None:
        async with opened(place.section()) as publisher:
            await publisher.publish(window(messages(1000)))

    await asyncio.to_thread(uvloop.run, run())
    assert place.positions() == list(range(1, 1001))


async def test_a_message_looks_as_rasas_do_with_headers_of_ours(place: Place) -> None:
    body = b'{"sender_id":"c"}'
    message = Message(str(LOG), 1 << 40, "c", 7, 2, "üser", body, (("turnlog-imported", True),))
    async with opened(place.section(), {"RASA_ENVIRONMENT": "production"}) as publisher:
        await publisher.publish(window([message]))
    ((properties, body),) = place.arrived()
    assert body == b'{"sender_id":"c"}'
    assert (properties.delivery_mode, properties.app_id) == (2, "production")
    assert properties.message_id == f"{LOG}-{1 << 40}"
    assert properties.headers == {
        "turnlog-log": str(LOG),
        "turnlog-position": 1 << 40,
        "turnlog-version": 7,
        "turnlog-generation": 2,
        "turnlog-type": "üser",
        "turnlog-imported": True,
    }
    assert properties.headers["turnlog-imported"] is True
    assert properties.content_type is properties.content_encoding is properties.timestamp is None


async def test_an_environment_that_is_not_set_leaves_the_app_id_out(place: Place) -> None:
    async with opened(place.section()) as publisher:
        await publisher.publish(window(messages(1)))
    assert place.arrived()[0][0].app_id is None


async def test_a_body_of_many_frames_arrives_whole(place: Place) -> None:
    large = messages(2, more="x" * 1_000_000)
    async with opened(place.section()) as publisher:
        await publisher.publish(window([*messages(10, 10), *large, *messages(10, 30)]))
    bodies = [body for _, body in place.arrived()]
    assert bodies[10:12] == [message.body for message in large]
    assert len(bodies) == 22


async def test_a_topic_exchange_gets_a_routing_key_made_of_the_message(place: Place) -> None:
    section = place.section(exchange_type="topic", routing_key="events.{type}.{conversation}")
    users = f"{place.queue}-users"
    async with opened(section) as publisher:
        with place.channel() as channel:
            channel.queue_declare(users, exclusive=True)
            channel.queue_bind(users, place.exchange, "events.user.*")
            await publisher.publish(window([*messages(2), *messages(2, 3, type_="slot")]))
            keys = [channel.basic_get(users)[0].routing_key for _ in range(2)]
            assert channel.basic_get(users)[0] is None
    assert keys == ["events.user.c1", "events.user.c2"]
    assert place.positions() == [1, 2, 3, 4]


async def test_a_routing_key_is_cut_at_the_length_that_amqp_has_for_it(place: Place) -> None:
    message = Message(str(LOG), 1, "é" * 200, 1, 1, "user", b"{}")
    async with opened(place.section(exchange_type="topic", routing_key="k{conversation}")) as publisher:
        await publisher.publish(window([message]))
    with place.channel() as channel:
        method, _, _ = channel.basic_get(place.queue, auto_ack=True)
    assert method.routing_key == "k" + "é" * 127


async def test_no_more_messages_than_the_window_wait_for_their_confirmation(place: Place) -> None:
    async with opened(place.section(window=10)) as publisher:
        sender = publisher._sender
        assert sender is not None
        with place.node.frozen():
            publishing = asyncio.ensure_future(publisher.publish(window(messages(50))))
            for _ in range(100):
                await asyncio.sleep(0)
            assert sender._sent == 10
        await publishing
    assert place.positions() == list(range(1, 51))


@given(st.integers(1, 30), st.data())
def test_confirmations_are_counted_in_whatever_order_they_come(count: int, data: st.DataObject) -> None:
    confirmations, confirmed = Confirmations(), set[int]()
    while len(confirmed) < count:
        number = data.draw(st.sampled_from([n for n in range(1, count + 1) if n not in confirmed]))
        is_multiple = data.draw(st.booleans())
        confirmations.take(number, is_multiple)
        confirmed.update(range(1, number + 1) if is_multiple else [number])
        assert confirmations.reached == next(n for n in range(count + 1) if n + 1 not in confirmed)


# ---- what the broker does not take ----


async def test_a_message_that_no_queue_gets_is_not_confirmed(place: Place) -> None:
    async with opened(place.section()) as publisher:
        await publisher.publish(window(messages(2)))
        with place.channel() as channel:
            channel.queue_delete(place.queue)
        error = await failure(publisher, messages(5, 3))
    assert (error.confirmed, error.setting) == (0, "queues")
    assert f"no queue of exchange {place.exchange!r} (exchange_name) gets a message" in error.reason
    assert place.queue in error.reason


async def test_a_new_publisher_declares_again_what_was_deleted(place: Place) -> None:
    async with opened(place.section()):
        with place.channel() as channel:
            channel.queue_delete(place.queue)
            channel.exchange_delete(place.exchange)
    async with opened(place.section()) as publisher:
        await publisher.publish(window(messages(2)))
    assert place.positions() == [1, 2]


async def test_what_comes_before_a_message_that_is_returned_counts(place: Place) -> None:
    with place.channel() as channel:  # of another type, so that the relay's own binding gets nothing
        channel.exchange_declare(place.exchange, "direct")
        channel.queue_declare(place.queue, durable=True)
        channel.queue_bind(place.queue, place.exchange, "user")
    async with opened(place.section(routing_key="{type}")) as publisher:
        await publisher.publish(window(messages(3)))
        sent = [*messages(500, 4), *messages(1, 504, type_="slot"), *messages(100, 505)]
        error = await failure(publisher, sent)
    arrived = place.positions()
    assert "routing key 'slot'" in error.reason
    assert 0 <= error.confirmed <= 500
    assert arrived[: 3 + error.confirmed] == list(range(1, 4 + error.confirmed))


async def test_a_message_that_a_full_queue_refuses_ends_the_window(place: Place) -> None:
    with place.channel() as channel:
        arguments = {"x-max-length": 10, "x-overflow": "reject-publish"}
        channel.queue_declare(place.queue, durable=True, arguments=arguments)
    async with opened(place.section()) as publisher:
        error = await failure(publisher, messages(2000))
    assert error.setting == "queues"
    assert f"a queue of exchange {place.exchange!r} is full" in error.reason
    assert error.confirmed <= len(place.positions()) < 2000


async def test_an_exchange_that_was_deleted_is_named(place: Place) -> None:
    async with opened(place.section()) as publisher:
        with place.channel() as channel:
            channel.exchange_delete(place.exchange)
        error = await failure(publisher, messages(3))
    assert (error.confirmed, error.setting) == (0, "exchange_name")
    assert f"NOT_FOUND - no exchange '{place.exchange}'" in error.reason


@pytest.fixture
def small_limit(rabbitmq: RabbitMQ) -> Iterator[int]:
    """Bytes of a body that the broker takes at most."""
    rabbitmq.control("eval", "application:set_env(rabbit, max_message_size, 100000).")
    yield 100_000
    rabbitmq.control("eval", "application:set_env(rabbit, max_message_size, 134217728).")


async def test_a_message_that_the_broker_finds_too_large_does_not_repeat_others(place: Place, small_limit: int) -> None:
    sent = [*messages(3), *messages(1, 4, more="x" * small_limit), *messages(3, 5)]
    async with opened(place.section()) as publisher:
        assert publisher.max_message_bytes == 16 * 1024 * 1024
        error = await failure(publisher, sent)
    assert (error.confirmed, error.setting) == (3, "max_message_bytes")
    assert "is larger than configured max size 100000" in error.reason
    assert place.positions() == [1, 2, 3]


async def test_a_user_without_the_right_to_write_is_told(place: Place) -> None:
    user = f"user-{uuid4()}"
    place.node.add_user(user, "p")
    place.node.permit(user, configure=".*", read=".*", write="queue-.*")
    section = place.section(**at(place.node.port, username=user, password="p"))
    async with opened(section) as publisher:
        error = await failure(publisher, messages(3))
    assert (error.confirmed, error.setting) == (0, "username")
    assert f"user {user!r} lacks a permission: ACCESS_REFUSED - access to exchange '{place.exchange}'" in error.reason


# ---- connections that can't be made ----


@pytest.fixture
def tls(rabbitmq: RabbitMQ) -> dict[str, str]:
    """The variables for the node's TLS."""
    return {
        "RABBITMQ_SSL_CLIENT_CERTIFICATE": str(rabbitmq.client.certificate),
        "RABBITMQ_SSL_CLIENT_KEY": str(rabbitmq.client.key),
        "RABBITMQ_SSL_CA_FILE": str(rabbitmq.authority),
    }


def at(port: int, **keys: Any) -> dict[str, Any]:
    return {"url": f"127.0.0.1:{port}", "username": "guest", "password": "guest"} | keys


async def test_a_port_where_nobody_listens_is_told(unused_port: int) -> None:
    error = await fault(at(unused_port))
    assert (error.setting, error.reason) == ("url", f"no answer from 127.0.0.1:{unused_port} (connection refused)")
    error = await fault(at(unused_port, url=f"localhost:{unused_port}"))  # a name, which may have two addresses
    assert error.reason == f"no answer from localhost:{unused_port} (connection refused)"


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def test_a_name_that_is_not_known_is_told() -> None:
    error = await fault(at(1, url="rabbit.invalid"))
    assert error.setting == "url"
    assert error.reason.startswith("the host name rabbit.invalid is not known")


async def test_a_wrong_password_is_told(rabbitmq: RabbitMQ) -> None:
    error = await fault(at(rabbitmq.port, password="wrong"))
    assert error.setting == "username"
    assert error.reason == f"127.0.0.1:{rabbitmq.port} refuses user 'guest' or the password"


async def test_a_virtual_host_that_is_not_there_is_told(rabbitmq: RabbitMQ) -> None:
    error = await fault(at(rabbitmq.port, url=f"amqp://127.0.0.1:{rabbitmq.port}/nowhere"))
    assert error.setting == "url"
    assert error.reason.endswith("NOT_ALLOWED - vhost nowhere not found")


async def test_a_virtual_host_that_the_user_may_not_enter_is_told(rabbitmq: RabbitMQ) -> None:
    name = f"vhost-{uuid4()}"
    rabbitmq.add_vhost(name)
    error = await fault(at(rabbitmq.port, url=f"amqp://127.0.0.1:{rabbitmq.port}/{name}"))
    assert error.setting == "url"
    assert f"access to vhost '{name}' refused for user 'guest'" in error.reason


async def test_a_user_who_may_not_declare_is_told(place: Place) -> None:
    user = f"user-{uuid4()}"
    place.node.add_user(user, "p")
    place.node.permit(user)
    error = await fault(place.section(**at(place.node.port, username=user, password="p")))
    assert error.setting == "username"
    assert f"user {user!r} lacks a permission: ACCESS_REFUSED - access to exchange" in error.reason


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_a_peer_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        error = await fault(at(port, url=f"{scheme}://127.0.0.1:{port}"))
    assert (error.setting, error.reason) == ("url", f"no answer from 127.0.0.1:{port} within 0.1 seconds")


async def test_a_peer_that_speaks_something_else_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        error = await fault(at(server.sockets[0].getsockname()[1]))
    assert error.setting == "url"
    assert "ended the connection before it spoke AMQP 0-9-1" in error.reason


def open_files() -> int:
    """How many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_an_open_may_be_cancelled_at_any_moment(
    place: Place, tls: dict[str, str], caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    port = place.node.port if scheme == "amqp" else place.node.tls_port
    section, environ = place.section(url=f"{scheme}://guest:guest@localhost:{port}"), tls if scheme == "amqps" else {}
    before = asyncio.all_tasks(), open_files()
    for turns in [*range(40), *range(40, 1000, 20)]:
        publisher = publisher_of(section, environ)
        opening = asyncio.ensure_future(publisher.open(SOURCE))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        await publisher.close()
    assert (asyncio.all_tasks(), open_files()) == before
    assert [record.getMessage() for record in caplog.records] == []


# ---- TLS ----


async def test_a_certificate_of_the_client_switches_tls_on(place: Place, tls: dict[str, str]) -> None:
    section = place.section(**at(place.node.tls_port, url=f"localhost:{place.node.tls_port}"))
    async with opened(section, tls) as publisher:
        await publisher.publish(window(messages(1000)))
    assert place.positions() == list(range(1, 1001))


async def test_the_url_may_name_the_authority_and_a_key_have_a_password(
    place: Place, tls: dict[str, str], tmp_path: Path
) -> None:
    key = load_pem_private_key(place.node.client.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    environ = tls | {"RABBITMQ_SSL_CLIENT_KEY": str(locked), "RABBITMQ_SSL_CA_FILE": ""}
    url = f"amqps://guest:guest@localhost:{place.node.tls_port}?cacertfile={place.node.authority}"
    async with opened(place.section(url=url), environ | {"RABBITMQ_SSL_KEY_PASSWORD": "secret"}) as publisher:
        await publisher.publish(window(messages(3)))
    error = await fault(place.section(url=url), environ)
    assert error.setting == "url"
    assert error.reason.startswith("the files for TLS can't be used")


async def test_an_authority_that_is_not_known_is_told(rabbitmq: RabbitMQ) -> None:
    error = await fault(at(1, url=f"amqps://localhost:{rabbitmq.tls_port}"))
    assert error.setting == "url"
    assert error.reason.startswith(f"the certificate of localhost:{rabbitmq.tls_port} can't be trusted")
    assert "RABBITMQ_SSL_CA_FILE" in error.reason


async def test_a_server_that_wants_a_certificate_is_told(rabbitmq: RabbitMQ) -> None:
    error = await fault(at(1, url=f"amqps://localhost:{rabbitmq.tls_port}?cacertfile={rabbitmq.authority}"))
    assert (error.setting, "certificate required" in error.reason) == ("url", True)


@pytest.mark.parametrize(
    ("scheme", "port", "reason"), [("amqps", "port", "no TLS with"), ("amqp", "tls_port", "does it want TLS")]
)
async def test_two_sides_that_do_not_agree_on_tls_are_told(
    rabbitmq: RabbitMQ, scheme: str, port: str, reason: str
) -> None:
    error = await fault(at(1, url=f"{scheme}://localhost:{getattr(rabbitmq, port)}"))
    assert (error.setting, reason in error.reason) == ("url", True)


async def test_a_file_that_is_missing_is_named(rabbitmq: RabbitMQ, tls: dict[str, str]) -> None:
    error = await fault(at(rabbitmq.tls_port), tls | {"RABBITMQ_SSL_CA_FILE": "/nowhere/ca.pem"})
    assert error.reason.startswith("the files for TLS can't be used: no such file or directory (/nowhere/ca.pem")


# ---- connections that end ----


async def test_a_connection_that_is_closed_while_idle_is_lost(place: Place) -> None:
    async with opened(place.section()) as publisher:
        lost = asyncio.ensure_future(publisher.lost())
        await publisher.publish(window(messages(1)))
        assert not lost.done()
        await asyncio.to_thread(place.node.close_connections, "maintenance")
        await lost
        error = await failure(publisher, messages(1, 2))
    assert error.reason.endswith("closed the connection: CONNECTION_FORCED - maintenance")


async def test_a_broker_that_sends_no_heartbeat_is_lost(place: Place) -> None:
    url = f"{place.node.url}?heartbeat=60"
    async with opened(place.section(url=url)) as publisher:
        assert publisher._connection is not None
        with place.node.frozen():
            for _ in range(2):  # what its timer does each minute
                publisher._connection._heartbeat_checker._check_heartbeat()
            await publisher.lost()
            error = await failure(publisher, messages(1))
    assert error.reason.endswith("was lost (no heartbeat came)")


async def test_what_was_confirmed_before_a_kill_is_there_after_it(place: Place) -> None:
    sent = messages(20_000)
    async with opened(place.section(window=200)) as publisher:
        publishing = asyncio.ensure_future(failure(publisher, sent))
        sender, connection = publisher._sender, publisher._connection
        assert sender is not None
        assert connection is not None
        await connection.until(lambda: sender._confirmations.reached >= 500)
        with place.node.down():
            error = await publishing
            assert "connection refused" in (await fault(place.section())).reason
    assert 500 <= error.confirmed < 20_000
    rest = sent[error.confirmed : error.confirmed + 100]
    async with opened(place.section()) as publisher:  # the exchange is gone: it is declared again
        await publisher.publish(window(rest))
    arrived = place.positions()
    assert arrived[: error.confirmed] == list(range(1, error.confirmed + 1))
    assert arrived[-100:] == [message.position for message in rest]


class Pauses:
    """What a publisher tells while the broker takes nothing."""

    def __init__(self, publisher: RabbitMQPublisher) -> None:
        publisher.paused = self._note
        self.told: list[str | None] = []
        self._first = asyncio.Event()
        self._publisher = publisher

    def _note(self, reason: str | None) -> None:
        self.told.append(reason)
        self._first.set()

    async def publish_until_told(self) -> int:
        """Publish windows from position 1 on, also the one that is under way then; returns the last position."""
        last = 0
        while not self._first.is_set():  # the broker tells it to those who publish, and only some time after the alarm
            await self._publisher.publish(window(messages(100, last + 1)))
            last += 100
        return last

    async def wait(self) -> None:
        """Return when something was told."""
        await self._first.wait()


async def test_a_broker_that_blocks_is_waited_for_and_told(place: Place) -> None:
    async with opened(place.section()) as publisher:
        pauses = Pauses(publisher)
        with place.node.blocked():
            publishing = asyncio.ensure_future(pauses.publish_until_told())
            await pauses.wait()
            assert pauses.told == ["RabbitMQ blocks publishing: low on memory"]
            assert not publishing.done()
        last = await publishing
    assert pauses.told[1:] == [None]
    assert place.positions() == list(range(1, last + 1))


async def test_a_publisher_closes_at_once_while_the_broker_blocks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 1000)
    async with opened(place.section()) as publisher:
        pauses = Pauses(publisher)
        with place.node.blocked():
            publishing = asyncio.ensure_future(pauses.publish_until_told())
            await pauses.wait()
            publishing.cancel()
            await publisher.close()


async def test_a_broker_that_does_not_answer_is_left_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.1)
    async with opened(place.section()) as publisher:
        with place.node.frozen():
            await publisher.close()


async def test_a_publisher_may_be_closed_at_any_time(place: Place) -> None:
    publisher = publisher_of(place.section())
    await publisher.close()
    await publisher.open(SOURCE)
    await publisher.close()
    await publisher.close()
