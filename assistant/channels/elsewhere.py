"""The other processes of a log: what was said here for a user who is connected there.

A notification names a conversation and the versions of its new events; the process that the user is connected to reads
these from the log. It is sent before the turn ends, and so arrives before those of later turns. One that is sent while
a process has no connection to listen on is lost to that process.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from assistant.channels.output import Said
from dialogue import BotUttered
from dialogue.events import decode_stored
from dialogue.json import dumps
from eventstore import StoreUnavailable
from eventstore.hints import channel, persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from eventstore import Database
    from eventstore.reads import Reader

log = structlog.get_logger("turnlog.channels")

# The commit that a notification makes is nothing that anybody waits for.
_NOTIFY: Final = """
SELECT pg_notify($1, $2) FROM (SELECT set_config('synchronous_commit', 'off', true)) unhurried
"""


class _News(msgspec.Struct, frozen=True, array_like=True):
    process: str
    conversation: str
    after: int
    upto: int


class Elsewhere:
    """Tells other processes what was said, and hears it from them; `run` works on the running loop.

    `is_here` says whether the user of a conversation is connected to this process, and `hear` lets that user hear.
    """

    def __init__(
        self,
        database: Database,
        read: Reader,
        is_here: Callable[[str], bool],
        hear: Callable[[Said], Awaitable[None]],
    ) -> None:
        self._database, self._read = database, read
        self._is_here, self._hear = is_here, hear
        self._process = secrets.token_hex(6)
        self._channel = channel(database, "said")
        self._news: asyncio.Queue[_News] = asyncio.Queue()

    async def tell(self, said: Said) -> None:
        """Tell all other processes.

        Raises:
            StoreUnavailable: the database is away.
        """
        payload = dumps([self._process, said.conversation, said.after, said.upto])
        await self._read.fetch(_NOTIFY, self._channel, payload)

    async def run(self) -> None:
        """Hear until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(persist(self._database, self._listen_on), name="news of other processes")
            tasks.create_task(self._pass_on(), name="messages of other processes")

    async def _listen_on(self, connection: Any) -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(self._channel, self._take)
        await closed.wait()

    def _take(self, _connection: Any, _process: int, _channel: str, payload: object) -> None:
        news = msgspec.json.decode(str(payload), type=_News)
        if news.process != self._process and self._is_here(news.conversation):
            self._news.put_nowait(news)

    async def _pass_on(self) -> None:
        while True:
            news = await self._news.get()
            try:
                said = await self._said(news)
            except StoreUnavailable as error:
                log.error("a message could not be read", conversation=news.conversation, reason=error.reason)
            else:
                await self._hear(said)

    async def _said(self, news: _News) -> Said:
        head = await self._read.head(news.conversation)
        assert head is not None  # others have written to it
        recorded = await self._read.conversation(news.conversation, head, news.after, news.upto)
        events = (decode_stored(event.type, event.schema_version, event.body) for event in recorded)
        said = tuple(event for event in events if isinstance(event, BotUttered))
        return Said(news.conversation, said, news.after, news.upto)
