"""The Kafka broker: each event once, whole windows or nothing, in the order of each conversation."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from brokers import BrokerUnavailable, Mark, PublishFailed, RelayStopped, Source, kafka_checkpoint, kafka_producer
from brokers.kafka_producer import Producer
from tests.brokers.kafka_client import (
    administering,
    broker_to,
    make,
    mark_of,
    message,
    new_source,
    position_of,
    positions,
    publishing,
    records,
    window,
)
from tests.brokers.scripted import published, relaying
from tests.projections.keeping import append

if TYPE_CHECKING:
    from brokers import Publisher
    from eventstore import EventStore
    from tests.kafka import Kafka


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    """A topic of the test's own, with three partitions."""
    name = f"events-{uuid4()}"
    await make(kafka, name, 3)
    return name


@pytest.fixture
def source() -> Source:
    """A log of the test's own."""
    return new_source()


class Interrupted(BaseException):
    """The process ends here."""


async def _interrupt(*_arguments: object) -> None:
    raise Interrupted


async def publish_and_end_before_commit(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, *messages: Any, source: Source
) -> None:
    """Everything is sent, and then nothing more."""
    with monkeypatch.context() as patched:
        patched.setattr(Producer, "commit", _interrupt)
        with pytest.raises(Interrupted):
            await publisher.publish(window(source, *messages))
    await publisher.close()


# ---------------------------------------------------------------------------------------------------------- records


async def test_a_record_has_the_body_the_headers_and_the_conversation_as_its_key(
    kafka: Kafka, topic: str, source: Source
) -> None:
    async with publishing(kafka, topic, source) as publisher:
        await publisher.publish(
            window(source, message(7, "ünter", b'{"x":1}', turnlog_imported=True, other=False, one=1))
        )
    (record,) = await records(kafka, topic)
    assert (record.key, record.value) == ("ünter".encode(), b'{"x":1}')
    assert record.headers == (
        ("turnlog-log", b"log"),
        ("turnlog-position", b"7"),
        ("turnlog-version", b"7"),
        ("turnlog-generation", b"1"),
        ("turnlog-type", b"user"),
        ("turnlog-imported", b"true"),
        ("other", b"false"),
        ("one", b"1"),
        ("RASA_ENVIRONMENT", b"tests"),
    )


async def test_the_partition_is_the_one_that_other_clients_choose_for_the_key(
    kafka: Kafka, topic: str, source: Source
) -> None:
    async with publishing(kafka, topic, source) as publisher:
        await publisher.publish(window(source, *(message(i, f"conversation {i}") for i in range(1, 50))))
    choose = DefaultPartitioner()
    found = await records(kafka, topic)
    assert {record.partition for record in found} == {0, 1, 2}
    assert all(record.partition == choose(record.key, [0, 1, 2], [0, 1, 2]) for record in found)


@pytest.mark.parametrize("is_keyed", [True, False])
async def test_each_conversation_keeps_its_order_with_keys_and_without(
    kafka: Kafka, topic: str, source: Source, is_keyed: bool
) -> None:
    events = [message(i, f"c{i % 20}", of=f"c{i % 20}") for i in range(1, 2_001)]
    async with publishing(kafka, topic, source, batch_bytes=2_000, partition_by_sender=is_keyed) as publisher:
        await publisher.publish(window(source, *events[:1_500]))
        await publisher.publish(window(source, *events[1_500:]))
    places = defaultdict(set)
    seen = defaultdict(list)
    for record in await records(kafka, topic):
        conversation = dict(record.headers)["of"]
        assert record.key == (conversation if is_keyed else None)
        places[conversation].add(record.partition)
        seen[conversation].append(position_of(record))
    assert {len(found) for found in places.values()} == {1}
    assert seen == {f"c{i}".encode(): list(range(i or 20, 2_001, 20)) for i in range(20)}


async def test_records_can_be_compressed(kafka: Kafka, topic: str, source: Source) -> None:
    async with publishing(kafka, topic, source, compression="gzip") as publisher:
        await publisher.publish(window(source, *(message(i, body=b"x" * 1_000) for i in range(1, 100))))
    assert [record.value for record in await records(kafka, topic)] == [b"x" * 1_000] * 99


# ------------------------------------------------------------------------------------------------- the mark, and once


async def test_the_mark_moves_with_each_window(kafka: Kafka, topic: str, source: Source) -> None:
    assert await mark_of(kafka, topic, source) is None
    async with publishing(kafka, topic, source) as publisher:
        assert publisher.keeps_mark
        await publisher.publish(window(source, message(1), message(2)))
        await publisher.publish(window(source, position=5))
    assert await mark_of(kafka, topic, source) == Mark(source.log, 5, b"chain", 7)
    assert await positions(kafka, topic) == [1, 2]


async def test_each_log_and_each_broker_has_a_mark_of_its_own(kafka: Kafka, topic: str, source: Source) -> None:
    other_log, other_name = new_source(), Source(source.log, "other")
    for position, each in enumerate([source, other_log, other_name], start=1):
        async with publishing(kafka, topic, each) as publisher:
            await publisher.publish(window(each, message(position)))
    found = [await mark_of(kafka, topic, each) for each in (source, other_log, other_name)]
    assert [mark and mark.position for mark in found] == [1, 2, 3]


async def test_a_window_that_was_not_committed_is_never_seen_and_comes_again(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing(kafka, topic, source) as publisher:
        await publisher.publish(window(source, message(1)))
    publisher = broker_to(kafka, topic).publisher()
    await publisher.open(source)
    await publish_and_end_before_commit(monkeypatch, publisher, message(2), message(3), source=source)
    assert await positions(kafka, topic) == [1]
    async with publishing(kafka, topic, source) as publisher:
        await publisher.publish(window(source, message(2), message(3)))
    assert await positions(kafka, topic) == [1, 2, 3]
    assert await positions(kafka, topic, "read_uncommitted") == [1, 2, 3, 2, 3]


async def test_who_published_before_is_shut_out(kafka: Kafka, topic: str, source: Source) -> None:
    async with publishing(kafka, topic, source) as first, publishing(kafka, topic, source) as second:
        with pytest.raises(PublishFailed, match="another relay of this broker has begun one") as caught:
            await first.publish(window(source, message(1)))
        assert caught.value.confirmed == 0
        await second.publish(window(source, message(2)))
    assert await positions(kafka, topic) == [2]


async def test_a_replay_publishes_beside_the_relay_and_leaves_its_mark_alone(
    kafka: Kafka, topic: str, source: Source
) -> None:
    again = Source(source.log, source.broker, "again")
    async with publishing(kafka, topic, source) as live, publishing(kafka, topic, again) as replay:
        await live.publish(window(source, message(1)))
        await replay.publish(window(again, message(1)))
        await live.publish(window(source, message(2)))
    assert await positions(kafka, topic) == [1, 1, 2]
    assert await mark_of(kafka, topic, again) is None
    assert await mark_of(kafka, topic, source) == Mark(source.log, 2, b"chain", 7)


async def test_a_mark_can_be_set_by_hand(kafka: Kafka, topic: str, source: Source) -> None:
    async with publishing(kafka, topic, source) as live:
        await live.publish(window(source, message(1)))
        operator = broker_to(kafka, topic).publisher()
        await operator.set_mark(source, Mark(source.log, 40, b"other", 8))
        await operator.close()
        with pytest.raises(PublishFailed):
            await live.publish(window(source, message(2)))
    assert await mark_of(kafka, topic, source) == Mark(source.log, 40, b"other", 8)


async def test_a_mark_is_found_behind_those_of_others(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_checkpoint, "TAIL", 3)
    other = new_source()
    async with publishing(kafka, topic, source) as publisher, publishing(kafka, topic, other) as busy:
        await publisher.publish(window(source, message(1)))
        for position in range(1, 5):
            await busy.publish(window(other, position=position))
    assert await mark_of(kafka, topic, source) == Mark(source.log, 1, b"chain", 7)


async def test_a_mark_behind_an_open_transaction_of_others_is_waited_for(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed records end before the first open transaction: what lies behind it must not be overlooked."""
    other = broker_to(kafka, topic).publisher()
    with monkeypatch.context() as patched:
        patched.setattr(kafka_producer, "TRANSACTION_SECONDS", 1.0)
        await other.open(other_source := new_source())
    async with publishing(kafka, topic, source) as publisher:
        await publisher.publish(window(source, message(1)))
        await publish_and_end_before_commit(monkeypatch, other, message(1), source=other_source)
        await publisher.publish(window(source, message(2)))
    assert await mark_of(kafka, topic, source) == Mark(source.log, 2, b"chain", 7)
    await other.close()


async def test_an_open_transaction_of_others_is_not_waited_for_without_end(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = broker_to(kafka, topic).publisher()
    await other.open(other_source := new_source())
    await publish_and_end_before_commit(monkeypatch, other, message(1), source=other_source)
    monkeypatch.setattr(kafka_checkpoint, "SECONDS", 0.5)
    with pytest.raises(BrokerUnavailable, match="a transaction that another relay has begun there is not ended yet"):
        await mark_of(kafka, topic, source)
    await other.close()


async def test_a_mark_that_is_not_ours_stops_the_relay(kafka: Kafka, topic: str, source: Source) -> None:
    await mark_of(kafka, topic, source)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        key = f"{source.log}/kafka".encode()
        await producer.send_and_wait(f"{topic}.turnlog-checkpoint", b"oh", key=key)
    with pytest.raises(RelayStopped, match="`turnlog relay --broker kafka --set-position N` goes on"):
        await mark_of(kafka, topic, source)


# ------------------------------------------------------------------------------------------------------------ topics


async def test_a_missing_topic_is_a_named_fault(kafka: Kafka, source: Source) -> None:
    missing = f"missing-{uuid4()}"
    with pytest.raises(BrokerUnavailable, match=f"topic: {missing} does not exist; .* how many `partitions`"):
        await mark_of(kafka, missing, source)


async def test_a_missing_topic_is_made_where_that_is_allowed(kafka: Kafka, source: Source) -> None:
    missing = f"missing-{uuid4()}"
    async with publishing(kafka, missing, source, partitions=4) as publisher:
        await publisher.publish(window(source, message(1)))
    assert await positions(kafka, missing) == [1]
    async with administering(kafka) as admin:
        (topic,) = await admin.describe_topics([missing])
    assert len(topic["partitions"]) == 4


async def test_a_topic_that_can_not_be_made_is_a_named_fault(kafka: Kafka, source: Source) -> None:
    publisher = broker_to(kafka, f"missing-{uuid4()}", partitions=1, replication_factor=3).publisher()
    with pytest.raises(BrokerUnavailable, match=r"replication_factor: missing-.* can't be made: .*factor"):
        await publisher.open(source)
    await publisher.close()


async def test_the_topic_of_the_marks_is_made_compacted(kafka: Kafka, topic: str, source: Source) -> None:
    await mark_of(kafka, topic, source)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        assert await producer.partitions_for(f"{topic}.turnlog-checkpoint") == {0}
        with pytest.raises(KafkaError):  # a compacted topic takes nothing without a key
            await producer.send_and_wait(f"{topic}.turnlog-checkpoint", b"x")


@pytest.mark.parametrize(
    ("partitions", "policy", "sentence"),
    [
        (2, "compact", "has 2 partitions and cleanup.policy=compact"),
        (1, "delete", "has 1 partitions and cleanup.policy=delete"),
    ],
)
async def test_a_topic_that_can_not_keep_marks_is_a_named_fault(
    kafka: Kafka, topic: str, source: Source, partitions: int, policy: str, sentence: str
) -> None:
    await make(kafka, f"{topic}.turnlog-checkpoint", partitions, cleanup_policy=policy)
    with pytest.raises(BrokerUnavailable, match=f"topic: {topic}.turnlog-checkpoint {sentence}, and must have one"):
        await mark_of(kafka, topic, source)


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.fixture
async def narrow(kafka: Kafka) -> str:
    """A topic that takes 20,000 bytes at once."""
    name = f"narrow-{uuid4()}"
    await make(kafka, name, max_message_bytes=20_000)
    return name


def largest(position: int, size: int) -> Any:
    """A message whose id, too, is as long as can be, with all headers that there are."""
    headers: dict[str, Any] = {
        f"turnlog_{name}": str(uuid4()) for name in ("log", "version", "generation", "type", "replay")
    }
    return message(
        position, "c" * 1_024, b"x" * size, **headers, turnlog_imported=True, rasa_export_process_id=uuid4().hex
    )


async def test_the_largest_message_is_what_the_topic_takes(kafka: Kafka, narrow: str, source: Source) -> None:
    async with publishing(kafka, narrow, source) as publisher:
        assert 15_000 < publisher.max_message_bytes < 20_000
        await publisher.publish(window(source, *(largest(i, publisher.max_message_bytes) for i in (1, 2, 3))))
    assert await positions(kafka, narrow) == [1, 2, 3]


async def test_a_message_that_is_larger_is_refused(kafka: Kafka, narrow: str, source: Source) -> None:
    async with publishing(kafka, narrow, source) as publisher:
        with pytest.raises(PublishFailed, match=r"max_message_bytes: topic narrow-.* refuses records as too large"):
            await publisher.publish(window(source, message(1), largest(2, 20_000)))
    assert await positions(kafka, narrow) == []


@pytest.mark.parametrize(("wanted", "got"), [(5_000, 5_000), (100_000, 15_904)])
async def test_a_limit_of_our_own_counts_if_it_is_lower(
    kafka: Kafka, narrow: str, source: Source, wanted: int, got: int
) -> None:
    async with publishing(kafka, narrow, source, max_message_bytes=wanted) as publisher:
        assert publisher.max_message_bytes == got


# ---------------------------------------------------------------------------------------------- without transactions


async def test_without_transactions_there_is_no_mark(kafka: Kafka, topic: str, source: Source) -> None:
    async with publishing(kafka, topic, source, transactional=False) as publisher:
        assert not publisher.keeps_mark
        await publisher.publish(window(source, message(1), message(2)))
        await publisher.publish(window(source, position=3))
        with pytest.raises(NotImplementedError):
            await publisher.set_mark(source, Mark(source.log, 1, b""))
    assert await positions(kafka, topic) == [1, 2]
    assert await mark_of(kafka, topic, source) is None


async def test_without_transactions_the_first_messages_are_confirmed(kafka: Kafka, narrow: str, source: Source) -> None:
    events = [message(i, body=b"x" * 100) for i in range(1, 101)]
    events[60] = message(61, body=b"x" * 30_000)
    async with publishing(kafka, narrow, source, transactional=False, batch_bytes=1_000) as publisher:
        with pytest.raises(PublishFailed, match="too large") as caught:
            await publisher.publish(window(source, *events))
    assert caught.value.confirmed == 60
    assert await positions(kafka, narrow) == list(range(1, 61))


async def test_without_transactions_what_one_partition_has_more_is_not_confirmed(kafka: Kafka, source: Source) -> None:
    """What counts is up to where the window has arrived without a gap."""
    topic = f"narrow-{uuid4()}"
    await make(kafka, topic, 2, max_message_bytes=20_000)
    choose = DefaultPartitioner()
    names = {choose(f"c{i}".encode(), [0, 1], [0, 1]): f"c{i}" for i in range(20)}
    events = [message(i, names[i % 2]) for i in range(1, 9)]
    events[4] = message(5, names[1], b"x" * 30_000)
    async with publishing(kafka, topic, source, transactional=False) as publisher:
        with pytest.raises(PublishFailed) as caught:
            await publisher.publish(window(source, *events))
    found = await positions(kafka, topic)
    assert caught.value.confirmed <= 4
    assert set(range(1, caught.value.confirmed + 1)) <= set(found)


# --------------------------------------------------------------------------------------------------- with everything


async def publish_all(kafka: Kafka, topic: str, source: Source, windows: list[Any], done: asyncio.Semaphore) -> None:
    """Publish all windows, as a relay does: whatever goes wrong, go on where the mark says."""
    while True:
        publisher = broker_to(kafka, topic).publisher()
        try:
            mark = await publisher.open(source)
            for each in windows:
                if mark is None or each.mark.position > mark.position:
                    await publisher.publish(each)
                    done.release()
        except BrokerUnavailable:
            await asyncio.sleep(0.1)
        else:
            return
        finally:
            await publisher.close()


@pytest.mark.parametrize("seconds", [1.0, 10.0])
async def test_each_event_is_there_once_when_the_broker_is_killed_amid_windows(
    kafka: Kafka, topic: str, source: Source, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Both if the publisher gives the window up and if it holds out until the broker is back."""
    monkeypatch.setattr("brokers.kafka.TRANSACTION_SECONDS", seconds)
    events = [message(i, f"c{i % 30}", b"x" * 300) for i in range(1, 40_001)]
    windows = [window(source, *events[i : i + 1_000]) for i in range(0, len(events), 1_000)]
    done = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish_all(kafka, topic, source, windows, done))
        for _ in range(5):
            await done.acquire()
        await asyncio.to_thread(kafka.kill)
        await asyncio.to_thread(kafka.start_again)
    assert sorted(await positions(kafka, topic)) == list(range(1, 40_001))


async def test_the_relay_publishes_each_event_once_whatever_its_checkpoint_says(
    kafka: Kafka, topic: str, store: EventStore
) -> None:
    await append(store, "c", "slot", "bot")
    async with relaying(store, broker_to(kafka, topic)):
        await published(store, "kafka")
    await store.read.fetch("UPDATE @schema@.checkpoint SET position = 0, chain = '' WHERE name = 'relay kafka'")
    await append(store, "c", "user")
    async with relaying(store, broker_to(kafka, topic)):
        await published(store, "kafka")
    found = [json.loads(record.value) for record in await records(kafka, topic)]
    assert found == [{"sender_id": "c", "event": each} for each in ("slot", "bot", "user")]
