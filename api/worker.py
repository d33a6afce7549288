"""A worker process: serves HTTP on a socket that its parent opened, until it is told to stop or the parent is gone."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import TYPE_CHECKING, Any

from api import logs

if TYPE_CHECKING:
    import socket
    from multiprocessing.connection import Connection

    from sanic import Sanic

    from api.model import Model
    from api.settings import Settings
    from eventstore import Database


def run_worker(settings: Settings, model: Model | None, listener: socket.socket, parent: Connection) -> None:
    """Serve requests; the process ends with it.

    The modules are loaded while the parent still starts the database, which then comes through the pipe `parent`.
    """
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    from api.app import create_app
    from api.service import Service
    from api.tls import context

    database = _database(parent)
    if database is None:
        return
    app = create_app(Service(settings, database, model))
    gc.freeze()  # the modules stay for ever: the collector need not look at them again and again
    gc.set_threshold(20_000, 20, 20)
    app.after_server_start(_Parent(parent).watch)
    app.run(
        sock=listener,
        ssl=context(settings.tls) if settings.tls else None,
        single_process=True,
        access_log=False,
        motd=False,
        backlog=settings.limits.backlog,
    )


def _database(parent: Connection) -> Database | None:
    """What the parent sends when the database is ready; None when the parent ends before."""
    try:
        database: Database = parent.recv()
    except EOFError:
        return None
    return database


class _Parent:
    """The parent's end of a pipe closes when it dies, however it dies; nobody else holds that end."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def watch(self, _app: Sanic[Any, Any]) -> None:
        """Stop this process when the parent is gone, so that it leaves no orphans."""
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._stop)

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        os.kill(os.getpid(), signal.SIGTERM)
