"""Publishes to RabbitMQ, with publisher confirms: at least once, and in order until something goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from pika import spec
from pika.exceptions import ChannelClosedByBroker

from brokers import rabbitmq_faults as faults
from brokers.errors import BrokerUnavailable, PublishFailed
from brokers.publisher import Mark, Publisher
from brokers.rabbitmq_connection import connect
from brokers.rabbitmq_frames import Frames
from brokers.rabbitmq_topology import Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokers.publisher import Message, Source, Window
    from brokers.rabbitmq_connection import Channel, Connection
    from brokers.rabbitmq_options import RabbitMQOptions

log = structlog.get_logger("turnlog.relay")

OPEN_SECONDS: Final = 10.0  #: that a broker has until it is ready for the first message
BURST: Final = 65_536  #: bytes that are written at once, unless a message has more


class RabbitMQPublisher(Publisher):
    """Publishes to one exchange over one connection."""

    def __init__(self, options: RabbitMQOptions) -> None:
        super().__init__({})
        self.max_message_bytes = options.max_message_bytes
        self._options = options
        self._connection: Connection | None = None
        self._sender: _Sender | None = None

    async def open(self, source: Source) -> Mark | None:
        """Connect, and declare everything as if the broker were new, which it may be. It keeps no mark."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                self._connection = await connect(self._options, f"turnlog {source.broker}", self._tell_blocked)
                channel = await Topology(self._connection, self._options).declare()
                self._sender = await _Sender.open(self._connection, channel, self._options)
        except TimeoutError as error:
            raise faults.silent(self._options, OPEN_SECONDS) from error
        if not self._options.are_queues_given:
            log.warning("`queues` is not set: the default is used", queues=self._options.queues)
        return None

    async def publish(self, window: Window) -> None:
        """Publish the messages; a message that is not confirmed ends it, and nothing is sent twice here."""
        assert self._sender is not None, "it is not open"
        await self._sender.send(window.messages)

    async def close(self) -> None:
        """End the connection, within seconds whatever the broker does."""
        connection, self._connection, self._sender = self._connection, None, None
        if connection is not None:
            await connection.end()

    async def lost(self) -> None:
        """Return when the connection or its channel is gone."""
        assert self._connection is not None, "it is not open"
        await self._connection.failed.wait()

    def _tell_blocked(self, reason: str | None) -> None:
        self.paused(None if reason is None else f"RabbitMQ blocks publishing: {reason}")


class _Sender:
    """Sends messages over a channel, and keeps count of their confirmations.

    A channel counts its messages from 1; a confirmation names such a number, or all up to it.
    """

    def __init__(self, connection: Connection, options: RabbitMQOptions, frames: Frames) -> None:
        self._connection, self._options, self._frames = connection, options, frames
        self._sent = 0
        self._confirmed = 0  # all up to this number
        self._early: set[int] = set()  # those that were confirmed before one with a smaller number

    @classmethod
    async def open(cls, connection: Connection, channel: Channel, options: RabbitMQOptions) -> _Sender:
        """The sender of a channel on which nothing was published yet."""
        sender = cls(connection, options, Frames(options, channel.channel))
        channel.channel.add_on_close_callback(sender._on_closed)
        channel.channel.add_on_return_callback(sender._on_returned)
        await channel.ask("confirm_delivery", ack_nack_callback=sender._on_confirmation)
        return sender

    async def send(self, messages: Sequence[Message]) -> None:
        """Send all, and return when all are confirmed.

        Raises:
            PublishFailed: one was not, or may not have been.
        """
        before = self._sent
        end = before + len(messages)
        try:
            while True:
                await self._connection.until(lambda: self._confirmed == end or (self._sent < end and self._room > 0))
                if self._confirmed == end:
                    return
                self._write(messages, before)
                await asyncio.sleep(0)  # let the broker begin, and its confirmations in
        except BrokerUnavailable as error:
            confirmed = self._confirmed - before
            raise PublishFailed(error.reason, confirmed=confirmed, setting=error.setting) from error

    @property
    def _room(self) -> int:
        """How many messages may be sent now."""
        if self._connection.blocked is not None or self._connection.is_congested:
            return 0
        return self._options.window - (self._sent - self._confirmed)

    def _write(self, messages: Sequence[Message], before: int) -> None:
        """Write a burst, as a whole: three system calls for each message would cost more than all the rest."""
        pieces: list[bytes] = []
        size = 0
        end = min(self._sent + self._room, before + len(messages))
        while self._sent < end and size < BURST:
            message = messages[self._sent - before]
            pieces += self._frames.of(message)
            size += len(message.body)
            self._sent += 1
        self._connection.send(b"".join(pieces))

    # ---- what the broker says ----

    def _on_confirmation(self, frame: Any) -> None:
        if self._connection.failure is not None:
            return
        if not isinstance(frame.method, spec.Basic.Ack):
            self._connection.fail(faults.refused(self._options))
            return
        self._confirm(frame.method.delivery_tag, frame.method.multiple)
        self._connection.wake()

    def _confirm(self, number: int, is_multiple: bool) -> None:
        if is_multiple:
            self._confirmed = max(self._confirmed, number)
            self._early = {early for early in self._early if early > number}
        else:
            self._early.add(number)
        while self._confirmed + 1 in self._early:
            self._confirmed += 1
            self._early.remove(self._confirmed)

    def _on_returned(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """A message comes back, and only then is confirmed; so confirmations do not count any more."""
        self._connection.fail(faults.returned(self._options, method))

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            self._connection.fail(faults.channel_closed(self._options, reason))
