"""A connection to RabbitMQ on the running loop, and its channels, with answers to await."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

from pika import ConnectionParameters, PlainCredentials, spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionOpenAborted

from brokers import rabbitmq_faults as faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokers.errors import BrokerUnavailable
    from brokers.rabbitmq_options import RabbitMQOptions, Tls

CLOSE_SECONDS: Final = 2.0  #: that a broker has to close a connection in good order
WRITE_BUFFER: Final = 1024 * 1024  #: bytes that wait for the socket at most before sending pauses

_pika: Final = logging.getLogger("pika")
if _pika.level == logging.NOTSET:
    _pika.setLevel(logging.CRITICAL)  # its errors come to us as exceptions, and are told once


class Connection(AsyncioConnection, asyncio.Protocol):  # type: ignore[misc]  # pika has no types
    """pika's connection, carried by a transport of the loop's own.

    pika's own transport needs a system call for every frame, three for a message, and what goes wrong while it connects
    ends up in exceptions without a text, or in a connection that can't be given up.

    Attributes:
        failure: why it can't be used any more; the first reason counts.
        blocked: why the broker takes no messages at the moment, None while it does.
        is_congested: whether what was written before still waits for the socket.
        failed: set together with `failure`.
        gone: set when nothing of it is left.
    """

    def __init__(self, options: RabbitMQOptions, title: str, when_blocked: Callable[[str | None], None]) -> None:
        """`title` shows in RabbitMQ's lists of connections."""
        self.failure: BrokerUnavailable | None = None
        self.blocked: str | None = None
        self.is_congested = False
        self.failed, self.gone = asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()
        self._options = options
        self._when_blocked = when_blocked
        self._said: Any = None
        self._lost_by: BaseException | None = None
        super().__init__(
            _parameters(options, title),
            on_open_callback=self.wake,
            on_open_error_callback=self._on_end,
            on_close_callback=self._on_end,
            internal_connection_workflow=False,
        )
        self.callbacks.add(0, spec.Connection.Close, self._on_close_said)
        self.add_on_connection_blocked_callback(lambda _, frame: self._block(frame.method.reason))
        self.add_on_connection_unblocked_callback(lambda _, frame: self._block(None))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as the condition is true, which is looked at whenever something comes from the broker.

        Raises:
            BrokerUnavailable: the connection failed.
        """
        while self.failure is None and not condition():
            self._changed.clear()
            await self._changed.wait()
        if self.failure is not None:
            raise self.failure

    def wake(self, *_: object) -> None:
        """Have the condition that is waited for looked at."""
        self._changed.set()

    def fail(self, reason: BrokerUnavailable) -> None:
        """Give the connection up; nothing is sent any more. It still has to be closed."""
        if self.failure is None:
            self.failure = reason
        self.failed.set()
        self.wake()

    def send(self, frames: bytes) -> None:
        """Write whole frames."""
        self._adapter_emit_data(frames)

    async def end(self) -> None:
        """Close the connection: in good order if the broker answers soon, and abruptly if not."""
        try:
            if self.is_open and self.blocked is None:
                self.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self.gone.wait()
        finally:
            self.abort()
        await self.gone.wait()

    def abort(self) -> None:
        """Drop the connection; soon after it is gone."""
        if self._transport is None:
            self.gone.set()
        else:
            self._terminate_stream(ConnectionOpenAborted())

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(WRITE_BUFFER)
        self._proto_connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._proto_data_received(data)

    def eof_received(self) -> None:
        self._proto_eof_received()

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost_by = exc
        self._proto_connection_lost(exc)
        self.gone.set()

    # ---- what pika tells ----

    def _on_end(self, _connection: Any, error: BaseException) -> None:
        self.fail(faults.connection_closed(self._options, error, self._said, self._lost_by))

    def _on_close_said(self, frame: Any) -> None:
        self._said = frame.method

    def _block(self, reason: str | None) -> None:
        self.blocked = reason
        self._when_blocked(reason)
        self.wake()


class Channel:
    """A channel of a connection. `channel` is pika's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refusal: ChannelClosedByBroker | None = None
        self.channel = connection.channel(on_open_callback=connection.wake)
        self.channel.add_on_close_callback(self._on_close)

    @classmethod
    async def open(cls, connection: Connection) -> Channel:
        """A new channel, once it is open.

        Raises:
            BrokerUnavailable: the connection failed.
        """
        opened = cls(connection)
        await connection.until(lambda: opened.channel.is_open)
        return opened

    async def ask(self, method: str, **arguments: Any) -> None:
        """Call a method of pika's channel, and wait for the broker's answer.

        Raises:
            ChannelClosedByBroker: the broker refuses; the channel is of no use any more.
            BrokerUnavailable: the connection failed.
        """
        await self._answer(lambda answered: getattr(self.channel, method)(**arguments, callback=answered))

    async def get(self, queue: str) -> tuple[int, bytes] | None:
        """Take the next message of a queue, as its delivery tag, which is to be acknowledged, and its body.

        None when the queue is empty. Raises as above.
        """

        def ask(answered: Callable[..., None]) -> None:
            self.channel.add_callback(answered, [spec.Basic.GetEmpty])
            self.channel.basic_get(queue, answered)

        answer = await self._answer(ask)
        if len(answer) == 1:  # of an empty queue
            return None
        _channel, method, _properties, body = answer
        return method.delivery_tag, body

    async def _answer(self, ask: Callable[[Callable[..., None]], None]) -> tuple[Any, ...]:
        answers: list[tuple[Any, ...]] = []

        def answered(*answer: Any) -> None:
            answers.append(answer)
            self._connection.wake()

        ask(answered)
        await self._connection.until(lambda: bool(answers) or self._refusal is not None)
        if self._refusal is not None:
            raise self._refusal
        return answers[0]

    def _on_close(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            self._refusal = reason
            self._connection.wake()


async def connect(options: RabbitMQOptions, title: str, when_blocked: Callable[[str | None], None]) -> Connection:
    """An open connection, which the caller ends. `when_blocked` hears why the broker takes no messages, and then None.

    Raises:
        BrokerUnavailable: there is no such place, or it does not let us in.
    """
    context = _context(options.tls) if options.tls else None
    connection = Connection(options, title, when_blocked)
    try:
        await asyncio.get_running_loop().create_connection(lambda: connection, options.host, options.port, ssl=context)
        await connection.until(lambda: connection.is_open)
    except OSError as error:
        raise faults.no_connection(options, error) from error
    except BaseException:
        connection.abort()
        raise
    return connection


def _parameters(options: RabbitMQOptions, title: str) -> ConnectionParameters:
    return ConnectionParameters(
        host=options.host,
        port=options.port,
        virtual_host=options.virtual_host,
        credentials=PlainCredentials(options.username, options.password),
        heartbeat=options.heartbeat,
        client_properties={"connection_name": title},
    )


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.authority)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, tls.key_password)  # None would ask at the terminal
    except OSError as error:
        raise faults.bad_files(tls, error) from error
    return context
