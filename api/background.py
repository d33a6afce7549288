"""The background process: keeps the projections, and the log's own housekeeping. Requests never wait for it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

import structlog

from api import logs
from eventstore import EventStore, StoreUnavailable
from eventstore.hints import HintListener
from eventstore.maintenance import maintain
from projections.conversations import ConversationIndex
from projections.runner import ProjectionRunner

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from api.settings import Settings
    from eventstore import Database


log = structlog.get_logger("turnlog.background")

MAINTAIN_EVERY: Final = 60.0  #: seconds


def run_background(settings: Settings, parent: Connection) -> None:
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
    work = loop.create_task(_keep(database))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        work.result()  # raises: the parent starts this process again
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _keep(database: Database) -> None:
    """Everything that is kept, side by side; an end of one is a fault and ends all."""
    async with EventStore(database) as store, asyncio.TaskGroup() as tasks:
        runner = ProjectionRunner(store, ConversationIndex())
        tasks.create_task(runner.run(), name="conversation index")
        tasks.create_task(HintListener(database, runner.notify).run(), name="hints")
        tasks.create_task(_maintain(store), name="maintenance")


async def _maintain(store: EventStore) -> None:
    while True:
        try:
            done = await maintain(store.read)
        except StoreUnavailable as error:
            log.warning("maintenance waits for the database", reason=error.reason)
        else:
            log.debug("maintained", partitions=done.partitions, keys=done.keys)
        await asyncio.sleep(MAINTAIN_EVERY)
