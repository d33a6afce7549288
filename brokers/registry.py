"""From a section of `event_broker` to a broker: which kind it is, and what every kind can be told."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from msgspec import Struct

from brokers import file_options, kafka_options, rabbitmq_options
from brokers.errors import InvalidOptions
from brokers.options import Options
from brokers.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Mapping

Start = Literal["beginning", "now"]

DEFAULT_TYPE: Final = "pika"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Broker(Struct, frozen=True, kw_only=True):
    """One broker that the log is published to.

    Attributes:
        name: of its checkpoint, its lease and its metrics.
        kind: `pika`, `kafka`, `file`, or the dotted path of a class.
        place: the section in the words of a message: `endpoints.yml:3: event_broker`.
        start: where a broker that was never published to begins.
        publish_imported: whether events of an import are published.
        publisher: makes a publisher, which is not connected yet.
        unknown: keys of the section that mean nothing.
    """

    name: str
    kind: str
    place: str
    start: Start = "beginning"
    publish_imported: bool = True
    publisher: Callable[[], Publisher]
    unknown: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name of its checkpoint and of its lease."""
        return title_of(self.name)


def title_of(name: str) -> str:
    """The name of the checkpoint and of the lease of a broker."""
    return f"relay {name}"


def broker_of(values: Mapping[str, Any], environ: Mapping[str, str], place: str = "event_broker") -> Broker:
    """The broker that a section describes; nothing is connected.

    Raises:
        InvalidOptions: with every key at fault.
    """
    options = Options(values, environ)
    kind = _kind(options)
    name = _name(options, kind)
    start = cast("Start", options.choice("start", "beginning", get_args(Start)))
    publish_imported = options.truth("publish_imported", True)
    publisher = _KINDS.get(kind, _custom)(options, kind, values)
    options.check()
    return Broker(
        name=name,
        kind=kind,
        place=place,
        start=start,
        publish_imported=publish_imported,
        publisher=publisher,
        unknown=options.unknown if kind in _KINDS else (),
    )


def _kind(options: Options) -> str:
    given = options.text("type") or DEFAULT_TYPE
    return given.lower() if given.lower() in _KINDS else given


def _name(options: Options, kind: str) -> str:
    name = options.text("name") or kind
    if not _NAME.fullmatch(name):
        options.fault("name", f"must be 1 to 100 letters, digits, dots, dashes or underscores, is {name!r}")
    return name


def _rabbitmq(options: Options, _kind: str, _values: Mapping[str, Any]) -> Callable[[], Publisher]:
    settings = rabbitmq_options.read(options)

    def publisher() -> Publisher:
        from brokers.rabbitmq import RabbitMQPublisher

        return RabbitMQPublisher(settings)

    return publisher


def _kafka(options: Options, _kind: str, _values: Mapping[str, Any]) -> Callable[[], Publisher]:
    settings = kafka_options.read(options)

    def publisher() -> Publisher:
        from brokers.kafka import KafkaPublisher

        return KafkaPublisher(settings)

    return publisher


def _file(options: Options, _kind: str, _values: Mapping[str, Any]) -> Callable[[], Publisher]:
    settings = file_options.read(options)

    def publisher() -> Publisher:
        from brokers.file import FilePublisher

        return FilePublisher(settings)

    return publisher


def _sql(options: Options, _kind: str, _values: Mapping[str, Any]) -> Callable[[], Publisher]:
    options.fault(
        "type",
        "'SQL' is not needed: the log's own database has a view named `events` in the shape of Rasa's table "
        "(schema turnlog, or POSTGRESQL_SCHEMA); let its readers read that, and remove this section",
    )
    return _nothing


def _custom(options: Options, path: str, values: Mapping[str, Any]) -> Callable[[], Publisher]:
    """A class by its dotted path, looked for in the working directory too, as Rasa does."""
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        options.fault("type", f"{path!r} is none of {', '.join(sorted(_KINDS))}, and no dotted path of a class")
        return _nothing
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds texts
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - a module of somebody else's may fail in any way
        options.fault("type", f"{path!r} can't be imported: {type(error).__name__}: {error}")
        return _nothing
    if not (isinstance(found, type) and issubclass(found, Publisher)):
        options.fault("type", f"{path!r} is no subclass of brokers.Publisher")
        return _nothing
    return lambda: found(values)


def _nothing() -> Publisher:
    raise InvalidOptions([("type", "can't be used")])


_KINDS: Final = {"pika": _rabbitmq, "kafka": _kafka, "file": _file, "sql": _sql}
