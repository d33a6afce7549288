"""Publishes to a topic of a Kafka cluster, by default so that each event is there exactly once.

Each window is one transaction, with the mark in it as a record of a topic of its own. Consumers that read committed
records only see the window whole or not at all, and where the relay goes on is what the cluster has committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka.errors import KafkaError

from brokers import kafka_checkpoint
from brokers.errors import BrokerUnavailable, PublishFailed
from brokers.kafka_cluster import Cluster
from brokers.kafka_faults import explained
from brokers.kafka_producer import TRANSACTION_SECONDS, Producer
from brokers.kafka_records import Form, confirmed_of, next_batches, shares_of
from brokers.kafka_topics import Topics
from brokers.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brokers.kafka_options import KafkaOptions
    from brokers.kafka_producer import Batch
    from brokers.kafka_records import Share
    from brokers.publisher import Mark, Source, Window

log = structlog.get_logger("turnlog.relay")

OPEN_SECONDS: Final = 15.0
IN_FLIGHT: Final = 5  #: batches of a partition that a cluster keeps in order by their numbers
PATIENCE: Final = 30.0  #: seconds for a window without a transaction, which the loss of a server may hold up
LARGEST_BATCH: Final = 1_048_588  #: bytes of records that a topic takes at once, by Kafka's default
MESSAGE_OVERHEAD: Final = 4_096  #: bytes that are left for a record's key and headers, and for its batch


class KafkaPublisher(Publisher):
    """Speaks to one cluster."""

    def __init__(self, options: KafkaOptions) -> None:
        super().__init__({})
        self.keeps_mark = options.transactional
        self._options = options
        self._cluster = Cluster(options)
        self._producer: Producer | None = None
        self._marked: Source | None = None  # whose mark moves with each window
        self._partitions = 0
        self._form = Form.of(options)

    async def open(self, source: Source) -> Mark | None:
        """Look at the topics, shut out who published for this source before, and read the mark; a replay has none."""
        with self._told():
            async with asyncio.timeout(OPEN_SECONDS):
                await self._begin(source)
                return await self._read_mark()

    async def publish(self, window: Window) -> None:
        """Publish the messages of each conversation in order: all, or without transactions as many as possible."""
        shares = shares_of(window.messages, self._form, self._partitions)
        try:
            with self._told():
                await self._send(shares, window.mark if self._marked else None)
        except BrokerUnavailable as error:
            confirmed = 0 if self._options.transactional else confirmed_of(shares, len(window.messages))
            raise PublishFailed(error.reason, confirmed=confirmed, setting=error.setting) from error

    async def set_mark(self, source: Source, mark: Mark) -> None:
        """Say by hand where the relay goes on; what the topic holds stays."""
        if not self.keeps_mark:
            await super().set_mark(source, mark)
        with self._told():
            async with asyncio.timeout(OPEN_SECONDS):
                await self._begin(source)
                await self._send([], mark)

    async def close(self) -> None:
        """Let go of the connections. The next publisher of the source ends a transaction that is left open.

        If none comes, the cluster does that: a request to end it might overtake records that are on their way.
        """
        self._producer = None
        await self._cluster.close()

    # ---- the beginning ----

    async def _begin(self, source: Source) -> None:
        options, deadline = self._options, _after(OPEN_SECONDS * 0.9)  # in time to tell what hindered it
        topics = Topics(self._cluster, options, deadline)
        topic = await topics.find()
        self._partitions = len(topic.leaders)
        if options.transactional and source.replay is None:
            await topics.find_checkpoints(topic.replicas)
            self._marked = source
        self._producer = Producer(self._cluster, options, _transactional_id(source) if options.transactional else None)
        self._limit(self._producer, await topics.largest_batch())
        await self._producer.start(deadline)

    def _limit(self, producer: Producer, largest: int | None) -> None:
        """Find out how large a message may be; `largest` is what the topic takes at once, if we may know that."""
        wanted, fits = self._options.max_message_bytes, (largest or LARGEST_BATCH) - MESSAGE_OVERHEAD
        if largest and wanted > fits:
            log.warning(
                "max_message_bytes is more than the topic takes, and counts as less",
                topic=self._options.topic, max_message_bytes=fits, topic_max_message_bytes=largest,
            )  # fmt: skip
        self.max_message_bytes = min(wanted or fits, fits) if largest else wanted or fits
        producer.limit_batches(largest or LARGEST_BATCH)

    async def _read_mark(self) -> Mark | None:
        if self._marked is None:
            return None
        return await kafka_checkpoint.read(self._cluster, self._options.checkpoint_topic, self._marked)

    # ---- one window ----

    async def _send(self, shares: Sequence[Share], mark: Mark | None) -> None:
        assert self._producer is not None, "the publisher is not open"
        if self._options.transactional:
            await self._transact(self._producer, shares, mark)
        else:
            await self._deliver(self._producer, shares, await self._fill(self._producer, shares), _after(PATIENCE))

    async def _transact(self, producer: Producer, shares: Sequence[Share], mark: Mark | None) -> None:
        marks = [] if mark is None else [self._mark_batch(producer, mark)]
        partitions = [share.partition for share in shares] + [batch.partition for batch in marks]
        if not partitions:
            return
        deadline = _after(TRANSACTION_SECONDS)
        filling = asyncio.create_task(self._fill(producer, shares))
        try:  # the cluster may still be at the end of the transaction before: time enough to fill batches
            await producer.begin(partitions, deadline)
        finally:
            await asyncio.wait([filling])
        await self._stream(producer, shares, filling.result() + marks, deadline)
        await producer.commit(deadline)

    async def _stream(self, producer: Producer, shares: Sequence[Share], batches: list[Batch], deadline: float) -> None:
        """Send the shares without waiting for the batch before, and fill batches while others are on their way.

        The cluster takes none out of order, and in a transaction nothing is lost by a window that has to be sent again.
        `batches` go first.
        """
        sending: deque[asyncio.Task[None]] = deque()
        try:
            while batches:
                sending.append(asyncio.create_task(producer.deliver(batches, deadline)))
                if len(sending) == IN_FLIGHT:
                    await sending.popleft()
                await asyncio.sleep(0)  # let it go before the next ones are filled
                batches = await self._fill(producer, shares)
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _deliver(
        self, producer: Producer, shares: Sequence[Share], batches: list[Batch], deadline: float
    ) -> None:
        """Send the shares side by side and each in order; `batches` go first."""
        while batches:
            await producer.deliver(batches, deadline)
            batches = await self._fill(producer, shares)

    async def _fill(self, producer: Producer, shares: Sequence[Share]) -> list[Batch]:
        """The next batch of each share that has one."""
        if self._options.compression == "none":
            return next_batches(shares, producer)
        return await asyncio.to_thread(next_batches, shares, producer)

    def _mark_batch(self, producer: Producer, mark: Mark) -> Batch:
        assert self._marked is not None
        partition = (self._options.checkpoint_topic, kafka_checkpoint.PARTITION)
        return producer.fill(partition, iter([kafka_checkpoint.record_of(self._marked, mark)]))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the cluster or its client says into a sentence."""
        try:
            yield
        except TimeoutError as error:
            raise BrokerUnavailable("the cluster does not answer", setting="url") from error
        except (KafkaError, NotImplementedError) as error:
            reason, setting = explained(error, self._options)
            raise BrokerUnavailable(reason, setting=setting) from error


def _transactional_id(source: Source) -> str:
    replay = "" if source.replay is None else f"-replay-{source.replay}"
    return f"turnlog-{source.log}-{source.broker}{replay}"


def _after(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
