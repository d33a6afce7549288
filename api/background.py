"""The background process: projections, relays, the log's own housekeeping, and models from elsewhere.

Requests never wait for it.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from api import collector, logs
from api.keeping import keep
from api.parent import Parent, give_way
from api.pulling import pull
from api.shelf import Shelf

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from api.settings import Settings
    from eventstore import Database


def run_background(settings: Settings, folder: Path, pipe: Connection) -> None:
    """Work until the process is told to stop or the parent is gone. `folder` is that of the shelf."""
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    give_way()
    parent = Parent(pipe, settings.limits.graceful_shutdown_timeout + 5)
    database = parent.database()
    collector.spare()
    if database is not None:
        asyncio.run(_work(settings, database, Shelf(folder), parent))


async def _work(settings: Settings, database: Database, shelf: Shelf, parent: Parent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent.watch()
    work = loop.create_task(_everything(settings, database, shelf))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        work.result()  # raises: the parent starts this process again
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _everything(settings: Settings, database: Database, shelf: Shelf) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep(database, settings.endpoints.event_brokers), name="log")
        tasks.create_task(pull(settings, shelf), name="models")
