"""The consumers of `docs/consuming.md`, run as printed: each event once and in order, whatever arrives and however."""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pika
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from brokers.messages import message_of, stub_of
from eventstore.feed import FeedEvent
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pika.adapters.blocking_connection import BlockingChannel

    from brokers import Message
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "consuming.md"
PROGRAMS: Final = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
APPLIED: Final = "SELECT body FROM event ORDER BY rowid"
LOG: Final = UUID(int=1)
OTHER_LOG: Final = UUID(int=2)


def message(position: int, conversation: str, version: int, *, replay: str | None = None, log: UUID = LOG) -> Message:
    """One event as the relay, or a replay, publishes it."""
    body = json.dumps({"event": "slot", "timestamp": 1.0, "name": "n", "value": f"{conversation} \u00e9 {version}"})
    event = FeedEvent(
        position=position,
        conversation=conversation,
        version=version,
        generation=1,
        type="slot",
        timestamp=1.0,
        schema_version=1,
        body=body,
        imported=False,
    )
    return message_of(event, log, replay=replay)


def history(conversations: int, events: int, *, replay: str | None = None, log: UUID = LOG) -> list[Message]:
    """Some conversations side by side, in the order of the log."""
    names = [f"c {number} \u00e9" for number in range(conversations)]
    return [
        message(at * conversations + number + 1, name, at + 1, replay=replay, log=log)
        for at in range(events)
        for number, name in enumerate(names)
    ]


def resent(messages: Sequence[Message]) -> list[Message]:
    """What arrives when the broker loses one message of each ten: the window goes on, and comes again from there."""
    windows = [list(messages[at : at + 10]) for at in range(0, len(messages), 10)]
    return [message for window in windows for message in (*window[:4], *window[5:], *window[4:])]


def bodies(messages: Sequence[Message]) -> list[str]:
    """The bodies of messages as text."""
    return [message.body.decode() for message in messages]


def by_conversation(bodies: Sequence[str]) -> dict[str, list[str]]:
    """The bodies of each conversation in their order."""
    found: dict[str, list[str]] = {}
    for body in bodies:
        found.setdefault(json.loads(body)["sender_id"], []).append(body)
    return found


# --- the rule ---------------------------------------------------------------------------------------------------------


def events_of_the_page(refill: str | None = None) -> Any:
    """What `rule.py` keeps, in memory."""
    module: dict[str, Any] = {}
    exec(PROGRAMS["rule.py"], module)  # noqa: S102 - the page is ours
    return module["Events"](":memory:", refill)


def applied(events: Any) -> list[str]:
    """The bodies of all that was applied, in the order in which it was."""
    return [body for (body,) in events.db.execute(APPLIED)]


def take(events: Any, *messages: Message) -> list[str]:
    """Hand messages over, and give the bodies of all that was applied so far."""
    events.take((message.headers, message.body.decode()) for message in messages)
    return applied(events)


@given(st.permutations(history(2, 3) * 2), st.integers(1, 12))
def test_each_event_is_applied_once_and_in_order_however_they_arrive(arriving: list[Message], together: int) -> None:
    events = events_of_the_page()
    for at in range(0, len(arriving), together):
        take(events, *arriving[at : at + together])
    assert by_conversation(applied(events)) == by_conversation(bodies(history(2, 3)))
    assert events.db.execute("SELECT * FROM held").fetchall() == []


def test_what_lies_behind_a_gap_is_held() -> None:
    first, second, third = messages = history(1, 3)
    events = events_of_the_page()
    assert take(events, first, third) == bodies([first])
    assert take(events, second) == bodies(messages)


def test_a_replay_is_ignored() -> None:
    assert take(events_of_the_page(), *history(1, 2, replay="r")) == []


def test_the_replay_that_is_made_for_a_consumer_fills_it() -> None:
    live, replayed = history(2, 4), history(2, 4, replay="mine")
    events = events_of_the_page("mine")
    take(events, *live[5:], *history(2, 4, replay="of somebody else"))
    assert applied(events) == []
    assert by_conversation(take(events, *replayed)) == by_conversation(bodies(live))


@pytest.mark.parametrize("is_held", [False, True], ids=["was applied", "is held"])
def test_a_stub_is_replaced_by_the_whole_event(is_held: bool) -> None:
    first, second = history(1, 2)
    stub, whole = stub_of(second, 1.0), history(1, 2, replay="parked")[1]
    arriving = (stub, whole, first) if is_held else (first, stub, whole)
    assert take(events_of_the_page(), *arriving) == bodies([first, second])


def test_two_logs_are_kept_apart() -> None:
    messages = [*history(1, 2), *history(1, 2, log=OTHER_LOG)]
    assert take(events_of_the_page(), *messages) == bodies(messages)


def test_what_rasa_has_left_in_the_queue_is_passed_over() -> None:
    events = events_of_the_page()
    events.take([({}, "{}")])
    assert take(events, *history(1, 1)) == bodies(history(1, 1))


@pytest.mark.parametrize("query", re.findall(r"(?ms)^```sql\n(.*?)^```$", PAGE.read_text()))
def test_the_queries_of_the_page_ask_for_what_there_is(query: str) -> None:
    events_of_the_page().db.execute(query)


# --- the programs -----------------------------------------------------------------------------------------------------


class Consumer:
    """A program of the page in a folder of its own, with what its reader would set."""

    def __init__(self, folder: Path, name: str, **environment: str) -> None:
        for program, text in PROGRAMS.items():
            (folder / program).write_text(text)
        self._folder, self._name = folder, name
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again if it was killed."""
        with (self._folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", self._name],
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait_for(self, count: int) -> list[str]:
        """Return what it has applied once these are so many; AssertionError with what it printed if it ends before."""
        wait_until(lambda: self._has_ended or len(self._asked("SELECT 1 FROM event")) >= count, f"{count} events")
        assert not self._has_ended, (self._folder / "output.log").read_text()
        return [body for (body,) in self._asked(APPLIED)]

    @property
    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _asked(self, query: str) -> list[Any]:
        """What the program's file answers; nothing while it is being made."""
        if not (self._folder / "events.db-wal").exists():
            return []
        with closing(sqlite3.connect(self._folder / "events.db")) as db:
            is_made = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'held'").fetchone()
            return db.execute(query).fetchall() if is_made else []


@contextmanager
def consumer(folder: Path, name: str, **environment: str) -> Iterator[Consumer]:
    """A program of the page, started."""
    consumer = Consumer(folder, name, **environment)
    consumer.start()
    try:
        yield consumer
    finally:
        consumer.kill()


@pytest.fixture
def rabbitmq_queue(rabbitmq: RabbitMQ) -> Iterator[tuple[BlockingChannel, str]]:
    """A channel, and the name of a queue and of the exchange that it is bound to, declared as the relay does."""
    name = f"consumer-{secrets.token_hex(6)}"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "fanout")
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name, "")
        yield channel, name
        channel.queue_delete(name)
        channel.exchange_delete(name)


def send(channel: BlockingChannel, exchange: str, messages: Sequence[Message]) -> None:
    """Publish as the relay does."""
    for message in messages:
        properties = pika.BasicProperties(delivery_mode=2, message_id=message.id, headers=message.headers)
        channel.basic_publish(exchange, "", message.body, properties, mandatory=True)


def test_the_consumer_of_rabbitmq(
    rabbitmq: RabbitMQ, rabbitmq_queue: tuple[BlockingChannel, str], tmp_path: Path
) -> None:
    """Messages are lost and sent again, repeated and replayed, and the program is killed amid them."""
    channel, queue = rabbitmq_queue
    messages = history(7, 300)
    send(channel, queue, resent(messages[:1500]))
    with consumer(tmp_path, "consume_rabbitmq.py", AMQP_URL=rabbitmq.url, QUEUE=queue) as program:
        program.wait_for(20)
        program.kill()
        send(channel, queue, [*history(7, 300, replay="r"), *resent(messages[1400:])])
        program.start()
        found = program.wait_for(len(messages))
    assert by_conversation(found) == by_conversation(bodies(messages))


def test_the_consumer_of_rabbitmq_acknowledges_what_it_has_applied(
    rabbitmq: RabbitMQ, rabbitmq_queue: tuple[BlockingChannel, str], tmp_path: Path
) -> None:
    channel, queue = rabbitmq_queue
    send(channel, queue, history(1, 20))
    with consumer(tmp_path, "consume_rabbitmq.py", AMQP_URL=rabbitmq.url, QUEUE=queue) as program:
        program.wait_for(20)
    wait_until(lambda: look(channel, queue).consumer_count == 0, "the broker knows that the program is gone")
    assert look(channel, queue).message_count <= 1  # the last event may have come before its acknowledgement


def look(channel: BlockingChannel, queue: str) -> Any:
    """How many messages and consumers a queue has."""
    return channel.queue_declare(queue, passive=True).method


@pytest.fixture
async def topic(kafka: Kafka) -> AsyncIterator[str]:
    """A topic of three partitions."""
    name = f"consumer-{secrets.token_hex(6)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1)])
    yield name
    await admin.delete_topics([name])
    await admin.close()


async def produce(kafka: Kafka, topic: str, *windows: Sequence[Message]) -> None:
    """Publish as the relay does: each window in a transaction of its own. What another log has is taken back."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        for window in windows:
            await producer.begin_transaction()
            for message in window:
                headers = [(name, text(value)) for name, value in message.headers.items()]
                await producer.send(topic, message.body, key=message.conversation.encode(), headers=headers)
            is_ours = window[0].headers["turnlog-log"] == str(LOG)
            await (producer.commit_transaction() if is_ours else producer.abort_transaction())


async def test_the_consumer_of_kafka(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    """Transactions are aborted, events are replayed, and the program is killed amid them."""
    messages, aborted = history(7, 300), history(7, 2, log=OTHER_LOG)
    await produce(kafka, topic, aborted, messages[:1500])
    with consumer(tmp_path, "consume_kafka.py", KAFKA_BOOTSTRAP=kafka.bootstrap, TOPIC=topic) as program:
        program.wait_for(20)
        program.kill()
        await produce(kafka, topic, history(7, 300, replay="r"), aborted, messages[1500:])
        program.start()
        found = program.wait_for(len(messages))
    assert by_conversation(found) == by_conversation(bodies(messages))


def text(value: str | int | bool) -> bytes:
    """A header as Kafka has it."""
    return (value if isinstance(value, str) else str(value).lower()).encode()
