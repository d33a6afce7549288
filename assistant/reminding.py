"""Running reminders when they are due: once over all processes, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct

from assistant.assistant import Assistant
from assistant.channels.output import Collector
from assistant.draft import AlreadyDone, Ledger
from assistant.reminders import AGAIN, CLAIM_SECONDS, Missing, Outdated
from eventstore import StoreUnavailable, TurnLost
from eventstore.hints import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from assistant.channels.output import Output
    from assistant.reminders import Due, Reminders
    from eventstore import Database

log = structlog.get_logger("turnlog.reminders")

AT_ONCE: Final = 20  #: reminders that a process runs side by side
LOOK_EVERY: Final = 5.0  #: seconds after which a process looks though nobody told it to
SHORTEST: Final = 0.02  #: seconds between two looks, while another process is about to take what is due
RENEW_EVERY: Final = CLAIM_SECONDS / 5


class Answering(Struct, frozen=True):
    """Who answers, and the log as they read it."""

    assistant: Assistant
    ledger: Ledger


class Reminding:
    """Runs reminders in one process. Belongs to the running loop.

    `now` gives who answers what begins at this moment, None when there is nobody: then the reminders are left to other
    processes, or wait. `output` finds a channel's by its name.
    """

    def __init__(
        self,
        reminders: Reminders,
        now: Callable[[], Awaitable[Answering | None]],
        database: Database,
        output: Callable[[str | None], Output | None],
    ) -> None:
        self._reminders, self._now = reminders, now
        self._database, self._output = database, output
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to work; the database need not be there yet. A task that ends before `close` has met a fault."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._run_on(), name="reminders"),
            loop.create_task(self._renew_on(), name="claims of reminders"),
            loop.create_task(persist(self._database, self._listen_on), name="hints of reminders"),
        ]
        return self._tasks

    def wake(self) -> None:
        """Look at what is due: there may be somebody who answers now."""
        self._woken.set()

    async def close(self) -> None:
        """Begin no more, and return when those that run are done."""
        self._tasks[0].cancel()
        while self._running:
            await asyncio.wait(self._running.values())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- waiting ---

    async def _run_on(self) -> None:
        while True:
            self._woken.clear()
            try:
                seconds = await self._begin_due()
            except StoreUnavailable as error:
                log.warning("reminders wait for the database", reason=error.reason)
                seconds = AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for can lose a cancellation that comes with the event
                    await self._woken.wait()

    async def _begin_due(self) -> float:
        """Begin with what is due; for how many seconds there is nothing more to begin, unless something wakes."""
        if await self._now() is None:
            return LOOK_EVERY
        room = AT_ONCE - len(self._running)
        for due in await self._reminders.claim(room) if room else []:
            task = asyncio.create_task(self._run(due), name="reminder")
            self._running[due.id] = task
        if len(self._running) >= AT_ONCE:
            return LOOK_EVERY
        left = await self._reminders.seconds_left()
        return LOOK_EVERY if left is None else max(SHORTEST, min(left, LOOK_EVERY))

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if self._running:
                with contextlib.suppress(StoreUnavailable):  # others may take them then, and find the turns' marks
                    await self._reminders.look_again(self._running)

    async def _listen_on(self, connection: Any) -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(self._reminders.channel, lambda *_hint: self._woken.set())
        self._woken.set()
        await closed.wait()

    # --- running ---

    async def _run(self, due: Due) -> None:
        try:
            await self._carry_out(due)
        except (StoreUnavailable, TurnLost) as error:
            log.warning("a reminder is tried again", conversation=due.conversation, reason=str(error))
        finally:
            del self._running[due.id]
            self._woken.set()

    async def _carry_out(self, due: Due) -> None:
        answering = await self._now()
        if answering is None:  # the model was taken away a moment ago
            await self._reminders.look_again([due.id], AGAIN)
            return
        try:
            await answering.assistant.remind(due, await self._output_of(due, answering.ledger))
        except AlreadyDone:
            await self._reminders.remove([due.id])
        except Outdated as error:
            await self._give_up(due, error)
        except (StoreUnavailable, TurnLost):
            raise
        except Exception:
            # As a request that fails by a fault of ours: to try again for ever would help nobody.
            log.exception("a reminder failed", conversation=due.conversation, intent=due.intent)
            await self._reminders.remove([due.id], "failed")
        else:
            log.info("reminder fired", conversation=due.conversation, intent=due.intent)
            await self._reminders.remove([due.id], "fired")

    async def _give_up(self, due: Due, error: Outdated) -> None:
        if isinstance(error, Missing) and due.may_come:
            await self._reminders.look_again([due.id], AGAIN)
            return
        log.info("reminder dropped", conversation=due.conversation, intent=due.intent, reason=str(error))
        await self._reminders.remove([due.id], "dropped")

    async def _output_of(self, due: Due, ledger: Ledger) -> Output:
        latest = (await ledger.read(due.conversation)).tracker.latest_input_channel
        return self._output(due.channel) or self._output(latest) or Collector()
