"""What one worker process has, whatever its model: settings, the log, channels, and what works behind the requests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import structlog
from msgspec.structs import replace

from api import metrics
from api.auth import Authenticator
from api.callbacks import Callbacks
from api.channels import outputs, sockets_of
from api.service import Service
from api.trainings import Trainings
from assistant.archive import load_model
from assistant.channels.elsewhere import Elsewhere
from assistant.channels.registry import Channels
from assistant.http import Client
from assistant.lines import Lines
from assistant.reminders import Reminders
from assistant.reminding import Reminding
from eventstore import EventStore
from eventstore.hints import HintSender

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from api.settings import Settings
    from api.shelf import Shelf, Shelved
    from assistant import Message, Output
    from assistant.model import Model
    from assistant.reminding import Answering
    from eventstore import Database
    from projections.snapshotting import SnapshotWriter

T = TypeVar("T")

log = structlog.get_logger("turnlog.worker")


def end_worker(task: asyncio.Task[None]) -> None:
    """What works behind the requests ends with the worker only: after a fault the supervisor starts another one."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("work behind the requests has failed, the worker ends", work=task.get_name(), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


class Process:
    """Everything that the requests of one process share. Opened and closed on the loop that serves them.

    The model is that of the shelf, and the given one as long as nothing was put there.

    Attributes:
        service: serves with the model that was loaded last; there from `open` on. Who begins something asks `now`.
        shelved: where that model is from.
    """

    service: Service
    shelved: Shelved
    client: Client  #: for all that is called outside; there from `open` on

    def __init__(
        self, settings: Settings, database: Database, model: Model | None, shelf: Shelf, *, only: str | None = None
    ) -> None:
        """With an `only`, no other conversation's reminders are run here."""
        self.settings = settings
        self.database = database
        self.shelf = shelf
        self.trainings = Trainings(shelf.folder)
        self.callbacks = Callbacks(settings.limits.graceful_shutdown_timeout)
        self.authenticator = Authenticator(settings.auth)
        self.store = EventStore(database)
        self.hint = HintSender(database)
        self.lines = Lines()
        self.custom = [channel.load() for channel in settings.credentials.custom]
        self.sockets = sockets_of(self)
        self.channels = Channels(())
        self.reminders = Reminders(
            self.store.read, database, node=self.store.node, count=metrics.count_reminders, only=only
        )
        self.is_stopping = False  #: then connections are not kept for another request
        self._given = model
        self._generation = 0  # that was loaded last, or could not be
        self._loading: asyncio.Task[None] | None = None
        self._reminding = Reminding(self.reminders, self._answering, database, lambda name: self.channels.output(name))
        self._snapshots: WeakSet[SnapshotWriter] = WeakSet()
        self._under_way: set[asyncio.Future[Any]] = set()
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Begin to work; the database need not be there yet."""
        await self._open.enter_async_context(self.store)
        self._open.push_async_callback(self._close_snapshots)
        self.client = await self._open.enter_async_context(Client())
        self.channels = Channels(outputs(self.settings, self.client, self.sockets, self.custom))
        self._begin(Service(self, self._given), self.shelf.current)
        self._given = None
        await self.now()
        for name, work in [("hints", self.hint.run()), ("turns", self.store.turns.run()), *self._open_sockets()]:
            task = asyncio.get_running_loop().create_task(work, name=name)
            task.add_done_callback(end_worker)
            self._open.callback(task.cancel)
        for task in self._reminding.start():
            task.add_done_callback(end_worker)
        self._open.push_async_callback(self._reminding.close)
        self._open.push_async_callback(self.callbacks.close)

    def _open_sockets(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        if self.sockets is None:
            return []
        elsewhere = Elsewhere(self.database, self.store.read, self.sockets.is_here, self.sockets.send_here)
        self.sockets.attach(elsewhere)
        self._open.push_async_callback(self.sockets.close)
        return [("sockets", elsewhere.run())]

    async def stop(self) -> None:
        """Begin to stop: requests are served to their end, and are the last ones of their connections."""
        self.is_stopping = True
        self.callbacks.stop()
        if self.sockets is not None:
            await self.sockets.stop()

    async def close(self) -> None:
        """Finish what was handed in, and let go of the database."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._open.aclose()

    async def _close_snapshots(self) -> None:
        for snapshots in list(self._snapshots):  # of former services, too
            await snapshots.close()

    async def uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, even if the client that asked for it hangs up: others may have heard of it by then."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def answer(self, message: Message, output: Output) -> None:
        """Answer a message to its end, with the model of this moment.

        Raises as Service.answer.
        """
        await (await self.now()).answer(message, output)

    async def _answering(self) -> Answering | None:
        return (await self.now()).answering

    # --- the model of the moment ---

    async def now(self) -> Service:
        """Who serves what begins now: with the model that is on the shelf at this moment, or a later one.

        A model that can't be loaded changes nothing; it was loaded before it came to the shelf, though.
        """
        wanted = self.shelf.generation
        while self._generation < wanted:
            if self._loading is None:
                self._loading = asyncio.create_task(self._load(), name="model")
            await asyncio.shield(self._loading)
        return self.service

    async def _load(self) -> None:
        began, wanted = time.monotonic(), self.shelf.generation
        try:
            service, shelved = await asyncio.to_thread(self._newest)
        except Exception:
            # Whatever it is: the model that was there goes on, and this one is not tried again.
            log.exception("the model on the shelf can't be loaded, the one before stays", generation=wanted)
            metrics.count_model("failed")
            self._generation = wanted
        else:
            self._generation = shelved.generation
            self._begin(service, shelved)
            what, seconds = "model loaded" if shelved.file else "model removed", round(time.monotonic() - began, 3)
            log.info(what, model=shelved.file, model_id=shelved.id, origin=shelved.origin, seconds=seconds)
        finally:
            self._loading = None

    def _newest(self) -> tuple[Service, Shelved]:
        """Load what is on the shelf. If it is replaced meanwhile its archive may be gone: then what is there now."""
        while True:
            shelved = self.shelf.current
            try:
                return Service(self, self._model(shelved), self.service), shelved
            except Exception:
                if self.shelf.generation <= shelved.generation:
                    raise

    def _model(self, shelved: Shelved) -> Model | None:
        if shelved.archive is None:
            return None
        return replace(load_model(self.shelf.folder / shelved.archive).model, file=shelved.file)

    def _begin(self, service: Service, shelved: Shelved) -> None:
        self.service, self.shelved = service, shelved
        self._snapshots.add(service.trackers.snapshots)
        self._reminding.wake()
