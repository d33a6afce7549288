"""The service as its users run it: the program `turnlog`, in a process and a session of its own."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROGRAM: Final = Path(sys.executable).parent / "turnlog"
SECONDS: Final = 60.0  #: after which something that has not happened never will
_OURS: Final = ("TURNLOG", "DATABASE", "SANIC", "POSTGRESQL", "LOG_LEVEL", "FORCE_JSON")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once `condition` holds; AssertionError names `what` if it never does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never true: {what}"
        time.sleep(0.01)


def _ports() -> Iterator[int]:
    """Ports below those that the kernel gives to outgoing connections, each once.

    A server that was killed finds its port free when it comes back. Processes that test side by side share none.
    """
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    ports = range(20_000 + int(worker.removeprefix("gw")), 32_000, int(workers))
    return iter(random.sample(ports, len(ports)))


_PORTS: Final = _ports()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, that nobody was given before, and no outgoing connection is."""
    return next(port for port in _PORTS if is_free(port))


def is_free(port: int) -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not yet collected does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in ("", "Z")


def children_of(*parents: int) -> dict[int, str]:
    """Pid and command line of every living process whose parent is one of these."""
    command = ["ps", "-ww", "-eo", "pid=,ppid=,stat=,args="]  # ww: the whole line, whatever COLUMNS says
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 3) for line in listed.splitlines()]
    return {int(pid): args for pid, ppid, stat, args in found if int(ppid) in parents and stat[0] != "Z"}


def parent_of(pid: int) -> int:
    """Pid of a process's parent, 0 when there is no such process."""
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(found.stdout.strip() or 0)


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone. 0 would be ourselves, and all that we have started."""
    assert pid > 0, f"{pid} is no process"
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


class Postgres(Struct, frozen=True):
    """The processes of the embedded server of a data directory."""

    data_dir: Path

    @property
    def postmaster(self) -> int:
        """Its pid, 0 when there is none."""
        try:
            pid = int((self.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return 0
        return pid if is_alive(pid) else 0

    @property
    def supervisor(self) -> int:
        """Pid of the process that watches over it, 0 when there is none."""
        return parent_of(self.postmaster) if self.postmaster else 0

    @property
    def is_unattended(self) -> bool:
        """Whether nobody watches over it any more: its supervisor, which ends last, holds a lock on the cluster."""
        opened = os.open(self.data_dir / "postgres", os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(opened)
        return True

    @property
    def processes(self) -> list[int]:
        """The postmaster and all its children."""
        postmaster = self.postmaster
        return [postmaster, *children_of(postmaster)] if postmaster else []

    @property
    def backends(self) -> list[int]:
        """The processes that serve connections of ours."""
        postmaster = self.postmaster
        if not postmaster:
            return []
        return [pid for pid, command in children_of(postmaster).items() if command.startswith("postgres: turnlog")]


class Answer(Struct, frozen=True):
    """An HTTP answer; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Service:
    """One service. `folder` is its working directory, gets its log, and holds its data unless DATABASE_URL is given."""

    def __init__(
        self,
        folder: Path,
        flags: Sequence[str | Path] = ("--enable-api",),
        *,
        environment: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        port: int | None = None,
    ) -> None:
        self.data_dir = data_dir or folder / "data"
        self.port = port or free_port()
        self.log = folder / f"service-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder, self._flags = folder, flags
        self._said = 0  # lines that it had logged before its last start
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment = kept | dict(environment or {})

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process; its output goes to the end of the log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._said = len(self.lines())
        arguments = ["-p", str(self.port), "--data-dir", self.data_dir, *self._flags]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [PROGRAM, "run", *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the parent of its processes."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self.process is not None and self.process.poll() is None

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged, over all its starts."""
        if not self.log.exists():
            return []
        text = self.log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines that say `event`."""
        return [line for line in self.lines() if line["event"] == event]

    def pid_of(self, name: str) -> int:
        """Pid that one of its processes, such as `worker-1`, was started with last; 0 before that."""
        started = [line["pid"] for line in self.logged("process started") if line["process"] == name]
        return started[-1] if started else 0

    @property
    def has_served(self) -> bool:
        """Whether it has come to serve since its last start."""
        return any(line["event"].startswith("serving on") for line in self.lines()[self._said :])

    @property
    def processes(self) -> list[int]:
        """Itself and its children, without Postgres."""
        return [self.pid, *children_of(self.pid)] if self.is_running else []

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, seconds: float = 30
    ) -> Answer:
        """Send a request on a connection of its own; raises OSError or HTTPException when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Answer to a GET."""
        return self.request("GET", path)

    def post(self, conversation: str, events: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Answer to events posted to a conversation."""
        return self.request("POST", f"/conversations/{conversation}/tracker/events", events, headers)

    def answers(self, path: str, status: int = 200) -> bool:
        """Whether a GET is answered with this status by now."""
        try:
            return self.request("GET", path, seconds=5).status == status
        except (OSError, http.client.HTTPException):
            return False

    def wait_until_ready(self) -> None:
        """Return when it serves; AssertionError with the end of its log if it ends before."""
        wait_until(lambda: not self.is_running or self.answers("/readyz"), f"service on port {self.port} serves")
        assert self.is_running, f"the service ended with status {self.status()}:\n{self.log.read_text()[-3000:]}"

    def send(self, number: int) -> None:
        """Send a signal to its first process."""
        send_signal(self.pid, number)

    def status(self) -> int:
        """Wait until its first process ends, and give its exit status; negative: the signal that killed it."""
        assert self.process is not None
        return self.process.wait(SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop, and give its exit status."""
        self.send(number)
        return self.status()

    def kill(self) -> None:
        """Kill -9 its first process, and wait until that is gone. Its children are left to themselves."""
        self.send(signal.SIGKILL)
        self.status()

    def close(self) -> None:
        """End it in whatever state it is, with all its processes."""
        if self.is_running:
            send_signal(self.pid, signal.SIGTERM)
            try:
                self.status()
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                raise
