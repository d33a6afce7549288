"""What a `kafka` broker can be told: Rasa's keys, and ours."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from msgspec import Struct

if TYPE_CHECKING:
    from brokers.options import Options

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]

DEFAULT_TOPIC: Final = "rasa_core_events"
DEFAULT_PORT: Final = 9092
DEFAULT_BATCH_BYTES: Final = 250_000  # a request is copied several times before it is sent: it should fit into caches
CHECKPOINT_SUFFIX: Final = ".turnlog-checkpoint"

_LONGEST_TOPIC: Final = 249
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_RASA_MECHANISMS: Final = ("PLAIN", "GSSAPI", "OAUTHBEARER", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSED_BY_CRAMJAM: Final = ("snappy", "lz4", "zstd")


class Address(Struct, frozen=True):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class KafkaOptions(Struct, frozen=True, kw_only=True):
    """How a cluster is reached, and how events are written there.

    Attributes:
        servers: asked in this order for the others of the cluster.
        partition_by_sender: whether records have the conversation's id as their key.
        ssl_cafile: whom to trust; None is the system's list.
        ssl_check_hostname: whether a server's certificate must be for its host. Without this, which is Rasa's default,
            whoever has any certificate of the same authority can pretend to be the server.
        environment: the value of the header `RASA_ENVIRONMENT`.
        transactional: whether a window is one transaction, with the mark in it.
        partitions: of a topic that may be made if it is missing; 0 when it may not.
        replication_factor: of topics that are made; 0 is as many as the cluster's default says.
        max_message_bytes: bodies beyond it are not published; 0 is as many as the topic takes.
        batch_bytes: of records that go to one partition at once, before their compression.
    """

    servers: tuple[Address, ...]
    topic: str = DEFAULT_TOPIC
    client_id: str = "turnlog"
    partition_by_sender: bool = True
    security_protocol: Protocol = "SASL_PLAINTEXT"
    sasl_mechanism: Mechanism = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = False
    environment: str = "RASA_ENVIRONMENT_NOT_SET"
    transactional: bool = True
    compression: Compression = "none"
    partitions: int = 0
    replication_factor: int = 0
    max_message_bytes: int = 0
    batch_bytes: int = DEFAULT_BATCH_BYTES

    @property
    def checkpoint_topic(self) -> str:
        """The topic of the marks."""
        return self.topic + CHECKPOINT_SUFFIX

    @property
    def has_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def has_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL")

    def __repr__(self) -> str:
        """Without the password."""
        return f"KafkaOptions(servers={', '.join(map(str, self.servers))}, topic={self.topic})"


def read(options: Options) -> KafkaOptions:
    """The options of a section; faults are noted there."""
    options.text("queue_size")  # of the client that Rasa uses: here the log is the queue
    transactional = options.truth("transactional", True)
    protocol = cast("Protocol", options.choice("security_protocol", "SASL_PLAINTEXT", get_args(Protocol)))
    username, password = _credentials(options, protocol)
    certfile, keyfile = _certificate(options)
    return KafkaOptions(
        servers=_servers(options),
        topic=_topic(options, transactional=transactional),
        client_id=options.text("client_id") or "turnlog",
        partition_by_sender=options.truth("partition_by_sender", True),
        security_protocol=protocol,
        sasl_mechanism=_mechanism(options, protocol),
        sasl_username=username,
        sasl_password=password,
        ssl_cafile=options.text("ssl_cafile") or None,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        ssl_check_hostname=options.truth("ssl_check_hostname", False),
        environment=options.environ.get("RASA_ENVIRONMENT", "RASA_ENVIRONMENT_NOT_SET"),
        transactional=transactional,
        compression=_compression(options),
        partitions=options.whole("partitions", 0, low=1, high=100_000),
        replication_factor=options.whole("replication_factor", 0, low=1, high=1_000),
        max_message_bytes=options.whole("max_message_bytes", 0, low=1_000, high=1_000_000_000),
        batch_bytes=options.whole("batch_bytes", DEFAULT_BATCH_BYTES, low=1_000, high=100_000_000),
    )


def _servers(options: Options) -> tuple[Address, ...]:
    """One or more `host:port`: a text, a text with commas, or a list."""
    given = [part.strip() for text in options.texts("url") for part in text.split(",") if part.strip()]
    if not given and not any(key == "url" for key, _ in options.faults):
        options.fault("url", "is missing: host:port of one or more servers of the cluster")
    found = [_server(options, text) for text in given]
    return tuple(address for address in found if address is not None)


def _server(options: Options, text: str) -> Address | None:
    match = _SERVER.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 1 <= port <= 65_535:
        options.fault("url", f"must be host:port of one or more servers, is {_without_password(text)!r}")
        return None
    return Address(match["host"].strip("[]"), port)


def _without_password(text: str) -> str:
    return "***@" + text.rpartition("@")[2] if "@" in text else text


def _topic(options: Options, *, transactional: bool) -> str:
    topic = options.text("topic") or DEFAULT_TOPIC
    longest = _LONGEST_TOPIC - len(CHECKPOINT_SUFFIX) if transactional else _LONGEST_TOPIC
    if not _TOPIC.fullmatch(topic) or topic in {".", ".."} or len(topic) > longest:
        options.fault(
            "topic", f"must be 1 to {longest} letters, digits, dots, underscores or dashes, is {topic[:300]!r}"
        )
    return topic


def _credentials(options: Options, protocol: Protocol) -> tuple[str, str]:
    username, password = options.text("sasl_username") or "", options.text("sasl_password") or ""
    if protocol.startswith("SASL"):
        for key, value in (("sasl_username", username), ("sasl_password", password)):
            if not value and not any(at == key for at, _ in options.faults):
                options.fault(
                    key, f"is missing: security_protocol {protocol} needs it (PLAINTEXT and SSL do not)"
                )  # fmt: skip
    return username, password


def _mechanism(options: Options, protocol: Protocol) -> Mechanism:
    mechanism = options.choice("sasl_mechanism", "PLAIN", _RASA_MECHANISMS)
    if mechanism in get_args(Mechanism):
        return cast("Mechanism", mechanism)
    if protocol.startswith("SASL"):
        options.fault("sasl_mechanism", f"{mechanism} is not supported: use one of {', '.join(get_args(Mechanism))}")
    return "PLAIN"


def _certificate(options: Options) -> tuple[str | None, str | None]:
    """The file of our own certificate, and that of its key if this is another one."""
    certfile, keyfile = options.text("ssl_certfile") or None, options.text("ssl_keyfile") or None
    if keyfile and not certfile:
        options.fault("ssl_certfile", "is missing: ssl_keyfile is the key of a certificate")
    return certfile, keyfile


def _compression(options: Options) -> Compression:
    compression = cast("Compression", options.choice("compression", "none", get_args(Compression)))
    if compression in _COMPRESSED_BY_CRAMJAM and importlib.util.find_spec("cramjam") is None:
        options.fault("compression", f"{compression} needs the Python package cramjam; none and gzip need no package")
    return compression
