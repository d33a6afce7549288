"""A worker process: serves HTTP on a socket that its parent opened, until it is told to stop or the parent is gone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from api import collector, logs
from api.parent import Parent

if TYPE_CHECKING:
    import socket
    from multiprocessing.connection import Connection
    from pathlib import Path

    from api.settings import Settings
    from assistant.model import Model


def run_worker(settings: Settings, model: Model | None, shelf: Path, listener: socket.socket, pipe: Connection) -> None:
    """Serve requests, with a model until the shelf in the folder has another one; the process ends with it.

    The modules are loaded while the parent still starts the database, which then comes through the pipe to it.
    """
    signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
    logs.configure(settings.logs)
    from api.app import create_app
    from api.process import Process
    from api.shelf import Shelf
    from api.tls import context

    parent = Parent(pipe, settings.limits.graceful_shutdown_timeout + 5)
    database = parent.database()
    if database is None:
        return
    app = create_app(Process(settings, database, model, Shelf(shelf)))
    collector.spare()
    app.after_server_start(lambda _app: parent.watch())
    app.run(
        sock=listener,
        ssl=context(settings.tls) if settings.tls else None,
        single_process=True,
        access_log=False,
        motd=False,
        backlog=settings.limits.backlog,
    )
