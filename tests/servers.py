"""What the brokers that tests start have in common: they can be ended in every way, and outlive no test session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from tests.service import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECONDS: Final = 60.0  #: after which a server that has not ended never will
_GUARD: Final = Path(__file__).with_name("guard.py")
_Part = TypeVar("_Part")


def free_ports(count: int) -> list[int]:
    """So many different ports of 127.0.0.1 that nobody listens on."""
    return [free_port() for _ in range(count)]


def accepts(port: int, hello: bytes = b"") -> bool:
    """Whether somebody listens on a port of 127.0.0.1, and answers when greeted."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(hello)
            return not hello or bool(connection.recv(1))
    except OSError:
        return False


class Guarded:
    """A process with a guard, which may be started again after its end. Its output goes to the end of `log`."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self.pid = 0  #: of the process itself
        self._command = command
        self._environment = dict(environment)
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether anything of it runs."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> None:
        """Start it, with nothing of an earlier run left."""
        self.close()
        with self.log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", _GUARD, *self._command],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    def send(self, number: int) -> None:
        """Send a signal to the process itself, which runs."""
        assert self.is_running, f"process {self.pid} has ended, see {self.log}"
        os.kill(self.pid, number)

    def end(self, number: int) -> None:
        """End it by a signal; when this returns, everything that it started is gone too."""
        self.send(number)
        assert self._guard is not None
        self._guard.wait(SECONDS)

    def close(self) -> None:
        """Kill everything of it that there still is."""
        if self._guard is None:
            return
        for pipe in (self._guard.stdin, self._guard.stdout):
            assert pipe is not None
            pipe.close()
        self._guard.wait(SECONDS)


class Server(ABC):
    """A server of our own, or the one that a variable of the environment names, to which nothing is done here."""

    name: ClassVar[str]
    variable: ClassVar[str]

    def __init__(self, process: Guarded | None) -> None:
        self._process = process

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves by now."""

    def own(self, part: _Part | None) -> _Part:
        """What only a server of our own has; AssertionError when it isn't ours."""
        assert part is not None, (
            f"this test needs a {self.name} of its own, and {self.variable} names another one: unset it"
        )
        return part

    @property
    def process(self) -> Guarded:
        """Our own server's process."""
        return self.own(self._process)

    def start_again(self) -> None:
        """Start it on the data and the ports that it has, and wait until it serves."""
        self.process.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it serves; AssertionError with the end of its log if it ends before."""
        process = self.process
        wait_until(lambda: not process.is_running or self.is_ready, f"{self.name} serves, see {process.log}")
        assert process.is_running, f"{self.name} ended:\n{process.log.read_text()[-3000:]}"

    def stop(self) -> None:
        """Stop it in good order."""
        self.process.end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9 all its processes at once."""
        self.process.end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start_again()

    @contextmanager
    def down(self) -> Iterator[None]:
        """It is killed, and comes back at the end of the block, whatever happens in it."""
        self.kill()
        try:
            yield
        finally:
            self.start_again()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections, but neither reads nor answers."""
        self.process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send(signal.SIGCONT)

    def close(self) -> None:
        """End it in whatever state it is, if it is ours."""
        if self._process is not None:
            self._process.close()
