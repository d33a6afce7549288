"""A process of the service among the others: its parent hands over the database, and must not be outlived."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from eventstore import Database

NICENESS: Final = 10


def give_way() -> None:
    """Let requests come first where processors are few: else a backlog to work off would take all that it can get."""
    os.nice(NICENESS)


class Parent:
    """The parent's end of a pipe closes when it dies, however it dies; nobody else holds that end.

    `grace` is the time in seconds that this process then has to end in order.
    """

    def __init__(self, pipe: Connection, grace: float) -> None:
        self._pipe, self._grace = pipe, grace

    def database(self) -> Database | None:
        """Wait for the database that the parent sends when it is ready; None when the parent ends before."""
        try:
            database: Database = self._pipe.recv()
        except EOFError:
            return None
        return database

    def watch(self) -> None:
        """From now on, stop this process as SIGTERM does when the parent is gone. Call it on the running loop."""
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        signal.alarm(math.ceil(self._grace))  # whatever hangs then: nobody is left who would kill this process
        os.kill(os.getpid(), signal.SIGTERM)
