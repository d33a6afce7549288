"""Everything the service is told from outside, as one value: from flags, then the environment, then defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from api import credentials, database, endpoints
from api.auth import JWT_METHODS, AuthSettings, InvalidKey, JwtSettings, check_key
from api.credentials import Credentials, InvalidCredentials
from api.database import DatabaseConfig, EmbeddedDatabase, InvalidDatabase
from api.endpoints import Endpoints, InvalidEndpoints
from api.flags import BY_NAME
from api.sources import Given, Sources, parts, truth
from assistant.project import ARCHIVES, is_project
from assistant.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.auth import JwtMethod
    from api.database import PostgresDatabase
    from api.endpoints import TrackerStore

DEFAULT_SCHEMA: Final = "turnlog"
DEFAULT_MODEL: Final = "models"
MAX_IDENTIFIER_BYTES: Final = 63
SHORT_SECRET: Final = 32

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
_OURS: Final = frozenset(
    {
        "WORKERS",
        "BACKLOG",
        "REQUEST_TIMEOUT",
        "RESPONSE_TIMEOUT",
        "KEEP_ALIVE_TIMEOUT",
        "GRACEFUL_SHUTDOWN_TIMEOUT",
        "REQUEST_MAX_SIZE",
        "ACCESS_LOG",
    }
)

Protocol = Literal["UDP", "TCP"]
RasaProtocol = Literal["3.6", "0.9"]
RASA_PROTOCOLS: Final[tuple[RasaProtocol, ...]] = get_args(RasaProtocol)


class Notice(msgspec.Struct, frozen=True):
    """Something that people should read in the log when the service starts."""

    level: Literal["info", "warning"]
    text: str


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files for HTTPS; `ca_file` holds the authorities that sign clients' certificates."""

    certificate: Path
    keyfile: Path | None = None
    ca_file: Path | None = None
    password: Secret | None = None


class Syslog(msgspec.Struct, frozen=True, kw_only=True):
    """A syslog server."""

    address: str = "localhost"
    port: int = 514
    protocol: Protocol = "UDP"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where log lines go.

    Attributes:
        level: the lowest level that is logged.
        libraries: the lowest level of lines from libraries.
        json: one JSON object a line, also on a terminal; otherwise a terminal gets lines for people.
        file: a file that gets the lines as well.
        syslog: a server that gets the lines as well.
        config: a file for `logging.config` that replaces all of the above.
        access: whether each request is logged.
    """

    level: Level = "INFO"
    libraries: Level = "WARNING"
    json: bool = False
    file: Path | None = None
    syslog: Syslog | None = None
    config: Path | None = None
    access: bool = False


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may ask of the HTTP server: times in seconds, sizes in bytes.

    Attributes:
        response_timeout: until an answer begins (`--response-timeout`).
        receive_timeout: until a request has arrived whole (`SANIC_REQUEST_TIMEOUT`).
        keep_alive_timeout: between two requests of a connection (`SANIC_KEEP_ALIVE_TIMEOUT`).
        graceful_shutdown_timeout: for running requests when the service stops (`SANIC_GRACEFUL_SHUTDOWN_TIMEOUT`).
        request_max_size: of a request's body (`SANIC_REQUEST_MAX_SIZE`).
        backlog: connections that wait to be accepted (`SANIC_BACKLOG`).
        storage_timeout: for the database to answer, until a request is refused (`TURNLOG_STORAGE_TIMEOUT`).
    """

    response_timeout: float = 3600
    receive_timeout: float = 60
    keep_alive_timeout: float = 120
    graceful_shutdown_timeout: float = 15
    request_max_size: int = 100_000_000
    backlog: int = 100
    storage_timeout: float = 5


class AssistantSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the assistant works.

    Attributes:
        max_actions: that follow one message, before the bot listens again (`MAX_NUMBER_OF_PREDICTIONS`).
        compresses: whether requests to the action server are deflated (`COMPRESS_ACTION_SERVER_REQUEST`).
    """

    max_actions: int = 10
    compresses: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one service; nothing reads flags or the environment after this value is made.

    Attributes:
        interface: the address to listen on.
        port: the port to listen on.
        enable_api: whether the HTTP API is served.
        protocol: which age of Rasa the tracker endpoints speak, and how conversations go.
        auth: who may use it.
        cors: origins whose pages may call it; `*` for all.
        tls: None without HTTPS.
        limits: time and size limits of HTTP.
        workers: processes that answer requests (`SANIC_WORKERS`).
        sanic: every other `SANIC_<NAME>` of the environment, by name, as Sanic's own configuration.
        logs: where log lines go.
        request_timeout: seconds that the console waits for an answer.
        assistant: how it works.
        model: a model's archive, a folder of archives, or a project's folder; it need not exist.
        nlu_model: the NLU model, where it is apart.
        remote_storage: where to take the model from instead.
        endpoints: the sections of endpoints.yml.
        credentials: the channels to start.
        connector: the one channel to start, where there are several.
        database: where the log is.
        schema: the database's schema that holds the log (`POSTGRESQL_SCHEMA`).
        notices: what to say in the log at start.
    """

    interface: str = "127.0.0.1"
    port: int = 5005
    enable_api: bool = False
    protocol: RasaProtocol = "3.6"
    auth: AuthSettings
    cors: tuple[str, ...] = ()
    tls: Tls | None = None
    limits: Limits = Limits()
    workers: int = 1
    sanic: dict[str, Any] = {}
    logs: LogSettings = LogSettings()
    request_timeout: float = 300
    assistant: AssistantSettings = AssistantSettings()
    model: Path = Path("models")
    nlu_model: str | None = None
    remote_storage: str | None = None
    endpoints: Endpoints
    credentials: Credentials = Credentials(rest=True)
    connector: str | None = None
    database: DatabaseConfig
    schema: str = DEFAULT_SCHEMA
    notices: tuple[Notice, ...] = ()

    @property
    def has_model(self) -> bool:
        """Whether a model is named: by a model server, a remote storage, or a path where there is one."""
        return self.endpoints.models is not None or self.remote_storage is not None or holds_model(self.model)


class InvalidSettings(ValueError):
    """The service can't start; `faults` holds a line for each reason, naming the setting, its value and what to do."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings for these `flags` (by name; absent or None: not given) and this environment.

    Reads the files that they name: secrets, endpoints.yml, keys of JWTs.

    Raises:
        InvalidSettings: with every fault that was found.
    """
    reader = _Reader(Sources(flags, environ))
    settings = reader.settings()
    if reader.faults:
        raise InvalidSettings(reader.faults)
    return settings


class _Reader:
    """Puts the settings together. Faults are gathered by its sources; what people should know by its notices."""

    def __init__(self, sources: Sources) -> None:
        self.faults = sources.faults
        self._sources = sources
        self._notices: list[Notice] = []

    def settings(self) -> Settings:
        sources = self._sources
        auth, parsed = self._auth(), self._endpoints()
        workers, channels = self._workers(), self._credentials()
        self._warn_of_polling(channels, workers)
        return Settings(
            interface=self._interface(auth),
            port=sources.whole("port", 5005),
            enable_api=sources.switch("enable_api"),
            protocol=self._protocol(),
            auth=auth,
            cors=sources.texts("cors"),
            tls=self._tls(),
            limits=self._limits(),
            workers=workers,
            sanic=_sanic(sources.environ),
            logs=self._logs(),
            request_timeout=sources.whole("request_timeout", 300),
            assistant=self._assistant(),
            model=Path(self._text("model") or DEFAULT_MODEL),
            nlu_model=self._text("nlu"),
            remote_storage=self._remote_storage(parsed),
            endpoints=parsed,
            credentials=channels,
            connector=self._text("connector"),
            database=self._database(parsed.tracker_store),
            schema=self._schema(),
            notices=tuple(self._notices),
        )

    def _text(self, name: str) -> str | None:
        given = self._sources.text(name)
        return given.text if given else None

    def _inform(self, text: str) -> None:
        self._notices.append(Notice("info", text))

    def _warn(self, text: str) -> None:
        self._notices.append(Notice("warning", text))

    def _auth(self) -> AuthSettings:
        tokens = tuple(Secret(given.text) for given in self._sources.secret_flag("auth_token"))
        self._sources.secret_flag("jwt_private_key")
        for name in ("auth_token", "jwt_secret", "jwt_private_key", "ssl_password"):
            if self._sources.on_command_line(name):
                flag = BY_NAME[name]
                self._warn(f"{flag.spelling} is visible to everybody on this machine; prefer {flag.variable}_FILE")
        auth = AuthSettings(tokens=tokens, jwt=self._jwt(), webhooks=self._sources.switch("webhook_auth"))
        switch = BY_NAME["webhook_auth"].spelling
        if auth.webhooks and not auth.required:
            self.faults.append(f"{switch}: needs a token or a JWT secret: give --auth-token or --jwt-secret")
        elif auth.required and not auth.webhooks:
            self._warn(f"everybody who reaches the webhooks may write into any conversation; {switch} protects them")
        return auth

    def _jwt(self) -> JwtSettings | None:
        method = self._jwt_method()
        leeway = self._sources.whole("jwt_leeway", 180)
        keys = [key for given in self._sources.secret_flag("jwt_secret") for key in self._jwt_keys(given)]
        for key in keys:
            self._check_key(method, key)
        if not keys:
            return None
        return JwtSettings(secrets=tuple(Secret(key.text) for key in keys), method=method, leeway=leeway)

    def _jwt_method(self) -> JwtMethod:
        given = self._sources.text("jwt_method")
        if given is None:
            return "HS256"
        for method in JWT_METHODS:
            if method == given.text:
                return method
        self.faults.append(f"{given.source}: must be one of {', '.join(JWT_METHODS)}, is {given.text!r}")
        return "HS256"

    def _jwt_keys(self, given: Given) -> list[Given]:
        """The keys in a literal or, where it is the path of a file, in the file.

        Rasa takes such a file's whole text as the secret, with the end of its last line: that is accepted as well.
        """
        if not _is_file(given.text):
            return [given]
        text = self._sources.read(given.text, given.source) or ""
        keys = parts(Given(text, f"{given.source} ({given.text})"))
        if not keys:
            self.faults.append(f"{given.source}: {given.text}: is empty")
        return [*keys, Given(text, keys[0].source)] if len(keys) == 1 and text != keys[0].text else keys

    def _check_key(self, method: JwtMethod, key: Given) -> None:
        if not key.text.strip():
            return
        try:
            check_key(method, key.text)
        except InvalidKey as error:
            self.faults.append(f"{key.source}: {error}")
        if method.startswith("HS") and len(key.text) < SHORT_SECRET:
            self._warn(f"{key.source}: a secret of less than {SHORT_SECRET} characters can be guessed")

    def _interface(self, auth: AuthSettings) -> str:
        given = self._text("interface")
        if given is None and auth.required:
            return "0.0.0.0"  # noqa: S104 - a service that asks for credentials is there for other machines
        if given is None:
            self._warn("no authentication is configured: listening on 127.0.0.1 only, unless -i names an interface")
            return "127.0.0.1"
        if not auth.required and given not in ("127.0.0.1", "localhost", "::1"):
            self._warn(f"no authentication is configured: everybody who reaches {given} may read and write")
        return given

    def _protocol(self) -> RasaProtocol:
        given = self._sources.text("protocol")
        for protocol in RASA_PROTOCOLS:
            if given is None or protocol == given.text:
                return protocol
        assert given is not None
        self.faults.append(f"{given.source}: must be one of {', '.join(RASA_PROTOCOLS)}, is {given.text!r}")
        return "3.6"

    def _tls(self) -> Tls | None:
        names = ("ssl_certificate", "ssl_keyfile", "ssl_ca_file")
        certificate, keyfile, ca_file = (self._sources.file(name) for name in names)
        password = self._sources.secret_flag("ssl_password")
        if certificate is None:
            return None
        secret = Secret(password[0].text) if password else None
        return Tls(certificate=certificate, keyfile=keyfile, ca_file=ca_file, password=secret)

    def _limits(self) -> Limits:
        number = self._sources.number
        return Limits(
            response_timeout=self._sources.whole("response_timeout", 3600),
            receive_timeout=number("SANIC_REQUEST_TIMEOUT", 60),
            keep_alive_timeout=number("SANIC_KEEP_ALIVE_TIMEOUT", 120),
            graceful_shutdown_timeout=number("SANIC_GRACEFUL_SHUTDOWN_TIMEOUT", 15),
            request_max_size=int(number("SANIC_REQUEST_MAX_SIZE", 100_000_000)),
            backlog=int(number("SANIC_BACKLOG", 100)),
            storage_timeout=number("TURNLOG_STORAGE_TIMEOUT", 5),
        )

    def _assistant(self) -> AssistantSettings:
        compress = self._sources.variable("COMPRESS_ACTION_SERVER_REQUEST")
        return AssistantSettings(
            max_actions=int(self._sources.number("MAX_NUMBER_OF_PREDICTIONS", 10)),
            compresses=compress is not None and truth(compress.text) is True,
        )

    def _workers(self) -> int:
        """As in Rasa, a number that makes no sense means one worker."""
        given = self._sources.variable("SANIC_WORKERS")
        if given is None:
            return 1
        if given.text.strip().isdecimal() and int(given.text) > 0:
            return int(given.text)
        self._warn(f"SANIC_WORKERS: {given.text!r} is not a number of workers; starting one")
        return 1

    def _logs(self) -> LogSettings:
        sources = self._sources
        return LogSettings(
            level=self._level(),
            libraries=self._named_level("LOG_LEVEL_LIBRARIES", "WARNING"),
            json=sources.says_so("FORCE_JSON_LOGGING"),
            file=_path(self._text("log_file")),
            syslog=self._syslog() if sources.switch("use_syslog") else None,
            config=sources.file("logging_config_file"),
            access=sources.switch("access_log"),
        )

    def _level(self) -> Level:
        levels: tuple[tuple[str, Level], ...] = (("debug", "DEBUG"), ("verbose", "INFO"), ("quiet", "WARNING"))
        for asked in (self._sources.on_command_line, self._sources.switch):
            for name, level in levels:
                if asked(name):
                    return level
        return self._named_level("LOG_LEVEL", "INFO")

    def _named_level(self, variable: str, default: Level) -> Level:
        given = self._sources.variable(variable)
        if given is None:
            return default
        for level in LEVELS:
            if level == given.text.strip().upper():
                return level
        self.faults.append(f"{variable}: must be one of {', '.join(LEVELS)}, is {given.text!r}")
        return default

    def _syslog(self) -> Syslog:
        protocol = self._text("syslog_protocol") or "UDP"
        if protocol.upper() not in ("UDP", "TCP"):
            self.faults.append(f"--syslog-protocol: must be UDP or TCP, is {protocol!r}")
        return Syslog(
            address=self._text("syslog_address") or "localhost",
            port=self._sources.whole("syslog_port", 514),
            protocol="TCP" if protocol.upper() == "TCP" else "UDP",
        )

    def _endpoints(self) -> Endpoints:
        path = self._endpoints_file()
        if path is None:
            return Endpoints()
        try:
            parsed = endpoints.load(path, self._sources.environ)
        except InvalidEndpoints as error:
            self.faults.extend(error.faults)
            return Endpoints()
        if parsed.lock_store:
            self._inform(f"{path}: lock_store is not needed here, and is ignored")
        for broker in parsed.event_brokers:
            if broker.unknown:
                self._warn(f"{broker.place}: nothing is known of {', '.join(broker.unknown)}; ignored")
        return parsed

    def _endpoints_file(self) -> Path | None:
        """The file that is given, else the default one, else none: as in Rasa a missing file is not a fault."""
        given, default = self._text("endpoints"), Path(endpoints.DEFAULT_FILE)
        if given and Path(given).exists():
            return Path(given)
        found = default if default.exists() else None
        if given and given != endpoints.DEFAULT_FILE:
            self._warn(f"--endpoints: {given}: no such file; " + (f"using {found}" if found else "going on without"))
        return found

    def _remote_storage(self, parsed: Endpoints) -> str | None:
        """As in Rasa, a model server comes first, and then the storage is not even looked at."""
        given = self._sources.text("remote_storage")
        if given is None:
            return None
        if parsed.models is not None:
            self._inform(f"{given.source}: {parsed.file} has a section `models`: the storage is ignored")
            return None
        from assistant.fetching import storage  # what fetches takes long to load, and few settings name a storage

        faults = storage.faults_of(given.text, self._sources.environ)
        self.faults.extend(f"{given.source} {given.text}: {fault}" for fault in faults)
        return given.text

    def _credentials(self) -> Credentials:
        path, connector = self._credentials_file(), self._text("connector")
        if path is None and connector is None:
            self._inform("no channels are configured: there is `rest`, at /webhooks/rest/webhook")
            return Credentials(rest=True)
        try:
            if path is None:
                return credentials.parse("", "--connector", connector, self._sources.environ)
            found = credentials.load(path, connector, self._sources.environ)
        except InvalidCredentials as error:
            self.faults.extend(error.faults)
            return Credentials()
        for name in found.ignored:
            self._inform(f"{path}: the channel {name!r} has no meaning here, and is ignored")
        return found

    def _warn_of_polling(self, channels: Credentials, workers: int) -> None:
        if channels.socketio is not None and workers > 1:
            self._warn(
                "SANIC_WORKERS: socketio takes connections by websocket alone, since requests of long polling "
                "would reach several workers; pages need the setting transports: ['websocket']"
            )

    def _credentials_file(self) -> Path | None:
        given, default = self._text("credentials"), Path(credentials.DEFAULT_FILE)
        if given and not Path(given).exists():
            self.faults.append(f"--credentials: {given}: no such file")
            return None
        return Path(given) if given else default if default.exists() else None

    def _database(self, store: TrackerStore | None) -> DatabaseConfig:
        try:
            return self._named_database(store) or self._embedded()
        except InvalidDatabase as error:
            self.faults.append(str(error))
            return self._embedded()

    def _named_database(self, store: TrackerStore | None) -> PostgresDatabase | None:
        url = self._sources.secret_variable("DATABASE_URL")
        if url:
            named = database.from_url(url.text, url.source)
        elif store:
            named = database.from_tracker_store(store)
        else:
            return None
        if url and store:
            self._inform(f"{url.source} is set: {store.place} is ignored")
        if named.ignored:
            self._warn(f"{named.source}: parameters without a meaning here are ignored: {', '.join(named.ignored)}")
        return named

    def _embedded(self) -> EmbeddedDatabase:
        given = self._text("data_dir")
        return EmbeddedDatabase((Path(given) if given else self._share() / "turnlog").absolute())

    def _share(self) -> Path:
        """The folder for programs' data, as the XDG base directories say."""
        environ = self._sources.environ
        if share := environ.get("XDG_DATA_HOME"):
            return Path(share)
        if home := environ.get("HOME"):
            return Path(home, ".local", "share")
        self.faults.append("there is no home folder for the embedded Postgres: give --data-dir, or set DATABASE_URL")
        return Path()

    def _schema(self) -> str:
        given = self._sources.variable("POSTGRESQL_SCHEMA")
        if given is None:
            return DEFAULT_SCHEMA
        if not given.text.strip() or len(given.text.encode()) > MAX_IDENTIFIER_BYTES:
            self.faults.append(f"POSTGRESQL_SCHEMA: must be a name of 1 to {MAX_IDENTIFIER_BYTES} bytes")
        return given.text


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _is_file(text: str) -> bool:
    """Whether a secret is the path of a file; a text that can't be a path is not."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def _sanic(environ: Mapping[str, str]) -> dict[str, Any]:
    """Sanic's settings that are not settings of ours, converted as Sanic does it."""
    names = (name for name in environ if name.startswith("SANIC_"))
    given = {name.removeprefix("SANIC_"): environ[name] for name in names}
    return {
        name: _converted(text)
        for name, text in given.items()
        if name.isupper() and name not in _OURS and not name.startswith("JWT_")
    }


def _converted(text: str) -> int | float | bool | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    meant = truth(text)
    return text if meant is None else meant


def holds_model(path: Path) -> bool:
    """Whether there is an archive, a folder with archives, or a project's folder."""
    if not path.is_dir():
        return path.is_file()
    return is_project(path) or any(child.name.endswith(ARCHIVES) for child in path.iterdir())
