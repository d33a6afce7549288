"""The background process: projections, relays, the log's own housekeeping, and models from elsewhere.

Requests never wait for it.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from api import collector, logs
from api.parent import Parent, give_way
from api.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from multiprocessing.connection import Connection
    from pathlib import Path

    from api.settings import Settings


def run_background(settings: Settings, folder: Path, pipe: Connection) -> None:
    """Work until the process is told to stop or the parent is gone. `folder` is that of the shelf.

    The modules are loaded here, as in a worker: the parent, which names this function, needs none of them.
    """
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    give_way()
    from api.keeping import keep
    from api.pulling import pull

    parent = Parent(pipe, settings.limits.graceful_shutdown_timeout + 5)
    database = parent.database()
    collector.spare()
    if database is not None:
        works = {"log": keep(database, settings.endpoints.event_brokers), "models": pull(settings, Shelf(folder))}
        asyncio.run(_work(works, parent))


async def _work(works: dict[str, Coroutine[Any, Any, None]], parent: Parent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent.watch()
    work = loop.create_task(_all(works))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        work.result()  # raises: the parent starts this process again
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _all(works: dict[str, Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for name, work in works.items():
            tasks.create_task(work, name=name)
