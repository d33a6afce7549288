"""Writes batches of records to a Kafka cluster, each once, and in transactions if that is wanted."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import ConcurrentTransactions, DuplicateSequenceNumber, KafkaError, NoError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from msgspec import Struct

from brokers.errors import BrokerUnavailable
from brokers.kafka_cluster import may_pass, persist
from brokers.kafka_faults import failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brokers.kafka_cluster import Cluster
    from brokers.kafka_options import KafkaOptions

Record = tuple[bytes | None, bytes, list[tuple[str, bytes]]]  #: key, value, headers
Partition = tuple[str, int]  #: topic, and number in it

TRANSACTION_SECONDS: Final = 10.0  #: after which the cluster ends a transaction that nobody ends

_CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_TRANSACTIONS: Final = 1  # the kind of coordinator
_ALL_REPLICAS: Final = -1
_REPLICATION_MS: Final = 8_000  # within which all replicas must have a batch; less than we wait for the answer
_LAST_SEQUENCE: Final = (1 << 31) - 1
_NOT_ATTEMPTED: Final = 55  # since another partition of the same request failed


class Batch(Struct, eq=False):
    """Records for one partition, as the cluster takes them."""

    partition: Partition
    data: bytes
    count: int
    confirmed: bool = False


class Producer:
    """One identity at the cluster, under which each batch is written once however often it is sent.

    With a transactional id, a producer that starts ends the transaction that another one with this id has begun, and
    shuts that one out. Deadlines are times of the loop. After an exception, which is BrokerUnavailable or KafkaError,
    a producer is of no use any more.
    """

    def __init__(self, cluster: Cluster, options: KafkaOptions, transactional_id: str | None) -> None:
        self._cluster = cluster
        self._name = transactional_id
        self._codec = _CODECS[options.compression]
        self._batch_bytes = options.batch_bytes
        self._id, self._epoch = -1, -1
        self._sequences: defaultdict[Partition, int] = defaultdict(int)
        self._coordinator: int | None = None

    async def start(self, deadline: float) -> None:
        """Get an identity."""
        if self._name is None:
            answer = await persist(self._ask_for_id, deadline)
        else:
            request = InitProducerIdRequest(self._name, int(TRANSACTION_SECONDS * 1000))
            answer = await self._coordinated(request, deadline)
        self._id, self._epoch = answer.producer_id, answer.producer_epoch

    def limit_batches(self, size: int) -> None:
        """Say how many bytes the topic takes at once."""
        self._batch_bytes = min(self._batch_bytes, size)

    def fill(self, partition: Partition, records: Iterable[Record]) -> Batch:
        """A batch of the first records, as many as fit. The batches of a partition are sent in the order of filling."""
        sequence = self._sequences[partition]
        builder = DefaultRecordBatchBuilder(
            2, self._codec, self._name is not None, self._id, self._epoch, sequence, self._batch_bytes
        )
        now = int(time.time() * 1000)
        count = 0
        for key, value, headers in records:
            if builder.append(count, now, key, value, headers) is None:
                break
            count += 1
        self._sequences[partition] = (sequence + count) & _LAST_SEQUENCE
        return Batch(partition, builder.build(), count)

    async def begin(self, partitions: Iterable[Partition], deadline: float) -> None:
        """Begin a transaction that will write to these partitions."""
        by_topic = defaultdict(list)
        for topic, number in partitions:
            by_topic[topic].append(number)
        request = AddPartitionsToTxnRequest(self._name, self._id, self._epoch, list(by_topic.items()))
        await self._coordinated(request, deadline)

    async def commit(self, deadline: float) -> None:
        """End the transaction. After an exception nobody knows whether it was committed, until another one starts."""
        await self._coordinated(EndTxnRequest(self._name, self._id, self._epoch, True), deadline)

    async def deliver(self, batches: Sequence[Batch], deadline: float) -> None:
        """Send batches, at most one for a partition, until each is confirmed."""
        tries = 0

        async def attempt() -> None:
            nonlocal tries
            if tries:
                await self._cluster.refresh()
            tries += 1
            await self._send([batch for batch in batches if not batch.confirmed])

        await persist(attempt, deadline)

    async def _send(self, batches: Sequence[Batch]) -> None:
        by_server = defaultdict(list)
        for batch in batches:
            by_server[self._cluster.leader(*batch.partition)].append(batch)
        sending = [self._send_to(server, group) for server, group in by_server.items()]
        failures = [error for error in await asyncio.gather(*sending, return_exceptions=True) if error is not None]
        if failures:
            raise min(failures, key=may_pass)

    async def _send_to(self, server: int, batches: Sequence[Batch]) -> None:
        by_topic = defaultdict(list)
        for batch in batches:
            topic, number = batch.partition
            by_topic[topic].append((number, batch.data))
        request = ProduceRequest(self._name, _ALL_REPLICAS, _REPLICATION_MS, list(by_topic.items()))
        answer = await self._cluster.ask(server, request)
        codes = {(topic, number): code for topic, answers in answer.topics for number, code, *_ in answers}
        failures = [error for batch in batches if (error := _outcome(batch, codes)) is not None]
        if failures:
            raise min(failures, key=may_pass)

    async def _ask_for_id(self) -> Any:
        answer = await self._cluster.ask_any(InitProducerIdRequest(None, _LAST_SEQUENCE))
        return _checked(answer)

    async def _coordinated(self, request: Any, deadline: float) -> Any:
        """Let the coordinator of our transactions do something, whichever server that is."""
        return await persist(lambda: self._ask_coordinator(request), deadline)

    async def _ask_coordinator(self, request: Any) -> Any:
        if self._coordinator is None:
            await self._cluster.refresh()
            found = await self._cluster.ask_any(FindCoordinatorRequest(self._name, _TRANSACTIONS))
            self._coordinator = _checked(found).coordinator_id
        try:
            return _checked(await self._cluster.ask(self._coordinator, request))
        except (KafkaError, BrokerUnavailable) as error:
            if not isinstance(error, ConcurrentTransactions):
                self._coordinator = None
            raise


def _outcome(batch: Batch, codes: Mapping[Partition, int]) -> KafkaError | None:
    """Note a confirmation; else give the reason."""
    error = failed(codes[batch.partition], batch.partition[0])
    batch.confirmed = isinstance(error, NoError | DuplicateSequenceNumber)
    return None if batch.confirmed else error


def _checked(answer: Any) -> Any:
    """An answer without an error. In one on several partitions, those count that were tried."""
    if hasattr(answer, "error_code"):
        codes = [(answer.error_code, "")]
    else:
        codes = [(code, topic) for topic, answers in answer.errors for _, code in answers if code != _NOT_ATTEMPTED]
    for code, topic in codes:
        if code:
            raise failed(code, topic)
    return answer
