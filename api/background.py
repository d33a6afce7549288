"""The background process: projections, relays, and the log's own housekeeping. Requests never wait for it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from api import collector, logs
from api.keeping import keep
from api.parent import Parent

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from api.settings import Settings
    from eventstore import Database

NICENESS: Final = 10
"""Requests come first where processors are few: a relay that works off a backlog would take as much as it can get."""


def run_background(settings: Settings, pipe: Connection) -> None:
    """Work until the process is told to stop or the parent is gone."""
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    os.nice(NICENESS)
    parent = Parent(pipe, settings.limits.graceful_shutdown_timeout + 5)
    database = parent.database()
    collector.spare()
    if database is not None:
        asyncio.run(_work(settings, database, parent))


async def _work(settings: Settings, database: Database, parent: Parent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent.watch()
    work = loop.create_task(keep(database, settings.endpoints.event_brokers))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        work.result()  # raises: the parent starts this process again
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
