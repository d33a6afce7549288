"""From the messages of a window to batches of records, for each partition of a Kafka topic."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

from aiokafka.partitioner import murmur2
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from brokers.kafka_options import KafkaOptions
    from brokers.kafka_producer import Batch, Partition, Producer, Record
    from brokers.publisher import Header, Message


class Form(Struct, frozen=True):
    """How records look."""

    topic: str
    is_keyed: bool
    environment: tuple[str, bytes]  #: the header that is the same in all

    @classmethod
    def of(cls, options: KafkaOptions) -> Form:
        """What the options say of it."""
        environment = options.environment.encode("utf-8", "surrogateescape")
        return cls(options.topic, options.partition_by_sender, ("RASA_ENVIRONMENT", environment))

    def records(self, messages: Iterable[Message]) -> Iterator[Record]:
        """Made one at a time: they are most of the work of a window, and to keep them all would double it."""
        for message in messages:
            headers = [
                _common("turnlog-log", message.log),
                ("turnlog-position", b"%d" % message.position),
                ("turnlog-version", b"%d" % message.version),
                _common("turnlog-generation", message.generation),
                _common("turnlog-type", message.type),
                self.environment,
            ]
            if message.more:
                headers[-1:-1] = [(name, _value(value)) for name, value in message.more]
            yield _text(message.conversation) if self.is_keyed else None, message.body, headers


def _value(value: Header) -> bytes:
    return b"true" if value is True else b"false" if value is False else str(value).encode()


@lru_cache(maxsize=10_000)
def _common(name: str, value: str | int) -> tuple[str, bytes]:
    """A header that many records have."""
    return name, _value(value)


@lru_cache(maxsize=65_536)
def _text(text: str) -> bytes:
    """The bytes of a text that comes again and again."""
    return text.encode()


class Share:
    """The messages of one window that go to one partition, in their order."""

    def __init__(self, form: Form, partition: Partition, messages: Sequence[Message], indices: Sequence[int]) -> None:
        """`messages` are those of the window, `indices` says which of them."""
        self.partition = partition
        self._form, self._messages, self._indices = form, messages, indices
        self._batches: list[Batch] = []
        self._filled = 0

    @property
    def is_filled(self) -> bool:
        """Whether all are in batches."""
        return self._filled == len(self._indices)

    @property
    def first_unconfirmed(self) -> int | None:
        """Where in the window the first message is that was not confirmed."""
        confirmed = 0
        for batch in self._batches:
            if not batch.confirmed:
                break
            confirmed += batch.count
        return self._indices[confirmed] if confirmed < len(self._indices) else None

    def fill(self, producer: Producer) -> Batch:
        """The next batch."""
        messages = map(self._messages.__getitem__, self._indices[self._filled :])
        batch = producer.fill(self.partition, self._form.records(messages))
        self._batches.append(batch)
        self._filled += batch.count
        return batch


def shares_of(messages: Sequence[Message], form: Form, partitions: int) -> list[Share]:
    """What goes to each partition.

    The conversation alone decides where to, as with its id as the key; so its order is kept without keys as well.
    """
    indices: defaultdict[int, list[int]] = defaultdict(list)
    for index, message in enumerate(messages):
        indices[_hash(message.conversation) % partitions].append(index)
    return [Share(form, (form.topic, number), messages, chosen) for number, chosen in indices.items()]


def next_batches(shares: Iterable[Share], producer: Producer) -> list[Batch]:
    """The next batch of each share that has one."""
    return [share.fill(producer) for share in shares if not share.is_filled]


def confirmed_of(shares: Iterable[Share], messages: int) -> int:
    """How many of a window's first messages are confirmed."""
    return min((share.first_unconfirmed for share in shares if share.first_unconfirmed is not None), default=messages)


@lru_cache(maxsize=65_536)
def _hash(conversation: str) -> int:
    """The hash by which every Kafka client finds the partition of a key."""
    hashed: int = murmur2(conversation.encode())
    return hashed & 0x7FFFFFFF
