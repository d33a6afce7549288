"""The mark at RabbitMQ: the only message of a queue of its own.

The queue's name is that of the place where the events go, by the words of the section that leads there: whatever
database the relay reads, it finds what was published there under this name. The mark is written when a window is
confirmed, and nothing waits for it. So it never says more than what is confirmed; what it may lack is the last window,
which is published a second time then.

After a window of which only a part is confirmed, the log's own checkpoint knows better where to go on. The mark says
so, and then only from where on the relay can't have to publish again.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from pika import BasicProperties, DeliveryMode, spec
from pika.exceptions import ChannelClosedByBroker

from brokers import rabbitmq_faults as faults
from brokers.errors import RelayStopped
from brokers.rabbitmq_connection import Channel
from brokers.rabbitmq_options import SHORT

if TYPE_CHECKING:
    from brokers.publisher import Source
    from brokers.rabbitmq_connection import Connection
    from brokers.rabbitmq_options import RabbitMQOptions

log = structlog.get_logger("turnlog.relay")

_PERSISTENT: Final = BasicProperties(content_type="application/json", delivery_mode=DeliveryMode.Persistent.value)


class Note(Struct, frozen=True):
    """What the message says.

    Attributes:
        position: up to which everything is confirmed.
        chain: of the commit that holds the position; empty at 0, and when the note is partial.
        epoch: of the lease under which it was reached.
        is_partial: whether more may be confirmed, which only the log's own checkpoint knows.
    """

    log: UUID
    position: int
    chain: bytes
    epoch: int
    is_partial: bool = False


def queue_of(options: RabbitMQOptions, broker: str) -> str:
    """The queue that holds the mark of a broker. A broker's name has no slash."""
    name = f"turnlog-mark-{broker}/{options.exchange_name}"
    if len(name.encode()) <= SHORT:
        return name
    return f"turnlog-mark-{broker}/{sha256(options.exchange_name.encode()).hexdigest()}"


class Marks:
    """Reads and writes the mark, over a channel of its own: what is refused there does not touch the events."""

    def __init__(self, connection: Connection, options: RabbitMQOptions, source: Source) -> None:
        self._connection, self._options, self._source = connection, options, source
        self._queue = queue_of(options, source.broker)
        self._channel: Channel | None = None  # while marks are kept
        self._note: Note | None = None  # the last one that was written
        self._sent = self._confirmed = 0
        self._held: int | None = None  # the delivery that was read, until its copy is confirmed

    @classmethod
    async def open(cls, connection: Connection, options: RabbitMQOptions, source: Source) -> Marks:
        """Declare the queue. If RabbitMQ does not let us, that is told, and nothing is read or written.

        Raises:
            BrokerUnavailable: the connection failed.
        """
        marks = cls(connection, options, source)
        try:
            await marks._begin(await marks._declare())
        except ChannelClosedByBroker as refusal:
            marks._give_up(refusal)
        return marks

    async def read(self) -> Note | None:
        """The mark; None when there is none, or when it can't be kept up to date.

        Raises:
            RelayStopped: what is there was not written by this service.
            BrokerUnavailable: the connection failed.
        """
        if self._channel is None:
            return None
        try:
            body = await self._take(self._channel)
        except ChannelClosedByBroker:
            return None
        if body is None:
            return None
        note = self._read(body)
        self.write(note)
        await self.settle()
        return note if self._channel is not None else None

    def write(self, note: Note) -> None:
        """Put a note in the place of the one before. Nothing is waited for."""
        if self._channel is None or not self._channel.channel.is_open:
            return
        self._note = note
        self._sent += 1
        self._channel.channel.basic_publish("", self._queue, msgspec.json.encode(note), _PERSISTENT, mandatory=True)

    async def settle(self) -> None:
        """Return when the last note is confirmed, or when it is known why that has to wait.

        Raises:
            BrokerUnavailable: the connection failed.
        """
        await self._connection.until(self._is_settled)

    def _is_settled(self) -> bool:
        return self._confirmed == self._sent or self._channel is None or self._connection.blocked is not None

    # ---- the beginning ----

    async def _declare(self) -> Channel:
        """Declare the queue of the type that the events' queues have: it is there as long as they are."""
        channel = await Channel.open(self._connection)
        try:
            await channel.ask("queue_declare", **self._declaration)
        except ChannelClosedByBroker as refusal:
            if refusal.reply_code != faults.PRECONDITION_FAILED or "x-queue-type" not in refusal.reply_text:
                raise
            channel = await Channel.open(self._connection)  # `queue_type` was another one then: that does no harm
            await channel.ask("queue_declare", queue=self._queue, passive=True)
        return channel

    @property
    def _declaration(self) -> dict[str, Any]:
        arguments = {"x-queue-type": self._options.queue_type, "x-max-length": 1, "x-overflow": "drop-head"}
        return {"queue": self._queue, "durable": True, "arguments": arguments}

    async def _begin(self, channel: Channel) -> None:
        await channel.ask("confirm_delivery", ack_nack_callback=self._on_confirmation)
        channel.channel.add_on_close_callback(self._on_closed)
        channel.channel.add_on_return_callback(self._on_returned)
        self._channel = channel

    async def _take(self, channel: Channel) -> bytes | None:
        """The body of the last message.

        It is acknowledged when a copy is confirmed, and not given back: a quorum queue drops what was given back too
        often. Whenever we are killed, the message or its copy is there, or both, and they say the same.
        """
        body = None
        while (found := await channel.get(self._queue)) is not None:
            self._held, body = found
        return body

    def _read(self, body: bytes) -> Note:
        try:
            return msgspec.json.decode(body, type=Note)
        except msgspec.DecodeError as error:
            raise RelayStopped(
                f"queue {self._queue}: the message there is not what this service wrote ({error}): `turnlog relay "
                f"--broker {self._source.broker} --set-position N` goes on after position N"
            ) from error

    # ---- what the broker says ----

    def _on_confirmation(self, frame: Any) -> None:
        if self._channel is None:
            return
        if isinstance(frame.method, spec.Basic.Nack):
            self._give_up(None)
            return
        self._confirmed = max(self._confirmed, frame.method.delivery_tag)
        if self._held is not None:
            self._channel.channel.basic_ack(self._held, multiple=True)
            self._held = None
        self._connection.wake()

    def _on_returned(self, _channel: Any, _method: Any, _properties: Any, _body: bytes) -> None:
        """Somebody has deleted the queue: make it again."""
        if self._channel is not None and self._note is not None and self._channel.channel.is_open:
            self._channel.channel.queue_declare(**self._declaration)
            self.write(self._note)

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            self._give_up(reason)

    def _give_up(self, refusal: ChannelClosedByBroker | None) -> None:
        self._channel = None
        reason, advice = faults.no_mark(self._options, self._queue, refusal)
        log.warning(
            "no mark is kept at RabbitMQ: a database that was restored from an older copy would not be noticed",
            queue=self._queue, reason=reason, advice=advice,
        )  # fmt: skip
        self._connection.wake()
