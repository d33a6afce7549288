"""The mark at a Kafka cluster: the last record of its key in the checkpoint topic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from msgspec import Struct

from brokers.errors import BrokerUnavailable, RelayStopped
from brokers.kafka_faults import failed
from brokers.publisher import Mark

if TYPE_CHECKING:
    from brokers.kafka_cluster import Cluster
    from brokers.kafka_producer import Record
    from brokers.publisher import Source

PARTITION: Final = 0
SECONDS: Final = 10.0
TAIL: Final = 10_000  #: offsets that are looked at first; the mark is nearly always among them

_WAIT_MS: Final = 200  # that a server holds back its answer while there is nothing to read
_FETCH_BYTES: Final = 4_000_000


class _Value(Struct, frozen=True):
    """The value of a record."""

    position: int
    chain: str
    epoch: int


def record_of(source: Source, mark: Mark) -> Record:
    """The record that holds a mark."""
    return _key(source), msgspec.json.encode(_Value(mark.position, mark.chain.hex(), mark.epoch)), []


async def read(cluster: Cluster, topic: str, source: Source) -> Mark | None:
    """The mark of a source, None when there is none.

    Everything that was written before the call counts, also what lies behind a transaction of others that is not
    ended yet: that one's end is waited for.

    Raises:
        RelayStopped: what is there was not written by this service.
        BrokerUnavailable, KafkaError: it can't be read.
    """
    try:
        async with asyncio.timeout(SECONDS):
            value = await _value(cluster, topic, _key(source))
    except TimeoutError as error:
        raise BrokerUnavailable(
            f"topic {topic} can't be read to its end within {SECONDS:.0f} seconds; perhaps a transaction that another "
            "relay has begun there is not ended yet"
        ) from error
    return None if value is None else _mark(source, topic, value)


async def _value(cluster: Cluster, topic: str, key: bytes) -> bytes | None:
    first, end = await _bounds(cluster, topic)
    value = None
    for start in dict.fromkeys((max(first, end - TAIL), first)):
        value = value or await _last(cluster, topic, key, start, end)
    return value


def _mark(source: Source, topic: str, text: bytes) -> Mark:
    try:
        value = msgspec.json.decode(text, type=_Value)
        return Mark(source.log, value.position, bytes.fromhex(value.chain), value.epoch)
    except ValueError as error:
        raise RelayStopped(
            f"topic {topic}: the value of key {_key(source).decode()} is not what this service wrote there ({error}): "
            f"`turnlog relay --broker {source.broker} --set-position N` goes on after position N"
        ) from error


def _key(source: Source) -> bytes:
    return f"{source.log}/{source.broker}".encode()


async def _bounds(cluster: Cluster, topic: str) -> tuple[int, int]:
    """The first offset of the topic, and the one after its last."""
    offsets = []
    for which in (OffsetResetStrategy.EARLIEST, OffsetResetStrategy.LATEST):
        request = OffsetRequest(-1, READ_UNCOMMITTED, [(topic, [(PARTITION, which)])])
        answer = await cluster.ask(cluster.leader(topic, PARTITION), request)
        _partition, code, _timestamp, offset = answer.topics[0][1][0]
        if code:
            raise failed(code, topic)
        offsets.append(offset)
    return offsets[0], offsets[1]


async def _last(cluster: Cluster, topic: str, key: bytes, start: int, end: int) -> bytes | None:
    """The value of the last committed record with a key between two offsets."""
    value = None
    while start < end:
        records = await _fetch(cluster, topic, start)
        for record in records:
            if record.key == key:
                value = record.value
        start = records.next_fetch_offset
    return value


async def _fetch(cluster: Cluster, topic: str, offset: int) -> Any:
    """The next committed records, an iterator which knows then where to go on."""
    wanted = [(topic, [(PARTITION, offset, _FETCH_BYTES)])]
    request = FetchRequest(_WAIT_MS, 1, _FETCH_BYTES, READ_COMMITTED, wanted)
    answer = await cluster.ask(cluster.leader(topic, PARTITION), request)
    _partition, code, _highwater, *others = answer.topics[0][1][0]
    if code:
        raise failed(code, topic)
    aborted = others[2 if answer.API_VERSION >= 11 else -2]
    place = TopicPartition(topic, PARTITION)
    return PartitionRecords(
        place, MemoryRecords(others[-1]), aborted, offset, None, None, check_crcs=True, isolation_level=READ_COMMITTED
    )
