"""Which database holds the log: `DATABASE_URL`, else `tracker_store` in endpoints.yml, else an embedded Postgres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from assistant.secret import Secret, public_url

if TYPE_CHECKING:
    from api.endpoints import TrackerStore

_LIBPQ_ONLY: Final = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "tcp_user_timeout",
        "gssencmode",
        "channel_binding",
        "client_encoding",
        "fallback_application_name",
    }
)
"""Parameters that libpq takes for itself. asyncpg would send them to the server, which refuses them."""


class EmbeddedDatabase(msgspec.Struct, frozen=True):
    """A Postgres of our own, with its data in `data_dir`."""

    data_dir: Path

    def __str__(self) -> str:
        return f"the embedded Postgres in {self.data_dir}"


class PostgresDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """A Postgres somewhere.

    Attributes:
        dsn: its URL as asyncpg takes it, everything in it quoted.
        source: the setting that named it, in the words of a message.
        login_dsn: where to connect to create `database`, if that is missing; None: don't create it.
        database: its name; None where the URL names none.
        ignored: parameters of the URL that mean nothing here and were left out.
    """

    dsn: Secret
    source: str
    login_dsn: Secret | None = None
    database: str | None = None
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{public_url(self.dsn.value)} ({self.source})"


DatabaseConfig = EmbeddedDatabase | PostgresDatabase


class InvalidDatabase(ValueError):
    """A database is named in a way that can't be used; the message names the setting, and no password."""


def from_url(url: str, source: str) -> PostgresDatabase:
    """The database of a URL; `source` is the setting that holds it.

    Raises:
        InvalidDatabase: it is not a URL of a Postgres database.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise InvalidDatabase(f"{source}: must begin with postgresql://, and name a Postgres database")
    try:
        parts = urlsplit("postgresql://" + rest)
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise InvalidDatabase(f"{source}: is not a URL (percent-encode what is special in a password)") from error
    if parts.fragment or "@" in parts.path:
        raise InvalidDatabase(f"{source}: percent-encode `/`, `?` and `#` in the user's name and password")
    ignored = tuple(sorted({name for name, _ in parameters} & _LIBPQ_ONLY))
    query = urlencode([pair for pair in parameters if pair[0] not in ignored])
    dsn = f"postgresql://{_quoted(parts.netloc)}{parts.path}" + (f"?{query}" if query else "")
    database = unquote(parts.path.removeprefix("/")) or None
    return PostgresDatabase(dsn=Secret(dsn), source=source, database=database, ignored=ignored)


def from_tracker_store(store: TrackerStore) -> PostgresDatabase:
    """The database of a `tracker_store` section.

    Raises:
        InvalidDatabase: its URL or port can't be used.
    """
    if store.url and "://" in store.url.value:
        return from_url(store.url.value, f"{store.place}.url")
    config = from_url(_dsn(store, store.db), store.place)
    if not store.login_db:
        return config
    return msgspec.structs.replace(config, login_dsn=from_url(_dsn(store, store.login_db), store.place).dsn)


def _dsn(store: TrackerStore, database: str) -> str:
    host, port = _host(store)
    authority = _user(store) + (f"{host}:{port}" if host and port else host)
    # Without a host the server is looked for in the usual places, but an empty host before a port would be a name.
    query = urlencode(store.query | ({"port": str(port)} if port and not host else {}))
    return f"postgresql://{authority}/{quote(database, safe='')}" + (f"?{query}" if query else "")


def _user(store: TrackerStore) -> str:
    if store.username is None:
        return ""
    password = "" if store.password is None else ":" + quote(store.password.value, safe="")
    return quote(store.username, safe="") + password + "@"


def _host(store: TrackerStore) -> tuple[str, int | None]:
    """Quoted host, and port; a port in `url` wins over `port`. A path is the folder of a unix socket."""
    given = store.url.value if store.url else ""
    host, port = (given, None) if given.startswith("/") else _split(given, store.place)
    return quote(host, safe="[]:"), port or store.port


def _split(given: str, place: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{given}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidDatabase(f"{place}.url: is neither a host nor host:port") from error
    return (f"[{host}]" if ":" in host else host), port


def _quoted(netloc: str) -> str:
    """The authority with user and password quoted anew: an `@` or a lone `%` in a password is taken as it stands."""
    user, separator, host = netloc.rpartition("@")
    if not separator:
        return netloc
    return ":".join(quote(unquote(part), safe="") for part in user.split(":", 1)) + "@" + host
