"""What a RabbitMQ broker can be told: the keys and variables that Rasa has, and ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from brokers.options import Options

ExchangeType = Literal["fanout", "topic", "direct"]
QueueType = Literal["classic", "quorum"]

DEFAULT_EXCHANGE: Final = "rasa-exchange"
DEFAULT_QUEUE: Final = "rasa_core_events"
DEFAULT_PORT: Final = 5672
DEFAULT_TLS_PORT: Final = 5671
DEFAULT_WINDOW: Final = 1000
DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # what RabbitMQ 4 takes unless it is told otherwise
SHORT: Final = 255  #: bytes that AMQP has for a name or a routing key

PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
PLACEHOLDERS: Final = ("type", "conversation")

_CERTIFICATE: Final = "RABBITMQ_SSL_CLIENT_CERTIFICATE"
_KEY: Final = "RABBITMQ_SSL_CLIENT_KEY"
_KEY_PASSWORD: Final = "RABBITMQ_SSL_KEY_PASSWORD"  # noqa: S105 - a variable's name
_AUTHORITY: Final = "RABBITMQ_SSL_CA_FILE"
_ENVIRONMENT: Final = "RASA_ENVIRONMENT"


class Tls(Struct, frozen=True, kw_only=True):
    """The PEM files of a connection with TLS, which are read anew for each connection.

    Attributes:
        authority: of who signed the server's certificate; None trusts the system's authorities.
        certificate: the client's; None shows none.
        key: the client's.
        key_password: of the client's key; empty if it has none.
    """

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str = ""

    def __repr__(self) -> str:
        """All but the password."""
        return f"Tls({self.authority}, {self.certificate}, {self.key})"


class RabbitMQOptions(Struct, frozen=True, kw_only=True):
    """Where RabbitMQ is, and what is declared and published there.

    Rasa's `connection_attempts`, `retry_delay_in_seconds`, `should_keep_unpublished_messages` and `raise_on_failure`
    are accepted and change nothing: the relay tries for ever, ever more slowly, and the log keeps what is unpublished.

    Attributes:
        heartbeat: seconds, 0 for none; None takes what the broker proposes.
        tls: None without TLS.
        queues: each is declared, and bound to the exchange.
        are_queues_given: False when `queues` is the default.
        queue_type: a classic one is declared without arguments, as Rasa does.
        routing_key: a pattern; `{type}` and `{conversation}` are put in for each message.
        binding_key: with which queues are bound.
        window: messages that wait for their confirmation at most.
        app_id: of each message; None leaves it out.
    """

    host: str
    port: int = DEFAULT_PORT
    virtual_host: str = "/"
    username: str
    password: str
    heartbeat: int | None = None
    tls: Tls | None = None
    exchange_name: str = DEFAULT_EXCHANGE
    exchange_type: ExchangeType = "fanout"
    exchange_durable: bool = False
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    are_queues_given: bool = True
    queue_type: QueueType = "classic"
    routing_key: str = ""
    binding_key: str = ""
    window: int = DEFAULT_WINDOW
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    app_id: str | None = None

    def __repr__(self) -> str:
        """Only the place: other fields hold a password."""
        return f"RabbitMQOptions({self.address}, {self.virtual_host})"

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read(options: Options) -> RabbitMQOptions:
    """The options of a section; faults are noted there."""
    _accept(options)
    url = _url(options)
    query = dict(parse_qsl(url.query))
    exchange_type = cast("ExchangeType", options.choice("exchange_type", "fanout", get_args(ExchangeType)))
    queues = _queues(options)
    routing_key = _routing_key(options)
    return RabbitMQOptions(
        host=url.hostname or "",
        port=_port(options, url),
        virtual_host=unquote(url.path[1:]) or "/",
        username=_credential(options, "username", url.username),
        password=_credential(options, "password", url.password),
        heartbeat=_heartbeat(options, query),
        tls=_tls(options, url.scheme, query),
        exchange_name=_name(options, "exchange_name", options.text("exchange_name") or DEFAULT_EXCHANGE),
        exchange_type=exchange_type,
        exchange_durable=options.truth("exchange_durable", False),
        queues=queues or (DEFAULT_QUEUE,),
        are_queues_given=bool(queues),
        queue_type=cast("QueueType", options.choice("queue_type", "classic", get_args(QueueType))),
        routing_key=routing_key,
        binding_key=_binding_key(options, exchange_type, routing_key),
        window=options.whole("window", DEFAULT_WINDOW, low=1, high=65_535),
        max_message_bytes=options.whole("max_message_bytes", DEFAULT_MAX_MESSAGE_BYTES, low=1),
        app_id=_app_id(options),
    )


def _accept(options: Options) -> None:
    """Read the keys that change nothing, so that they count as known."""
    options.whole("connection_attempts", 0)
    options.seconds("retry_delay_in_seconds", 0)
    options.truth("should_keep_unpublished_messages", True)
    options.truth("raise_on_failure", False)


def _url(options: Options) -> SplitResult:
    """The parts of `url`, which is a host or a whole URL."""
    given = options.needed("url")
    try:
        url = urlsplit(given if "://" in given else f"//{given}")
        host = (url.hostname or "").encode("idna")
        is_usable = bool(host) and url.port != 0 and url.scheme in ("", "amqp", "amqps")
    except ValueError:
        is_usable = False
    if is_usable and not ("@" in given and "@" not in url.netloc):
        return url
    if given:
        options.fault(
            "url",
            "must be a host, or amqp://host:port/vhost or amqps://host:port/vhost; in a user, password or vhost, every "
            "sign but letters and digits is written as %XX",
        )
    return urlsplit("//")


def _port(options: Options, url: SplitResult) -> int:
    """The URL's own port comes first, as for user and password."""
    default = DEFAULT_TLS_PORT if url.scheme == "amqps" else DEFAULT_PORT
    port = options.whole("port", default, low=1, high=65_535)
    return url.port or port


def _credential(options: Options, key: str, in_url: str | None) -> str:
    if in_url:
        options.text(key)
        return unquote(in_url)
    return options.needed(key)


def _heartbeat(options: Options, query: dict[str, str]) -> int | None:
    text = query.get("heartbeat")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        options.fault("url", f"its `heartbeat` must be a whole number of seconds up to 65535, is {text!r}")
        return None
    return int(text)


def _tls(options: Options, scheme: str, query: dict[str, str]) -> Tls | None:
    """Rasa's switches: a URL that says so, or a certificate of the client's."""
    certificate, key = options.environ.get(_CERTIFICATE), options.environ.get(_KEY)
    if bool(certificate) != bool(key):
        missing, given = (_KEY, _CERTIFICATE) if certificate else (_CERTIFICATE, _KEY)
        options.fault("url", f"the variable {given} is set, and {missing} is not: TLS needs both or none")
    if scheme != "amqps" and not (certificate and key):
        return None
    return Tls(
        authority=query.get("cacertfile") or options.environ.get(_AUTHORITY) or None,
        certificate=certificate or None,
        key=key or None,
        key_password=options.environ.get(_KEY_PASSWORD, ""),
    )


def _queues(options: Options) -> tuple[str, ...]:
    """The names in `queues`, or in `queue` as older versions of Rasa called it."""
    queues, older = options.texts("queues"), options.texts("queue")
    names = tuple(dict.fromkeys(queues or older))
    if "" in names:
        options.fault("queues", "a queue needs a name")
    return tuple(_name(options, "queues", name) for name in names)


def _name(options: Options, key: str, name: str) -> str:
    if len(name.encode()) > SHORT:
        options.fault(key, f"must have at most {SHORT} bytes, has {len(name.encode())}: {name[:40]!r}...")
    return name


def _routing_key(options: Options) -> str:
    pattern = _name(options, "routing_key", options.text("routing_key", "") or "")
    unknown = [name for name in PLACEHOLDER.findall(pattern) if name not in PLACEHOLDERS]
    if unknown:
        options.fault("routing_key", f"knows {{type}} and {{conversation}}, and not {{{unknown[0]}}}")
    return pattern


def _binding_key(options: Options, exchange_type: ExchangeType, routing_key: str) -> str:
    """Unless it is given, the one with which a queue gets every message."""
    given = options.text("binding_key")
    if given is not None:
        return _name(options, "binding_key", given)
    if exchange_type == "direct" and PLACEHOLDER.search(routing_key):
        options.fault("binding_key", f"is missing: no key fits all messages of a direct exchange, by {routing_key!r}")
    return {"fanout": "", "topic": "#", "direct": routing_key}[exchange_type]


def _app_id(options: Options) -> str | None:
    name = options.environ.get(_ENVIRONMENT)
    if name is not None and len(name.encode()) > SHORT:
        options.fault("type", f"the variable {_ENVIRONMENT} must have at most {SHORT} bytes, has {len(name.encode())}")
    return name
