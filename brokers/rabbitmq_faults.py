"""What goes wrong with RabbitMQ, in sentences that say what to look at. pika's own errors are mostly empty."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from pika.exceptions import (
    AMQPHeartbeatTimeout,
    ChannelClosedByBroker,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)

from brokers.errors import BrokerUnavailable

if TYPE_CHECKING:
    from brokers.rabbitmq_options import RabbitMQOptions, Tls

ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406
NOT_ALLOWED: Final = 530

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
_TLS_REASON: Final = re.compile(r"\[[^\]]*\]\s*(?P<reason>.*?)\s*\(_ssl\.c:\d+\)")


def no_connection(options: RabbitMQOptions, error: OSError) -> BrokerUnavailable:
    """No connection could be made."""
    if isinstance(error, socket.gaierror):
        return BrokerUnavailable(f"the host name {options.host} is not known ({error.strerror})", setting="url")
    if isinstance(error, ssl.SSLError):
        return no_tls(options, error)
    return BrokerUnavailable(f"no answer from {options.address} ({_cause(error)})", setting="url")


def no_tls(options: RabbitMQOptions, error: ssl.SSLError) -> BrokerUnavailable:
    """The two sides do not agree on TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerUnavailable(
            f"the certificate of {options.address} can't be trusted ({error.verify_message}): the variable "
            "RABBITMQ_SSL_CA_FILE, or `cacertfile` in the URL's query, names the authority to trust",
            setting="url",
        )
    return BrokerUnavailable(f"no TLS with {options.address} ({_tls_reason(error)})", setting="url")


def bad_files(tls: Tls, error: OSError) -> BrokerUnavailable:
    """A file for TLS can't be used."""
    names = ", ".join(name for name in (tls.authority, tls.certificate, tls.key) if name)
    return BrokerUnavailable(f"the files for TLS can't be used: {_tls_reason(error)} ({names})", setting="url")


def silent(options: RabbitMQOptions, seconds: float) -> BrokerUnavailable:
    """It did not do in time all that is needed before the first message."""
    return BrokerUnavailable(f"no answer from {options.address} within {seconds:g} seconds", setting="url")


def connection_closed(
    options: RabbitMQOptions, error: BaseException, said: Any, lost_by: BaseException | None
) -> BrokerUnavailable:
    """A connection ended.

    `error` is pika's, `said` the broker's `Connection.Close` if there was one, `lost_by` the transport's error.
    """
    if isinstance(error, ProbableAuthenticationError):
        return BrokerUnavailable(
            f"{options.address} refuses user {options.username!r} or the password", setting="username"
        )
    if said is not None and said.reply_code == NOT_ALLOWED:
        return BrokerUnavailable(f"{options.address} does not let us in: {said.reply_text}", setting="url")
    if said is not None:
        return BrokerUnavailable(f"{options.address} closed the connection: {said.reply_text}")
    if isinstance(lost_by, ssl.SSLError):
        return no_tls(options, lost_by)
    if isinstance(error, IncompatibleProtocolError):
        return BrokerUnavailable(
            f"{options.address} ended the connection before it spoke AMQP 0-9-1: is it RabbitMQ, and does it want TLS "
            "(then the URL begins with amqps://)?",
            setting="url",
        )
    return BrokerUnavailable(f"the connection to {options.address} was lost ({_end(error, lost_by)})")


def channel_closed(options: RabbitMQOptions, refusal: ChannelClosedByBroker) -> BrokerUnavailable:
    """The broker refuses something that was asked of it, or a message."""
    said = refusal.reply_text
    if refusal.reply_code == ACCESS_REFUSED:
        return BrokerUnavailable(f"user {options.username!r} lacks a permission: {said}", setting="username")
    if "max size" in said:
        return BrokerUnavailable(
            f"a message is too large for RabbitMQ: {said}: set max_message_bytes to what RabbitMQ takes",
            setting="max_message_bytes",
        )
    setting = "exchange_name" if "exchange" in said else "queues" if "queue" in said else ""
    return BrokerUnavailable(f"RabbitMQ refuses: {said}", setting=setting)


def returned(options: RabbitMQOptions, method: Any) -> BrokerUnavailable:
    """A message came back, because no queue would have got it."""
    return BrokerUnavailable(
        f"no queue of exchange {options.exchange_name!r} (exchange_name) gets a message with routing key "
        f"{method.routing_key!r} ({method.reply_text}); bound by this relay: {', '.join(options.queues)}",
        setting="queues",
    )


def refused(options: RabbitMQOptions) -> BrokerUnavailable:
    """A message was not confirmed, but refused."""
    return BrokerUnavailable(
        f"RabbitMQ refuses a message (nack): a queue of exchange {options.exchange_name!r} is full, or can't write",
        setting="queues",
    )


def no_mark(options: RabbitMQOptions, queue: str, refusal: ChannelClosedByBroker | None) -> tuple[str, str]:
    """Why no mark is kept, and what a person may do; `refusal` is None when the mark was not confirmed, but refused."""
    if refusal is None:
        return "the queue can't write (nack)", "look at the queue"
    if refusal.reply_code == ACCESS_REFUSED:
        rights = f"configure and read {queue}, and write to {queue} and to amq.default"
        return refusal.reply_text, f"let user {options.username!r} {rights}"
    if refusal.reply_code == PRECONDITION_FAILED:
        return refusal.reply_text, "delete the queue: the relay makes it again"
    return refusal.reply_text, "look at the queue"


def _cause(error: OSError) -> str:
    """The system's words. A name that has several addresses may have several errors, in one text: the first counts."""
    number = error.errno
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1])
    return os.strerror(number).lower() if number is not None else str(error)


def _tls_reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return _cause(error)
    found = _TLS_REASON.search(str(error))
    return found["reason"] if found else str(error)


def _end(error: BaseException, lost_by: BaseException | None) -> str:
    if isinstance(error, AMQPHeartbeatTimeout):
        return "no heartbeat came"
    if isinstance(lost_by, OSError):
        return _cause(lost_by)
    return "it was closed without a word"
