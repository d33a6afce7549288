"""What goes wrong at a Kafka cluster, as a sentence and the setting to look at."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from aiokafka import errors

from brokers.errors import BrokerUnavailable

if TYPE_CHECKING:
    from brokers.kafka_options import Address, KafkaOptions

_PRODUCER_FENCED: Final = 90
_HOSTNAME_MISMATCH: Final = 62
_IP_ADDRESS_MISMATCH: Final = 64
_NO_TRANSACTIONS: Final = "`transactional: false` publishes without transactions, and then some events may come twice"

_REASONS: Final[tuple[tuple[tuple[type[Exception], ...], str, str], ...]] = (
    (
        (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
        "{topic} refuses records as too large: set max_message_bytes and batch_bytes below its max.message.bytes",
        "max_message_bytes",
    ),
    ((errors.TopicAuthorizationFailedError,), "{user} may not use {topic}", "topic"),
    ((errors.UnknownTopicOrPartitionError,), "{topic} does not exist, or not all of its partitions", "topic"),
    (
        (errors.NotEnoughReplicasError, errors.NotEnoughReplicasAfterAppendError),
        "{topic} takes nothing: fewer of its replicas are in sync than its min.insync.replicas says",
        "",
    ),
    ((errors.LeaderNotAvailableError,), "{topic} has a partition without a leader", ""),
    (
        (errors.TransactionalIdAuthorizationFailed,),
        f"{{user}} may not use transactional ids that begin with `turnlog-`; {_NO_TRANSACTIONS}",
        "transactional",
    ),
    (
        (errors.ClusterAuthorizationFailedError,),
        "{user} lacks the right IdempotentWrite on the cluster",
        "sasl_username",
    ),
    (
        (errors.CoordinatorNotAvailableError, errors.CoordinatorLoadInProgressError, errors.NotCoordinatorError),
        "the cluster has no coordinator for transactions at the moment (its topic __transaction_state needs "
        f"transaction.state.log.replication.factor servers); {_NO_TRANSACTIONS}",
        "transactional",
    ),
    (
        (errors.ConcurrentTransactions,),
        "the transaction before is still being ended by the cluster",
        "",
    ),
    (
        (errors.InvalidTransactionTimeout,),
        f"the cluster's transaction.max.timeout.ms is below 10 seconds; {_NO_TRANSACTIONS}",
        "transactional",
    ),
    (
        (errors.IncompatibleBrokerVersion, errors.UnsupportedVersionError, NotImplementedError),
        f"the cluster can't do what is asked of it, which may be transactions ({{error}}); {_NO_TRANSACTIONS}",
        "transactional",
    ),
    (
        (errors.ProducerFenced, errors.InvalidProducerEpoch),
        "the cluster ended the transaction: it took too long, or another relay of this broker has begun one",
        "",
    ),
    ((errors.RequestTimedOutError,), "{topic}: not all of its replicas took the records in time", ""),
    ((errors.KafkaConnectionError,), "the connection was lost", "url"),
)


def failed(code: int, topic: str = "") -> errors.KafkaError:
    """The error that an answer's code stands for."""
    kind: type[errors.KafkaError] = errors.ProducerFenced if code == _PRODUCER_FENCED else errors.for_code(code)
    detail = [f"code {code}"] if kind is errors.UnknownError else []
    return kind(*([topic] if topic else []), *detail)


def explained(error: Exception, options: KafkaOptions) -> tuple[str, str]:
    """A sentence on an error of the cluster, and the key to look at."""
    for kinds, sentence, setting in _REASONS:
        if isinstance(error, kinds):
            topic = f"topic {_topic_of(error) or options.topic}"
            return sentence.format(topic=topic, user=_user(options), error=_text(error)), setting
    return _text(error), ""


def unreachable(error: Exception, address: Address, options: KafkaOptions) -> BrokerUnavailable:
    """Why a server could not be talked to."""
    where = str(address)
    if address not in options.servers:
        where += " (which the cluster names as a server of its own, by advertised.listeners)"
    reason, setting = _tls_fault(error, where, options) or _sasl_fault(error, where, options) or _gone(error, where)
    return BrokerUnavailable(reason, setting=setting)


def _tls_fault(error: Exception, where: str, options: KafkaOptions) -> tuple[str, str] | None:
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        mismatch = cause.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH)
        setting = "ssl_check_hostname" if mismatch else "ssl_cafile"
        return f"the certificate of {where} is not trusted: {cause.verify_message}", setting
    if isinstance(cause, ssl.SSLError) and "ALERT" in str(cause.reason):
        refusal = "does not accept our certificate" if options.ssl_certfile else "may want a certificate of ours"
        return f"{where} {refusal}: {cause.reason}", "ssl_certfile"
    if options.has_tls and isinstance(cause, ssl.SSLError | ConnectionResetError):
        return f"{where} does not speak TLS, as {options.security_protocol} does", "security_protocol"
    return None


def _sasl_fault(error: Exception, where: str, options: KafkaOptions) -> tuple[str, str] | None:
    protocol = options.security_protocol
    if isinstance(error, errors.SaslAuthenticationFailed | errors.AuthenticationFailedError):
        return f"{where} does not accept the password of {_user(options)}", "sasl_password"
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return f"{where} does not offer {options.sasl_mechanism}", "sasl_mechanism"
    if isinstance(error, errors.IllegalSaslStateError):
        return f"{where} does not expect a password, as {protocol} does", "security_protocol"
    if isinstance(error, errors.KafkaConnectionError):
        return f"{where} closes the connection at once, which may be since it does not speak {protocol}", (
            "security_protocol"
        )
    return None


def _gone(error: Exception, where: str) -> tuple[str, str]:
    if isinstance(error, socket.gaierror):
        return f"the host of {where} can't be resolved: {error.strerror}", "url"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {where}", "url"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer", "url"
    if isinstance(error, OSError):
        return f"{where}: {error.strerror or error}", "url"
    return f"{where}: {_text(error)}", ""


def _topic_of(error: Exception) -> str:
    return str(error.args[0]) if error.args else ""


def _user(options: KafkaOptions) -> str:
    return f"user {options.sasl_username!r}" if options.has_sasl else "this client"


def _text(error: Exception) -> str:
    """aiokafka's own errors begin with their name, which says most."""
    return str(error) or type(error).__name__
