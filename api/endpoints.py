"""endpoints.yml: where the other parts of an installation are. Rasa's file, read by Rasa's rules, but stricter.

`${NAME}` in a value or key becomes the environment variable's text, also in quotes, and the result is always a string.
A text that holds a `${...}` has its `$NAME` replaced as well; one that holds only `$NAME` is left alone. A variable
that is not set is a fault: Rasa starts with the literal `${NAME}` instead, and fails later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from assistant.endpoint import BasicAuth, Endpoint
from assistant.secret import Secret
from brokers import InvalidOptions, broker_of
from dialogue.yaml12 import InvalidYaml, load_with_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_FILE: Final = "endpoints.yml"
DEFAULT_PULL_SECONDS: Final = 100.0

_BRACED: Final = re.compile(r"\$\{[^}]*\}")
_VARIABLE: Final = re.compile(r"\$(?:(?P<plain>[A-Za-z0-9_]+)|\{(?P<braced>[^}]*)\})")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
        values, lines = load_with_lines(text, file)
    except InvalidYaml as error:
        raise InvalidEndpoints([str(error)]) from error
    document = _Document(file, lines, environ)
    endpoints = document.endpoints(values)
    if document.faults:
        raise InvalidEndpoints(document.faults)
    return endpoints


class _Document:
    """Reads one file, and gathers its faults."""

    def __init__(self, file: str, lines: Mapping[tuple[str | int, ...], int], environ: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self._file = file
        self._lines = lines
        self._environ = environ

    def endpoints(self, values: Any) -> Endpoints:
        if values is None:
            return Endpoints(file=self._file)
        if not isinstance(values, dict):
            self.fault((), "must be a mapping of sections")
            return Endpoints(file=self._file)
        expanded = self._expanded(values, ())
        models = self._section(expanded, "models")
        return Endpoints(
            file=self._file,
            models=models.model_server() if models else None,
            nlu=self._endpoint(expanded, "nlu"),
            action_endpoint=self._endpoint(expanded, "action_endpoint"),
            nlg=self._endpoint(expanded, "nlg"),
            tracker_store=self._tracker_store(expanded),
            event_brokers=self._event_brokers(expanded),
            lock_store=self._section(expanded, "lock_store") is not None,
        )

    def place(self, path: tuple[str | int, ...]) -> str:
        """`endpoints.yml:3: tracker_store.port`: where a value stands."""
        line = self._lines.get(path)
        name = ".".join(map(str, path))
        return f"{self._file}:{line or 1}" + (f": {name}" if name else "")

    def fault(self, path: tuple[str | int, ...], sentence: str) -> None:
        self.faults.append(f"{self.place(path)}: {sentence}")

    def _section(self, values: dict[Any, Any], name: str) -> _Section | None:
        section = values.get(name)
        if section is None:
            return None
        if isinstance(section, dict):
            return _Section(self, (name,), section)
        self.fault((name,), f"must be a mapping, is {_kind(section)}")
        return None

    def _endpoint(self, values: dict[Any, Any], name: str) -> Endpoint | None:
        section = self._section(values, name)
        return section.endpoint() if section else None

    def _tracker_store(self, values: dict[Any, Any]) -> TrackerStore | None:
        section = self._section(values, "tracker_store")
        return section.tracker_store() if section else None

    def _event_brokers(self, values: dict[Any, Any]) -> tuple[EventBroker, ...]:
        given = values.get("event_broker")
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
            self.fault(path, f"must be a mapping, is {_kind(section)}")
            return None
        if "type" not in section and "store_type" in section:
            section = section | {"type": section["store_type"]}
        try:
            broker = broker_of(section, self._environ, self.place(path))
        except InvalidOptions as error:
            for key, sentence in error.faults:
                self.fault((*path, key), sentence)
            return None
        return EventBroker(broker.kind, broker.name, broker.place, section, broker.unknown)

    def _refuse_twins(self, brokers: list[EventBroker]) -> None:
        seen: set[str] = set()
        for broker in brokers:
            if broker.name in seen:
                self.faults.append(f"{broker.place}: two brokers are named {broker.name!r}: give one another `name`")
            seen.add(broker.name)

    def _expanded(self, value: Any, path: tuple[str | int, ...]) -> Any:
        """The value with variables put in, keys included."""
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, list):
            return [self._expanded(item, (*path, index)) for index, item in enumerate(value)]
        return self._mapping(value, path) if isinstance(value, dict) else value

    def _mapping(self, values: dict[Any, Any], path: tuple[str | int, ...]) -> dict[Any, Any]:
        expanded: dict[Any, Any] = {}
        for key, value in values.items():
            name = self._expanded(key, (*path, key))
            if name in expanded:
                self.fault((*path, key), f"the key {name!r} comes twice")
            expanded[name] = self._expanded(value, (*path, key))
        return expanded

    def _text(self, text: str, path: tuple[str | int, ...]) -> str:
        if _BRACED.search(text) is None:
            return text
        return _VARIABLE.sub(lambda match: self._variable(match["plain"] or match["braced"] or "", path), text)

    def _variable(self, name: str, path: tuple[str | int, ...]) -> str:
        if name in self._environ:
            return self._environ[name]
        if _NAME.fullmatch(name):
            self.fault(path, f"the environment variable {name} is not set")
        else:
            self.fault(path, f"${{{name}}} does not name an environment variable; defaults are not supported")
        return ""


class _Section:
    """Reads one section. A key of the wrong type is a fault of the document, and then counts as absent."""

    def __init__(self, document: _Document, path: tuple[str | int, ...], values: dict[Any, Any]) -> None:
        self._document = document
        self._path = path
        self._values = values
        self._type = self._text("type") or self._text("store_type")

    def endpoint(self) -> Endpoint:
        return Endpoint(**self._endpoint_fields())

    def model_server(self) -> ModelServer:
        fields = self._endpoint_fields()
        fields["extra"].pop("wait_time_between_pulls", None)
        return ModelServer(**fields, pull_seconds=self._pull_seconds())

    def tracker_store(self) -> TrackerStore | None:
        """None without a type, which asks for the default."""
        if self._type is None:
            return None
        url = self._text("url")
        if not self._names_postgres(url):
            return None
        return TrackerStore(
            place=self._document.place(self._path),
            url=_secret(url),
            port=self._whole("port"),
            db=self._text("db") or "rasa.db",
            username=self._text("username"),
            password=_secret(self._text("password")),
            login_db=self._text("login_db"),
            query={str(key): _last(value) for key, value in self._mapping("query").items()},
        )

    def _names_postgres(self, url: str | None) -> bool:
        if (self._type or "").lower() != "sql":
            self._fault("type", f"{self._type!r} is not supported. {_ADVICE}")
            return False
        key = "url" if url and "://" in url else "dialect"
        dialect = url.partition("://")[0] if url and key == "url" else self._text("dialect") or "sqlite"
        if dialect.partition("+")[0] in ("postgresql", "postgres"):
            return True
        self._fault(key, f"{dialect!r} is not supported. {_ADVICE}")
        return False

    def _endpoint_fields(self) -> dict[str, Any]:
        return {
            "url": self._text("url"),
            "params": self._mapping("params"),
            "headers": {str(key): str(value) for key, value in self._mapping("headers").items()},
            "basic_auth": self._basic_auth(),
            "token": _secret(self._text("token")),
            "token_name": self._text("token_name") or "token",
            "cafile": self._text("cafile"),
            "type": self._type,
            "extra": {key: value for key, value in self._values.items() if key not in _ENDPOINT_KEYS},
        }

    def _basic_auth(self) -> BasicAuth | None:
        given = self._mapping("basic_auth")
        if not given:
            return None
        if missing := {"username", "password"} - given.keys():
            self._fault("basic_auth", f"needs a {' and a '.join(sorted(missing))}")
            return None
        return BasicAuth(str(given["username"]), Secret(str(given["password"])))

    def _pull_seconds(self) -> float | None:
        """None, and what older documents write for it, asks for one pull at start."""
        given = self._values.get("wait_time_between_pulls", DEFAULT_PULL_SECONDS)
        if given is None or given in ("None", "null", ""):
            return None
        try:
            seconds = float(given)
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self._fault("wait_time_between_pulls", f"must be a number of seconds, is {given!r}")
        return seconds or None

    def _text(self, key: str) -> str | None:
        """A scalar as text: `db: 5` and `password: 1234` are what they look like."""
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (dict, list)):
            self._fault(key, f"must be text, is {_kind(value)}")
            return None
        return str(value)

    def _whole(self, key: str) -> int | None:
        value = self._text(key)
        if value is None or not value.strip():
            return None
        try:
            return int(value)
        except ValueError:
            self._fault(key, f"must be a whole number, is {value!r}")
            return None

    def _mapping(self, key: str) -> dict[Any, Any]:
        value = self._values.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self._fault(key, f"must be a mapping, is {_kind(value)}")
        return {}

    def _fault(self, key: str, sentence: str) -> None:
        self._document.fault((*self._path, key), sentence)


_ENDPOINT_KEYS: Final = frozenset(
    {"url", "params", "headers", "basic_auth", "token", "token_name", "cafile", "type", "store_type"}
)
_ADVICE: Final = (
    "The log is kept in Postgres: write `type: SQL` and `dialect: postgresql`, set DATABASE_URL, "
    "or leave tracker_store out to use the embedded one"
)


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


def _last(value: Any) -> str:
    return str(value[-1]) if isinstance(value, list) and value else str(value)


def _kind(value: Any) -> str:
    """The value's type in YAML's words; the value itself may be secret."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), "empty")
