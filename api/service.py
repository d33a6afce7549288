"""What one worker process has: settings, model, the log and the projections over it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from api import metrics
from api.assembling import assemble
from api.auth import Authenticator
from api.channels import outputs, sockets_of
from api.errors import NoModel
from api.ledger import TrackerLedger
from assistant.channels.elsewhere import Elsewhere
from assistant.channels.registry import Channels
from assistant.http import Client
from assistant.reminders import Reminders
from assistant.reminding import Reminding
from dialogue import Domain
from eventstore import EventStore
from eventstore.hints import HintSender
from projections import Trackers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from api.settings import Settings
    from assistant import Assistant, Message, Output
    from assistant.model import Model
    from eventstore import Database

T = TypeVar("T")

log = structlog.get_logger("turnlog.worker")


def end_worker(task: asyncio.Task[None]) -> None:
    """What works behind the requests ends with the worker only: after a fault the supervisor starts another one."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("work behind the requests has failed, the worker ends", work=task.get_name(), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


class Service:
    """Everything that the endpoints of one process share. Opened and closed on the loop that serves them."""

    def __init__(self, settings: Settings, database: Database, model: Model | None) -> None:
        domain = model.domain if model else Domain.empty()
        self.settings = settings
        self.model = model
        self._database = database
        self.authenticator = Authenticator(settings.auth)
        self.store = EventStore(database)
        self.trackers = Trackers(self.store, domain)
        self.marks: Mapping[str, str] = model.marks if model else {}
        self.hint = HintSender(database)
        self.ledger = TrackerLedger(self.trackers, self.hint.send)
        self.custom = [channel.load() for channel in settings.credentials.custom]
        self.sockets = sockets_of(self)
        self.channels = Channels(())
        self.reminders = Reminders(self.store.read, database, node=self.store.node, count=metrics.count_reminders)
        self._under_way: set[asyncio.Future[Any]] = set()
        self._assistant: Assistant | None = None
        self._etag_suffix = f'-{domain.fingerprint[:16]}"'
        self.is_stopping = False  #: then connections are not kept for another request
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Begin to work; the database need not be there yet."""
        await self._open.enter_async_context(self.store)
        self._open.push_async_callback(self.trackers.close)
        background = [("hints", self.hint.run()), ("turns", self.store.turns.run())]
        if self.sockets is not None:
            elsewhere = Elsewhere(self._database, self.store.read, self.sockets.is_here, self.sockets.send_here)
            self.sockets.attach(elsewhere)
            self._open.push_async_callback(self.sockets.close)
            background.append(("sockets", elsewhere.run()))
        for name, work in background:
            task = asyncio.get_running_loop().create_task(work, name=name)
            task.add_done_callback(end_worker)
            self._open.callback(task.cancel)
        if self.model is not None:
            client = await self._open.enter_async_context(Client())
            self.channels = Channels(outputs(self.settings, client, self.sockets, self.custom))
            self._assistant = assemble(self.settings, self.model, client, self.ledger, self.store.turns, self.reminders)
            reminding = Reminding(
                self.reminders, self._assistant, self.ledger, self._database, lambda name: self.channels.output(name)
            )
            for task in reminding.start():
                task.add_done_callback(end_worker)
            self._open.push_async_callback(reminding.close)

    async def stop(self) -> None:
        """Begin to stop: requests are served to their end, and are the last ones of their connections."""
        self.is_stopping = True
        if self.sockets is not None:
            await self.sockets.stop()

    async def close(self) -> None:
        """Finish what was handed in, and let go of the database."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._open.aclose()

    async def uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, even if the client that asked for it hangs up: others may have heard of it by then."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def answer(self, message: Message, output: Output) -> None:
        """Answer a message to its end.

        Raises:
            NoModel: there is nobody who could.
            EventStoreError: as Assistant.answer.
        """
        await self.uninterrupted(self.assistant().answer(message, output))

    def etag(self, version: int) -> str:
        """The entity tag of a conversation at a version, as this domain shows it."""
        return f'"{version}{self._etag_suffix}'

    def loaded_model(self) -> Model:
        """The model.

        Raises:
            NoModel: there is none.
        """
        if self.model is None:
            raise NoModel
        return self.model

    def assistant(self) -> Assistant:
        """Who answers.

        Raises:
            NoModel: there is no model to answer with.
        """
        if self._assistant is None:
            raise NoModel
        return self._assistant

    def predicting_assistant(self) -> Assistant:
        """Who says what comes next.

        Raises:
            NoModel: there is no model, or none of dialogues.
        """
        if not self.assistant().can_predict:
            raise NoModel
        return self.assistant()
