"""One conversation at a terminal: what is typed goes to the assistant, and what the log then has is shown.

Everything that is shown is read from the log, whoever wrote it: this process, a reminder, or a service beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Final

from assistant import COLLECTOR, Message, Output
from dialogue import UserUttered, decode_stored
from eventstore import EventStoreError, StoreUnavailable
from eventstore.hints import HintListener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.process import Process
    from api.shell_view import View
    from assistant.channels.output import Said
    from dialogue import Event
    from eventstore import Head

CHANNEL: Final = "cmdline"  #: as Rasa's shell calls it
EARLIER: Final = 20  #: events that are shown of a conversation that goes on
LOOK_EVERY: Final = 2.0  #: seconds after which the log is looked at though nobody told that it has grown


class Conversation(Output):
    """A conversation and its place on the screen. Belongs to the running loop."""

    def __init__(self, process: Process, id: str, view: View) -> None:  # noqa: A002 - what it is called
        self.process, self.id, self.view = process, id, view
        self._shown = 0  # the version up to which all is shown
        self._own: set[str] = set()  # ids of messages that were typed here
        self._doubtful: dict[str, str] = {}  # those whose turn has failed, as long as nobody knows what is in the log
        self._answering = 0
        self._showing = asyncio.Lock()

    @property
    def name(self) -> str:
        """The name by which no response is meant for one channel alone, as in Rasa's shell."""
        return COLLECTOR

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way."""
        return self._answering > 0

    async def begin(self) -> None:
        """Show how the conversation went so far. Raises StoreUnavailable."""
        head = await self.process.store.read.head(self.id)
        if head is not None:
            self._shown = max(head.generation_version - 1, head.version - EARLIER, 0)
            await self.show()

    async def say(self, text: str, parse_data: dict[str, Any] | None = None) -> bool:
        """Have a message answered, and show what comes of it; whether that went well."""
        message = Message(
            conversation=self.id,
            text=text,
            input_channel=CHANNEL,
            parse_data=parse_data,
            message_id=uuid.uuid4().hex,
        )
        assert message.message_id is not None
        self._own.add(message.message_id)
        self._answering += 1
        try:
            await self.process.answer(message, self)
        except EventStoreError as error:
            self._doubtful[message.message_id] = text
            self.view.warn(str(error))
            if isinstance(error, StoreUnavailable):
                self.view.warn("your message may be lost, which is said here when the database is back")
                return False
        finally:
            self._answering -= 1
        is_doubtful = message.message_id in self._doubtful
        with contextlib.suppress(StoreUnavailable):  # `follow` shows it when the database is back
            await self.show()
        return not is_doubtful

    async def send(self, said: Said) -> None:
        """Show what the bot said, with all that led to it."""
        with contextlib.suppress(StoreUnavailable):  # as in `say`
            await self.show(said.upto)

    async def follow(self) -> None:
        """Show what others write, and what reminders bring about, until cancelled."""
        grown = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(HintListener(self.process.database, grown.set).run(), name="hints of the log")
            tasks.create_task(self._follow_on(grown), name="what others write")

    async def _follow_on(self, grown: asyncio.Event) -> None:
        while True:
            grown.clear()
            if not self._answering:  # else what comes is shown whole, with what the bot says
                with contextlib.suppress(StoreUnavailable):
                    await self.show()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await grown.wait()

    async def show(self, upto: int | None = None) -> None:
        """Show what is new, up to a version that the log has. Raises StoreUnavailable."""
        async with self._showing:
            head = await self.process.store.read.head(self.id)
            events = [] if head is None else await self._new(head, upto or head.version)
            self._settle(events)
            if events:
                self._shown = events[-1][0]
                self.view.show(events, self._own)

    async def _new(self, head: Head, upto: int) -> list[tuple[int, Event]]:
        if upto <= self._shown:
            return []
        recorded = await self.process.store.read.conversation(self.id, head, self._shown, upto)
        return [(event.version, decode_stored(event.type, event.schema_version, event.body)) for event in recorded]

    def _settle(self, events: Sequence[tuple[int, Event]]) -> None:
        """Say which messages are not in the log, now that it can be read."""
        for _, event in events:
            if isinstance(event, UserUttered) and event.message_id is not None:
                self._doubtful.pop(event.message_id, None)
        for text in self._doubtful.values():
            self.view.warn(f"this message was not written, say it again: {text}")
        self._doubtful.clear()
