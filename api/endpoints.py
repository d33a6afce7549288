"""endpoints.yml: where the other parts of an installation are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.sections import Document, Section, kind_of, secret
from assistant.endpoint import Endpoint
from assistant.secret import Secret
from brokers import InvalidOptions, broker_of
from dialogue.json import dumps
from dialogue.yaml12 import InvalidYaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_FILE: Final = "endpoints.yml"
DEFAULT_PULL_SECONDS: Final = 100.0


class ModelServer(Endpoint, frozen=True, kw_only=True):
    """The server that models are pulled from: every `pull_seconds`, or once at start (None)."""

    pull_seconds: float | None = DEFAULT_PULL_SECONDS


class TrackerStore(msgspec.Struct, frozen=True, kw_only=True):
    """The database that `tracker_store` names. `place` is the section in the words of a message.

    `url` is a host, `host:port`, or a whole URL in place of all other fields; `query` are the connection's parameters.
    """

    place: str
    url: Secret | None = None
    port: int | None = None
    db: str = "rasa.db"
    username: str | None = None
    password: Secret | None = None
    login_db: str | None = None
    query: dict[str, str] = {}


class EventBroker(msgspec.Struct, frozen=True):
    """A section of `event_broker`: type and name of the broker, its place in messages, and all its keys."""

    type: str
    name: str
    place: str
    options: dict[str, Any]
    unknown: tuple[str, ...] = ()  #: keys that mean nothing

    def __repr__(self) -> str:
        """Only type and name: options hold passwords."""
        return f"EventBroker({self.type}, {self.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("type", self.type), ("name", self.name)]


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The file's sections; None where one is missing or empty.

    Attributes:
        file: the file that was read, None when there is none.
        lock_store: whether the section is there; nothing here needs a lock store.
    """

    file: str | None = None
    models: ModelServer | None = None
    nlu: Endpoint | None = None
    action_endpoint: Endpoint | None = None
    nlg: Endpoint | None = None
    tracker_store: TrackerStore | None = None
    event_brokers: tuple[EventBroker, ...] = ()
    lock_store: bool = False


class InvalidEndpoints(ValueError):
    """The file can't be used; `faults` holds a line for each reason, naming file, line and key."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load(path: Path, environ: Mapping[str, str]) -> Endpoints:
    """Read the file, with variables from `environ`.

    Raises:
        InvalidEndpoints: it is not readable, not YAML, or a section is not what it should be.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path), environ)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidEndpoints([f"{path}: {error}"]) from error


def parse(text: str, file: str, environ: Mapping[str, str]) -> Endpoints:
    """The endpoints in a YAML text; `file` names it in messages.

    Raises:
        InvalidEndpoints: it is not YAML, or a section is not what it should be.
    """
    try:
        document = Document(text, file, environ)
    except InvalidYaml as error:
        raise InvalidEndpoints([str(error)]) from error
    endpoints = _Reader(document, document.sections()).endpoints(file)
    if document.faults:
        raise InvalidEndpoints(document.faults)
    return endpoints


def parse_model_server(values: Mapping[str, Any], place: str) -> ModelServer:
    """A model server that was named elsewhere, in the words of the section `models`; `place` says where, in messages.

    Raises:
        InvalidEndpoints: a key is not what it should be.
    """
    document = Document(dumps(values), place, {})
    server = _model_server(Section(document, (), document.sections()))
    if document.faults:
        raise InvalidEndpoints(document.faults)
    return server


class _Reader:
    """Reads the sections of one file."""

    def __init__(self, document: Document, sections: dict[Any, Any]) -> None:
        self._document = document
        self._sections = sections

    def endpoints(self, file: str) -> Endpoints:
        models, store = self._section("models"), self._section("tracker_store")
        return Endpoints(
            file=file,
            models=_model_server(models) if models else None,
            nlu=self._endpoint("nlu"),
            action_endpoint=self._endpoint("action_endpoint"),
            nlg=self._endpoint("nlg"),
            tracker_store=_tracker_store(store) if store else None,
            event_brokers=self._event_brokers(self._sections.get("event_broker")),
            lock_store=self._section("lock_store") is not None,
        )

    def _section(self, name: str) -> Section | None:
        return self._document.section(self._sections, name)

    def _endpoint(self, name: str) -> Endpoint | None:
        section = self._section(name)
        return section.endpoint() if section else None

    def _event_brokers(self, given: Any) -> tuple[EventBroker, ...]:
        if given is None:
            return ()
        sections = list(enumerate(given)) if isinstance(given, list) else [(None, given)]
        brokers = [
            self._event_broker(("event_broker",) if at is None else ("event_broker", at), section)
            for at, section in sections
        ]
        found = [broker for broker in brokers if broker is not None]
        self._refuse_twins(found)
        return tuple(found)

    def _event_broker(self, path: tuple[str | int, ...], section: Any) -> EventBroker | None:
        if not isinstance(section, dict):
            self._document.fault(path, f"must be a mapping, is {kind_of(section)}")
            return None
        if "type" not in section and "store_type" in section:
            section = section | {"type": section["store_type"]}
        try:
            broker = broker_of(section, self._document.environ, self._document.place(path))
        except InvalidOptions as error:
            for key, sentence in error.faults:
                self._document.fault((*path, key), sentence)
            return None
        return EventBroker(broker.kind, broker.name, broker.place, section, broker.unknown)

    def _refuse_twins(self, brokers: list[EventBroker]) -> None:
        seen: set[str] = set()
        for broker in brokers:
            if broker.name in seen:
                self._document.faults.append(
                    f"{broker.place}: two brokers are named {broker.name!r}: give one another `name`"
                )
            seen.add(broker.name)


def _model_server(section: Section) -> ModelServer:
    fields = section.endpoint_fields()
    fields["extra"].pop("wait_time_between_pulls", None)
    return ModelServer(**fields, pull_seconds=_pull_seconds(section))


def _pull_seconds(section: Section) -> float | None:
    """None, and what older documents write for it, asks for one pull at start."""
    given = section.values.get("wait_time_between_pulls", DEFAULT_PULL_SECONDS)
    if given is None or given in ("None", "null", ""):
        return None
    try:
        seconds = -1.0 if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        section.fault("wait_time_between_pulls", f"must be a number of seconds, is {given!r}")
    return seconds or None


def _tracker_store(section: Section) -> TrackerStore | None:
    """None without a type, which asks for the default."""
    if section.type is None:
        return None
    url = section.text("url")
    if not _names_postgres(section, url):
        return None
    return TrackerStore(
        place=section.place,
        url=secret(url),
        port=section.whole("port"),
        db=section.text("db") or "rasa.db",
        username=section.text("username"),
        password=secret(section.text("password")),
        login_db=section.text("login_db"),
        query={str(key): _last(value) for key, value in section.mapping("query").items()},
    )


def _names_postgres(section: Section, url: str | None) -> bool:
    if (section.type or "").lower() != "sql":
        section.fault("type", f"{section.type!r} is not supported. {_ADVICE}")
        return False
    key = "url" if url and "://" in url else "dialect"
    dialect = url.partition("://")[0] if url and key == "url" else section.text("dialect") or "sqlite"
    if dialect.partition("+")[0] in ("postgresql", "postgres"):
        return True
    section.fault(key, f"{dialect!r} is not supported. {_ADVICE}")
    return False


_ADVICE: Final = (
    "The log is kept in Postgres: write `type: SQL` and `dialect: postgresql`, set DATABASE_URL, "
    "or leave tracker_store out to use the embedded one"
)


def _last(value: Any) -> str:
    return str(value[-1]) if isinstance(value, list) and value else str(value)
