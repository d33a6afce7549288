"""Publishes to RabbitMQ, with publisher confirms: at least once, and in order until something goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog
from pika import spec
from pika.exceptions import ChannelClosedByBroker

from brokers import rabbitmq_faults as faults
from brokers.errors import BrokerUnavailable, PublishFailed, RelayStopped
from brokers.publisher import Mark, Publisher
from brokers.rabbitmq_connection import connect
from brokers.rabbitmq_frames import Frames
from brokers.rabbitmq_mark import Marks, Note
from brokers.rabbitmq_topology import Topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from brokers.publisher import Message, Source, Window
    from brokers.rabbitmq_connection import Channel, Connection
    from brokers.rabbitmq_options import RabbitMQOptions

log = structlog.get_logger("turnlog.relay")

OPEN_SECONDS: Final = 10.0  #: that a broker has until it is ready for the first message
BURST: Final = 65_536  #: bytes that are written at once, and whatever the last message has beyond
LARGE: Final = 65_536  #: bytes of a body that every broker takes


class RabbitMQPublisher(Publisher):
    """Publishes to one exchange over one connection.

    A mark is kept where RabbitMQ lets us. Without one, which a person may have deleted, the relay's own checkpoint says
    where to go on: so `keeps_mark` is false from `open` on if there was none to return.
    """

    def __init__(self, options: RabbitMQOptions) -> None:
        super().__init__({})
        self.keeps_mark = True
        self.max_message_bytes = options.max_message_bytes
        self._options = options
        self._connection: Connection | None = None
        self._sender: _Sender | None = None
        self._marks: Marks | None = None  # of the live relay; a replay has none
        self._source: Source | None = None
        self._finished = 0  # position up to which nothing is published again

    async def open(self, source: Source) -> Mark | None:
        """Connect, declare everything as if the broker were new, which it may be, and read the mark, if there is one.

        After a window that failed half-way, the mark of our own log is not returned: the relay's checkpoint has the
        position that was confirmed, and the mark only the one before which it can't be.
        """
        self._source = source
        async with self._in_time():
            self._connection = await connect(self._options, f"turnlog {source.broker}", self._tell_blocked)
            channel = await Topology(self._connection, self._options).declare()
            self._sender = await _Sender.open(self._connection, channel, self._options)
            mark = await self._read_mark(source) if source.replay is None else None
        if not self._options.are_queues_given:
            log.info("`queues` is not set: the default is used", queues=self._options.queues)
        self.keeps_mark = mark is not None
        return mark

    async def publish(self, window: Window) -> None:
        """Publish the messages; a message that is not confirmed ends it, and nothing is sent twice here.

        Raises:
            PublishFailed: a message was not confirmed, or may not have been.
            RelayStopped: the window was published long ago, as far as the broker's mark knows.
        """
        assert self._sender is not None, "it is not open"
        first = window.messages[0].position if window.messages else window.mark.position
        self._refuse_finished(first)
        if len(window.messages) > self._options.window:
            self._note_partial(first, window)  # should the connection get lost, not all of it is published again
        try:
            await self._sender.send(window.messages)
        except PublishFailed as error:
            if error.confirmed:
                self._note_partial(first, window)
            raise
        self._note(window.mark)

    async def set_mark(self, source: Source, mark: Mark) -> None:
        """Say by hand where the relay goes on; what the queues hold stays. Where no mark can be kept, that is told."""
        async with self._in_time():
            self._connection = await connect(self._options, f"turnlog {source.broker}", self._tell_blocked)
            self._marks = await Marks.open(self._connection, self._options, source)
            self._note(mark)
            await self._marks.settle()

    async def close(self) -> None:
        """End the connection, within seconds whatever the broker does."""
        connection, self._connection, self._sender, self._marks = self._connection, None, None, None
        if connection is not None:
            await connection.end()

    async def lost(self) -> None:
        """Return when the connection or its channel is gone."""
        assert self._connection is not None, "it is not open"
        await self._connection.failed.wait()

    # ---- the mark ----

    async def _read_mark(self, source: Source) -> Mark | None:
        assert self._connection is not None
        self._marks = await Marks.open(self._connection, self._options, source)
        note = await self._marks.read()
        if note is None:
            return None
        if note.is_partial and note.log == source.log:
            self._finished = note.position
            return None
        return Mark(note.log, note.position, note.chain, note.epoch)

    def _note(self, mark: Mark) -> None:
        if self._marks is not None:
            self._marks.write(Note(mark.log, mark.position, mark.chain, mark.epoch))

    def _note_partial(self, first: int, window: Window) -> None:
        """Let the relay's checkpoint count, which is nowhere before this window unless it comes from an older copy."""
        if self._marks is not None:
            self._marks.write(Note(window.mark.log, first - 1, b"", window.mark.epoch, is_partial=True))

    def _refuse_finished(self, position: int) -> None:
        if 0 < position <= self._finished:
            assert self._source is not None
            raise RelayStopped(
                f"the checkpoint lets position {position} be published next, and the broker has confirmed all up to "
                f"{self._finished}: the database was restored from an older copy: `turnlog relay --broker "
                f"{self._source.broker} --set-position N` goes on after position N of this log"
            )

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                yield
        except TimeoutError as error:
            raise faults.silent(self._options, OPEN_SECONDS) from error

    def _tell_blocked(self, reason: str | None) -> None:
        self.paused(None if reason is None else f"RabbitMQ blocks publishing: {reason}")


class Confirmations:
    """Which messages of a channel are confirmed. They are counted from 1; all up to `reached` are."""

    def __init__(self) -> None:
        self.reached = 0
        self._early: set[int] = set()  # those beyond, which were confirmed before one with a smaller number

    def take(self, number: int, is_multiple: bool) -> None:
        """Note that a message is confirmed, or all up to it."""
        if is_multiple:
            self.reached = max(self.reached, number)
            self._early = {early for early in self._early if early > number}
        elif number > self.reached:
            self._early.add(number)
        while self.reached + 1 in self._early:
            self.reached += 1
            self._early.remove(self.reached)


class _Sender:
    """Sends messages over a channel of its own, and waits for their confirmations."""

    def __init__(self, connection: Connection, options: RabbitMQOptions, frames: Frames) -> None:
        self._connection, self._options, self._frames = connection, options, frames
        self._sent = 0
        self._confirmations = Confirmations()

    @classmethod
    async def open(cls, connection: Connection, channel: Channel, options: RabbitMQOptions) -> _Sender:
        """The sender of a channel on which nothing was published yet.

        Raises:
            BrokerUnavailable: the broker refuses, or the connection failed.
        """
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
        before, unsent = self._sent, deque(messages)
        try:
            while unsent or self._confirmations.reached < self._sent:
                await self._connection.until(lambda: self._may_go_on(unsent))
                if unsent:
                    self._write(unsent)
                    await asyncio.sleep(0)  # let the broker begin, and its confirmations in
        except BrokerUnavailable as error:
            confirmed = self._confirmations.reached - before
            raise PublishFailed(error.reason, confirmed=confirmed, setting=error.setting) from error

    def _may_go_on(self, unsent: deque[Message]) -> bool:
        return self._may_send(unsent[0]) if unsent else self._confirmations.reached == self._sent

    def _may_send(self, message: Message) -> bool:
        """Whether there is room for a message.

        One that the broker may find too large waits until all before it are confirmed: if it is refused, time and
        again, these are not published each time.
        """
        if self._connection.blocked is not None or self._connection.is_congested:
            return False
        most = self._options.window if len(message.body) <= LARGE else 1
        return self._sent - self._confirmations.reached < most

    def _write(self, unsent: deque[Message]) -> None:
        """Write a burst as a whole: three system calls for each message would cost more than all the rest."""
        pieces: list[bytes] = []
        size = 0
        while unsent and size < BURST and self._may_send(unsent[0]):
            message = unsent.popleft()
            pieces += self._frames.of(message)
            size += len(message.body)
            self._sent += 1
        self._connection.send(b"".join(pieces))

    # ---- what the broker says ----

    def _on_confirmation(self, frame: Any) -> None:
        if self._connection.failure is not None:
            return
        if isinstance(frame.method, spec.Basic.Ack):
            self._confirmations.take(frame.method.delivery_tag, frame.method.multiple)
            self._connection.wake()
        else:
            self._connection.fail(faults.refused(self._options))

    def _on_returned(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """A message comes back, and is confirmed only then: so from here on confirmations do not count."""
        self._connection.fail(faults.returned(self._options, method))

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            self._connection.fail(faults.channel_closed(self._options, reason))
