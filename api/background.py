"""The background process: keeps the projections, and the log's own housekeeping. Requests never wait for it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from api import logs

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from api.model import Model
    from api.settings import Settings
    from eventstore import Database


def run_background(settings: Settings, _model: Model | None, parent: Connection) -> None:
    """Work until the process is told to stop or the parent is gone."""
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    try:
        database: Database = parent.recv()
    except EOFError:
        return
    asyncio.run(_work(database, parent))


async def _work(database: Database, parent: Connection) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(parent.fileno(), stop.set)
    await stop.wait()
