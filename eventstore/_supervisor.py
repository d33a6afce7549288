"""The process that owns one embedded Postgres. `eventstore.embedded` starts it, by this file's path.

It imports the standard library alone, because every start of the service waits for these imports.

Three rules hold it together:

* Who starts or stops the server holds the lock on the data directory. The starter's lock is inherited here and
  given up when the server is ready; it is taken again before the server stops.
* A user is a connection: the kernel ends it with its process, however that dies. The starter's connection is
  inherited, so a starter that dies early is noticed too. Without users the server stops.
* Nothing outlives this process: the kernel tells the server to stop when its parent dies (Linux); elsewhere the
  next start stops the server that it finds.

SIGTERM, SIGINT and SIGHUP do nothing: a machine that shuts down sends them to everything at once, and the service
must be able to write until it has drained.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLUSTER = "postgres"
LOG = "postgres.log"
CONTROL = "control"
PORT = 5432
SUPERUSER = "turnlog"

_SOCKETS = "sockets"
_UNFINISHED = "postgres.init"
_ROTATED_LOG = "postgres.log.1"
_LOG_BYTES = 10 * 1024 * 1024
_LONGEST_SOCKET_PATH = 103  # of sockaddr_un: 107 on Linux, 103 on macOS
_POLL_SECONDS = 0.002
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_PATIENT_FAILURES = 4
_STOP_SECONDS = 10.0
_QUIT_SECONDS = 60.0
_CLAIM_SECONDS = 1.0
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_INNER_ID = 1000


class Order(NamedTuple):
    """What to run: `sockets`, `binaries` and `home` (the data directory) are absolute; `settings` are `name=value`."""

    home: Path
    sockets: Path
    binaries: Path
    version: str
    settings: Sequence[str]


class CannotRun(Exception):
    """The server cannot run here; the message is a sentence for the user who waits."""


def lock(home: Path) -> int:
    """Wait for the data directory's lock, and return the descriptor that holds it until its last copy is closed.

    The directory itself is locked: a lock file would belong to whoever came first, root for instance.
    """
    held = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def sockets_of(home: Path) -> Path:
    """Name the directory of the sockets: inside the data directory, or a short one when no socket address can say that.

    Commas separate directories in Postgres's own settings, and addresses are counted in bytes.
    The short name depends on the data directory alone. TMPDIR and XDG_RUNTIME_DIR differ between a shell and a
    service on one machine, which would then not find each other, and the latter vanishes when its user logs out.
    """
    inside = home / _SOCKETS
    longest = f"{inside}/.s.PGSQL.{PORT}"
    if longest.isascii() and "," not in longest and len(longest) <= _LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()
    return Path("/tmp", f"turnlog-{digest[:24]}")  # noqa: S108 - owner and mode are checked before every use


def is_private(directory: Path, owners: set[int]) -> bool:
    """Tell whether `directory` is a real directory of one of `owners` that nobody else can enter."""
    found = directory.lstat()
    return directory.is_dir() and not directory.is_symlink() and found.st_uid in owners and not found.st_mode & 0o077


# --------------------------------------------------------------------------------------------------------- who we are


def leave_root(home: Path) -> None:
    """Become somebody Postgres agrees to run as; a normal user stays who it is.

    A data directory of a normal user is served as that user. One of root's is served in a user namespace that shows
    root's files as those of a normal user: no file and no account is changed. Where namespaces are forbidden (most
    containers), the directory is given to `postgres` or `nobody`, who owns it from then on.
    """
    if os.geteuid() != 0:
        return
    owner = home.stat()
    if owner.st_uid != 0:
        _become(owner.st_uid, owner.st_gid)
    elif not _enter_user_namespace():
        account = _account_without_rights()
        _give(home, account)
        _become(account.pw_uid, account.pw_gid)


def _enter_user_namespace() -> bool:
    if sys.platform != "linux":
        return False
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_INNER_ID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_INNER_ID} {gid} 1")
    return True


def _account_without_rights() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotRun("Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`")


def _give(home: Path, account: pwd.struct_passwd) -> None:
    """Make `home` the account's, unless it holds files that are not ours: somebody may have named `/etc`."""
    if strangers := {entry.name for entry in home.iterdir()} - {CLUSTER, _UNFINISHED, LOG, _ROTATED_LOG, _SOCKETS}:
        raise CannotRun(f"{home} cannot be given to user `{account.pw_name}`, since it holds {min(strangers)} too")
    for path in (home, *home.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _check_access(order: Order) -> None:
    """A directory above may be closed to the user that we have become; Postgres would not say so."""
    for path, mode in ((order.home, os.R_OK | os.W_OK | os.X_OK), (order.binaries / "postgres", os.X_OK)):
        if not os.access(path, mode):
            raise CannotRun(f"user {os.geteuid()}, as whom Postgres must run, has no access to {path}")


# ------------------------------------------------------------------------------------------------------ the directory


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if not is_private(directory, {os.geteuid()}):
        raise CannotRun(f"{directory} must be a directory of user {os.geteuid()} with mode 0700; remove or repair it")


def _log_to(path: Path) -> None:
    """Send everything that is written from here on to the log, of which two generations are kept."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(_ROTATED_LOG))
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)


def _claim(cluster: Path) -> None:
    """Hold the cluster for the life of this process.

    A control socket that somebody deleted looks like no supervisor at all; this notices that there is one. One that was
    killed a moment ago may still hold the cluster while the kernel clears it away.
    """
    held = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _CLAIM_SECONDS
    while not _locked_at_once(held):
        if time.monotonic() > deadline:
            raise CannotRun(f"a server already runs on {cluster}, but its control socket is gone; stop that one")
        time.sleep(_POLL_SECONDS)


def _locked_at_once(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_cluster(order: Order, held: int) -> None:
    """Run initdb beside the final place and rename, so that a cluster is whole or absent.

    initdb inherits the lock: should we die, the next starter waits until it has ended too.
    """
    cluster, unfinished = order.home / CLUSTER, order.home / _UNFINISHED
    if (cluster / "PG_VERSION").exists():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    subprocess.run(  # noqa: S603 - our own arguments, no shell
        [order.binaries / "initdb", "-D", unfinished, "-U", SUPERUSER, *_INITDB, *_locale(order.version)],
        check=True,
        env=_environment(),
        pass_fds=[held],
        preexec_fn=_dying_with_parent(),
    )
    unfinished.rename(cluster)
    _flush(order.home)


_INITDB = (
    "--auth-local=trust",  # the socket's directory is closed to others
    "--auth-host=reject",
    "--encoding=UTF8",
    "--data-checksums",
)


def _locale(version: str) -> list[str]:
    """Order text by code point, which no upgrade of the operating system's library can change."""
    if int(version.split(".")[0]) < 17:
        return ["--locale=C"]
    return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _flush(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(opened)
    os.close(opened)


# --------------------------------------------------------------------------------------------------------- the server


def _dying_with_parent() -> Callable[[], None] | None:
    """Make the child stop when this process dies. Linux only; called between fork and exec, in a single thread."""
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))  # a gentler one may be waited for in vain: see Postmaster.stop
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie


class Postmaster:
    """The server of one cluster, as a child of this process."""

    def __init__(self, order: Order) -> None:
        self._pid_file = order.home / CLUSTER / "postmaster.pid"
        self._command = [str(order.binaries / "postgres"), "-D", str(order.home / CLUSTER)]
        for setting in (*order.settings, f"port={PORT}", f"unix_socket_directories={order.sockets}"):
            self._command += ["-c", setting]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server. The caller knows that none runs on this cluster.

        A crashed server leaves its pid file, and an unrelated process may have its number by now, in a container
        often our own parent. Postgres would refuse to start. The file must not be deleted, for it also guards the
        shared memory of processes that the crash left; Postgres passes over the one pid that it is told here.
        """
        environment = _environment()
        if stale := self._recorded():
            self._end_leftovers()
            environment["PG_GRANDPARENT_PID"] = stale[0]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            self._command, env=environment, preexec_fn=_dying_with_parent()
        )

    @property
    def runs(self) -> bool:
        """Whether there is a server process of ours."""
        return self._process is not None and self._process.poll() is None

    @property
    def accepts(self) -> bool:
        """Whether the server takes connections. A stale file says so too, but with another pid."""
        recorded = self._recorded()
        return (
            bool(recorded)
            and recorded[-1] == "ready"
            and self._process is not None
            and recorded[0] == str(self._process.pid)
        )

    def stop(self) -> None:
        """Stop: roll open transactions back, write a checkpoint; if that takes too long, leave it to recovery.

        It takes for ever when the server is just recovering because one of its processes has crashed: up to version 18
        it then waits for the end of processes that nobody has told to end.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def stop_earlier(self) -> None:
        """Stop a server that has outlived its supervisor, which the kernel does for us on Linux, if we wait.

        What one that crashed has left is ended as well.
        """
        if recorded := self._recorded():
            self._stop(int(recorded[0]))
            self._end_leftovers()

    def _stop(self, pid: int) -> None:
        if not _serves(pid, self._pid_file.parent):
            return
        if not (self._ends(pid, signal.SIGINT, _STOP_SECONDS) or self._ends(pid, signal.SIGQUIT, _QUIT_SECONDS)):
            raise CannotRun(f"process {pid}, the server of an earlier run, does not stop")

    def _end_leftovers(self) -> None:
        """End the processes of a server that has crashed; while there is one, Postgres refuses to start.

        Most end by themselves. One that waits for what a killed process held in shared memory waits for ever.
        """
        for pid in _leftovers(self._pid_file.parent):
            self._ends(pid, signal.SIGKILL, _STOP_SECONDS)

    def _ends(self, pid: int, number: int, seconds: float) -> bool:
        """Whether a process of a server that is not our child has ended in time after a signal."""
        with suppress(ProcessLookupError):  # the kernel may have told it already
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while _serves(pid, self._pid_file.parent):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)  # nothing tells of its end
        return True

    def _recorded(self) -> list[str]:
        try:
            return self._pid_file.read_text().split()
        except FileNotFoundError:
            return []


if sys.platform == "linux":

    def _serves(pid: int, cluster: Path) -> bool:
        """Tell whether process `pid` is a server on `cluster`: servers work in that directory."""
        try:
            return Path(f"/proc/{pid}/cwd").samefile(cluster)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def _leftovers(cluster: Path) -> list[int]:
        """The processes of a server on `cluster` that has ended itself. A person's shell may be there too."""
        pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in pids if _serves(pid, cluster) and _is_postgres(pid)]

    def _is_postgres(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
        except (FileNotFoundError, ProcessLookupError):
            return False

else:

    def _serves(pid: int, cluster: Path) -> bool:
        """Tell whether process `pid` is a server on `cluster`, by the command that `Postmaster` starts it with."""
        command = subprocess.run(  # noqa: S603 - our own arguments, no shell
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return f"-D {cluster} " in command.stdout

    def _leftovers(cluster: Path) -> list[int]:
        """Nobody tells here where the processes of a server work; they are waited for."""
        return []


# ---------------------------------------------------------------------------------------------------------- the users


def _do_nothing(*_: object) -> None:
    """Handle a signal by going on."""


class Users:
    """The connections of the processes that use the server, and the news of the server's own end."""

    def __init__(self, first: socket.socket, control: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._here: set[socket.socket] = set()
        self._untold: set[socket.socket] = set()
        self._leaving: list[socket.socket] = []
        self._listen(control)
        self._wake_when_a_child_ends()
        self._welcome(first)

    def __bool__(self) -> bool:
        return bool(self._here)

    def wait(self, seconds: float | None) -> None:
        """Return when somebody came or went, when a child ended, or when the time is over."""
        for key, _ in self._selector.select(seconds):
            key.data()

    def tell(self, news: str) -> None:
        """Say it to everybody who has not been told anything yet."""
        for user in self._untold:
            try:
                user.sendall(f"{news}\n".encode())
            except ConnectionError:
                continue  # gone, and the selector will say so
        self._untold.clear()

    def dismiss_untold(self, news: str) -> None:
        """Say it to everybody who has not been told anything yet, and end their connections."""
        dismissed = set(self._untold)
        self.tell(news)
        for user in dismissed:
            self._forget(user)

    def accept(self) -> None:
        """Welcome everybody who has connected."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            self._welcome(connection)

    def _listen(self, control: Path) -> None:
        control.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(control))
        self._listener.listen(socket.SOMAXCONN)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self.accept)

    def _wake_when_a_child_ends(self) -> None:
        reader, self._alarm = socket.socketpair()
        for end in (reader, self._alarm):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _do_nothing)  # without a handler the next line would have nothing to report
        signal.set_wakeup_fd(self._alarm.fileno(), warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ, partial(reader.recv, 4096))

    def _welcome(self, user: socket.socket) -> None:
        user.setblocking(False)
        self._here.add(user)
        self._untold.add(user)
        self._let_go()
        self._selector.register(user, selectors.EVENT_READ, partial(self._hear, user))

    def _hear(self, user: socket.socket) -> None:
        try:
            gone = not user.recv(4096)
        except ConnectionError:
            gone = True
        if gone:
            self._forget(user)

    def _forget(self, user: socket.socket) -> None:
        self._selector.unregister(user)
        self._here.discard(user)
        self._untold.discard(user)
        self._leaving.append(user)
        if self._here:
            self._let_go()

    def _let_go(self) -> None:
        """End the connections of those who left while others stay. The last one's ends with the server, or with us."""
        while self._leaving:
            self._leaving.pop().close()


# -------------------------------------------------------------------------------------------------------- the watching


class Supervisor:
    """Keeps the server running while there are users."""

    def __init__(self, order: Order, held: int, users: Users) -> None:
        self._order = order
        self._lock: int | None = held
        self._users = users
        self._server = Postmaster(order)
        self._accepts = False
        self._started = 0.0
        self._failures = 0
        self._next_start: float | None = None

    def run(self) -> None:
        """Serve until nobody is left, and return with the lock held and the server stopped."""
        self._start()
        while self._users or self._somebody_came():
            self._look()
            self._users.wait(self._patience())
        self._server.stop()

    def _somebody_came(self) -> bool:
        """Close the door: a starter connects while it holds the lock, so with the lock in hand look once more."""
        if self._lock is None:
            self._lock = lock(self._order.home)
        self._users.accept()
        if self._users:
            self._unlock()
        return bool(self._users)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start(self) -> None:
        self._server.start()
        self._started = time.monotonic()
        self._next_start = None

    def _patience(self) -> float | None:
        """How long nothing but an event matters. Postgres announces its readiness only in its pid file: look often."""
        if self._next_start is not None:
            return max(0.0, self._next_start - time.monotonic())
        return None if self._accepts else _POLL_SECONDS

    def _look(self) -> None:
        if self._next_start is not None:
            if time.monotonic() >= self._next_start:
                self._start()
        elif not self._server.runs:
            self._pause()
        elif self._accepts or self._server.accepts:
            self._ready()

    def _ready(self) -> None:
        self._accepts = True
        self._unlock()
        self._users.tell(f"ready {self._order.version}")

    def _pause(self) -> None:
        """Wait a little before the next start, longer each time, for as long as the server keeps falling over."""
        steady = time.monotonic() - self._started > _STEADY_SECONDS
        self._failures = 1 if steady else self._failures + 1
        if not self._accepts and self._failures >= _PATIENT_FAILURES:
            self._users.dismiss_untold("failed Postgres ends at once, each time it is started")
        self._accepts = False
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1))
        self._next_start = time.monotonic() + pause


def _supervise(order: Order, held: int, first: socket.socket) -> None:
    cluster, control = order.home / CLUSTER, order.sockets / CONTROL
    if found := cluster.exists():
        _claim(cluster)
        Postmaster(order).stop_earlier()  # still as root, who may look at every process
    leave_root(order.home)
    _check_access(order)
    _make_private(order.sockets)
    _log_to(order.home / LOG)
    _make_cluster(order, held)
    if not found:
        _claim(cluster)
    Supervisor(order, held, Users(first, control)).run()
    control.unlink(missing_ok=True)
    if order.sockets.parent != order.home:
        _remove_if_empty(order.sockets)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as reason:
        if reason.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _detach() -> None:
    """Leave the starter, which then has no child to wait for, and everything that came from its terminal."""
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for passed_over in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(passed_over, _do_nothing)  # SIG_IGN would be inherited, and Postgres deaf to its first signals


def main(arguments: Sequence[str]) -> None:
    """Run as: home, sockets, binaries, version, descriptors of the lock and of the first user, settings …"""
    home, sockets, binaries, version, held, user, *settings = arguments
    _detach()
    first = socket.socket(fileno=int(user))
    try:
        _supervise(Order(Path(home), Path(sockets), Path(binaries), version, settings), int(held), first)
    except (CannotRun, OSError, subprocess.CalledProcessError) as reason:
        first.sendall(f"failed {reason}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
