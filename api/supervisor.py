"""The parent of all processes of a service: starts them, starts again what dies, stops all in order.

It serves nothing itself. Sanic's own manager is not used: it does not restart a worker that died, kills its whole
process group when one can't start, and leaves the workers behind when it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import FrameType

    from eventstore import Database

log = structlog.get_logger("turnlog.supervisor")

STABLE_SECONDS: Final = 10.0  #: after which a process that dies is restarted at once
MAX_PAUSE: Final = 5.0  #: seconds before a process that keeps dying is started again


class Child:
    """A process that is started again whenever it dies."""

    def __init__(self, name: str, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.process: SpawnProcess | None = None
        self.start_at = 0.0  #: monotonic time before which it is not started again
        self._target, self._arguments = target, arguments
        self._pipe: Connection | None = None
        self._started = self._pause = 0.0

    def start(self) -> None:
        """Start the process; it waits for the database before it works."""
        context = multiprocessing.get_context("spawn")
        theirs, self._pipe = context.Pipe()
        self.process = context.Process(target=self._target, args=(*self._arguments, theirs), name=self.name)
        self.process.start()
        theirs.close()
        self._started = time.monotonic()
        log.info("process started", process=self.name, pid=self.process.pid)

    def send(self, database: Database) -> None:
        """Tell the process which database to use."""
        assert self._pipe is not None
        try:
            self._pipe.send(database)
        except BrokenPipeError:
            log.warning("process ended before it could work", process=self.name)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it lives."""
        if self.process is not None and self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def note_death(self) -> None:
        """Plan the next start: at once after a long life, ever later after short ones."""
        assert self.process is not None
        assert self._pipe is not None
        lived = time.monotonic() - self._started
        self._pause = 0.0 if lived > STABLE_SECONDS else min(MAX_PAUSE, 2 * self._pause or 0.1)
        self.start_at = time.monotonic() + self._pause
        log.error("process died, it is started again", process=self.name, exit_code=self.process.exitcode)
        self.process.close()
        self._pipe.close()
        self.process = None


class Supervisor:
    """Keeps children alive until a signal says stop. Closes the socket that they share before they end."""

    def __init__(self, children: list[Child], listener: socket.socket, *, grace: float) -> None:
        self._children = children
        self._listener = listener
        self._grace = grace
        self._stopping = False
        self._wakeup, self._wake = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wake.setblocking(False)

    def start(self) -> None:
        """Start every child. A first signal from now on stops the service in order, a second one at once."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        for child in self._children:
            child.start()

    def run(self, database: Database) -> None:
        """Hand out the database and watch until the service is told to stop; returns when all children have ended."""
        for child in self._children:
            child.send(database)
        while not self._stopping:
            self._watch(database)
        self.stop()

    def stop(self) -> None:
        """End all children: they finish the requests under way, and are killed if that takes longer than the grace."""
        self._stopping = True
        self._listener.close()  # or clients would go on to connect, to be served by nobody
        for child in self._children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while (alive := self._alive()) and time.monotonic() < deadline:
            wait([child.process.sentinel for child in alive if child.process], deadline - time.monotonic())
        for child in self._alive():
            log.warning("process did not stop in time, it is killed", process=child.name)
            child.signal(signal.SIGKILL)
        for child in self._children:
            if child.process is not None:
                child.process.join()

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until a signal comes."""
        wait([self._wakeup], seconds)
        self._drain()

    @property
    def is_stopping(self) -> bool:
        """Whether a signal said stop."""
        return self._stopping

    def _alive(self) -> list[Child]:
        return [child for child in self._children if child.process is not None and child.process.is_alive()]

    def _watch(self, database: Database) -> None:
        """Wait for a death, a signal, or the time to start a child again."""
        waiting = [child.start_at - time.monotonic() for child in self._children if child.process is None]
        sentinels = [child.process.sentinel for child in self._children if child.process is not None]
        wait([*sentinels, self._wakeup], max(0.0, min(waiting)) if waiting else None)
        self._drain()
        if self._stopping:
            return
        for child in self._children:
            if child.process is not None and not child.process.is_alive():
                child.note_death()
            if child.process is None and child.start_at <= time.monotonic():
                child.start()
                child.send(database)

    def _drain(self) -> None:
        try:
            self._wakeup.recv(1024)
        except BlockingIOError:
            return

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            for child in self._alive():
                child.signal(signal.SIGKILL)
        self._stopping = True

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        """From a closed terminal: stop. Otherwise log files were moved away: open new ones."""
        from api import logs

        if os.isatty(2):
            self._on_stop(number, frame)
            return
        logs.reopen()
        for child in self._alive():
            child.signal(signal.SIGHUP)
