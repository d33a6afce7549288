"""The embedded Postgres of a running service: started again whenever the process that watches over it has died."""

from __future__ import annotations

import socket
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING, Final

import structlog

from eventstore import embedded

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger("turnlog.postgres")

AGAIN_SECONDS: Final = 2.0  #: between two tries to start it
CLOSE_SECONDS: Final = 15.0  #: longer than a server takes to stop, whatever it is doing


class OwnPostgres:
    """One use of the server of a data directory, for as long as this is open.

    A thread of its own starts the server again, which may take long: the service keeps answering 503 meanwhile, and can
    be stopped. What goes wrong then is logged and tried again, since whoever mends it does not look at this process.

    Raises:
        EmbeddedPostgresError: the first start has failed.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._use = embedded.start(data_dir)
        self.dsn = self._use.dsn
        self._closing, self._close = socket.socketpair()
        self._thread = Thread(target=self._watch, name="embedded Postgres", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the use. One that is just being started again ends as soon as it has begun, or with the process."""
        self._close.close()
        self._thread.join(CLOSE_SECONDS)

    def _watch(self) -> None:
        with self._closing:
            while self._closing not in wait([self._use.fileno(), self._closing]):
                log.error("the embedded Postgres died, it is started again", data_dir=str(self._data_dir))
                self._use.close()
                self._start_again()
            self._use.close()

    def _start_again(self) -> None:
        while True:
            try:
                self._use = embedded.start(self._data_dir)
            except embedded.EmbeddedPostgresError as error:
                log.error("the embedded Postgres does not start", reason=str(error), again_in=AGAIN_SECONDS)
                if wait([self._closing], AGAIN_SECONDS):
                    return
            else:
                return
