"""Reading the log: heads of conversations, their events, and everything by position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from eventstore.database import prepare_session
from eventstore.errors import CorruptLog
from eventstore.events import Commit, Head, LogIdentity, RecordedEvent

if TYPE_CHECKING:
    from datetime import datetime

    from eventstore.database import Database

# $1 text[]: ids of conversations
HEADS: Final = """
SELECT id, no, version, generation, generation_version, generation_position, last_position
FROM @schema@.conversation WHERE id = ANY ($1)
"""
# $1 bigint: number of the conversation; $2, $3 bigint: after and up to which version;
# $4, $5 bigint: positions between which they lie, which leaves out the other partitions
CONVERSATION: Final = """
SELECT position, version, type, "timestamp", schema_version, body FROM @schema@.event
WHERE conversation = $1 AND version > $2 AND version <= $3 AND position >= $4 AND position <= $5 ORDER BY version
"""
# $1, $2 bigint: first and last position
POSITIONS: Final = """
SELECT e.position, c.id, e.version, e.type, e."timestamp", e.schema_version, e.body
FROM @schema@.event e JOIN @schema@.conversation c ON c.no = e.conversation
WHERE e.position >= $1 AND e.position <= $2 ORDER BY e.position
"""
# $1, $2 bigint: first and last position
COMMITS: Final = """
SELECT first_position, last_position, "time", chain FROM @schema@.commit
WHERE last_position >= $1 AND first_position <= $2 ORDER BY last_position
"""
LAST_POSITION: Final = "SELECT last_position FROM @schema@.commit ORDER BY last_position DESC LIMIT 1"
# $1 timestamptz
POSITION_AT: Final = """
SELECT last_position FROM @schema@.commit WHERE "time" <= $1 ORDER BY "time" DESC, last_position DESC LIMIT 1
"""
# $1 bigint: number of the conversation; $2 bigint: position
VERSION_AT: Final = """
SELECT version FROM @schema@.event WHERE conversation = $1 AND position <= $2 ORDER BY version DESC LIMIT 1
"""
# $1 bigint: number of the conversation; $2 bigint: version
GENERATION_AT: Final = """
SELECT generation, first_version, first_position FROM @schema@.generation
WHERE conversation = $1 AND first_version <= $2 ORDER BY generation DESC LIMIT 1
"""
FIRST_POSITION: Final = "SELECT first_position FROM @schema@.conversation WHERE no = $1"
IDENTITY: Final = "SELECT id, partition_size FROM @schema@.log"


async def _keep_session(_connection: Any) -> None:
    """Our sessions hold no state between two uses, so nothing is reset, which would cost a round trip."""


class Reader:
    """Reads of one process over a few connections. Every read is repeated until the database's patience ends.

    Each method raises StoreUnavailable when the database stays away.
    """

    def __init__(self, database: Database, *, connections: int = 4) -> None:
        self._database = database
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._asked: dict[str, asyncio.Future[Head | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the pool; it connects when it is used first."""
        self._pool = await asyncpg.create_pool(
            self._database.dsn,
            min_size=0,
            max_size=self._connections,
            timeout=self._database.patience,
            init=prepare_session,
            reset=_keep_session,
            server_settings={"application_name": "turnlog"},
        )

    async def close(self) -> None:
        """Close the pool at once; reads under way fail."""
        if self._asking is not None:
            self._asking.cancel()
        if self._pool is not None:
            self._pool.terminate()

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that only reads; ``@schema@`` stands for the schema."""

        async def work() -> list[asyncpg.Record]:
            assert self._pool is not None
            async with self._pool.acquire() as connection:
                return await connection.fetch(statement, *arguments)

        statement = self._database.sql(statement)
        return await self._database.patiently(work)

    def sql(self, statement: str) -> str:
        """A statement with the schema's name in place of ``@schema@``."""
        return self._database.sql(statement)

    def acquire(self) -> Any:
        """A connection of the pool, as a context manager, for a transaction of the caller's."""
        assert self._pool is not None
        return self._pool.acquire()

    async def head(self, conversation: str) -> Head | None:
        """Where a conversation is now; None when the log has no event of it.

        Questions that come while another one is under way are asked together.
        """
        future = self._asked.get(conversation)
        if future is None:
            future = self._asked[conversation] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: dict[str, asyncio.Future[Head | None]]) -> None:
        try:
            rows = await self.fetch(HEADS, list(asked))
        except BaseException as error:
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # whoever asked may be gone by now
            if not isinstance(error, Exception):
                raise
            return
        heads = {row[0]: Head(*row[1:]) for row in rows}
        for conversation, future in asked.items():
            future.set_result(heads.get(conversation))

    async def conversation(
        self, conversation: str, head: Head, after: int, upto: int, *, from_position: int = 1
    ) -> list[RecordedEvent]:
        """Events of a conversation with versions in (`after`, `upto`], in order.

        `from_position` is a position that is known to lie at or before the first of them.

        Raises:
            CorruptLog: a version is missing.
        """
        rows = await self.fetch(CONVERSATION, head.number, after, upto, from_position, head.last_position)
        if len(rows) != max(0, upto - after):
            raise CorruptLog(
                f"conversation {conversation!r} has {len(rows)} events with versions {after + 1} to {upto}"
            )
        return [RecordedEvent(row[0], conversation, *row[1:]) for row in rows]

    async def positions(self, after: int, limit: int) -> list[RecordedEvent]:
        """At most `limit` events with positions greater than `after`, in order.

        Raises:
            CorruptLog: a position is missing.
        """
        rows = await self.fetch(POSITIONS, after + 1, after + limit)
        if rows and rows[-1][0] - after != len(rows):
            raise CorruptLog(f"the log has {len(rows)} events at positions {after + 1} to {rows[-1][0]}")
        return [RecordedEvent(*row) for row in rows]

    async def commits(self, first: int, last: int) -> list[Commit]:
        """The commits that hold the positions from `first` to `last`, in order."""
        return [Commit(*row) for row in await self.fetch(COMMITS, first, last)]

    async def last_position(self) -> int:
        """The position of the last event of the log, 0 when it is empty."""
        rows = await self.fetch(LAST_POSITION)
        return rows[0][0] if rows else 0

    async def position_at(self, time: datetime) -> int:
        """The last position of the last commit at or before `time`, 0 when there is none."""
        rows = await self.fetch(POSITION_AT, time)
        return rows[0][0] if rows else 0

    async def head_at(self, head: Head, version: int) -> Head:
        """The head as it was when the conversation was at `version`, which must not lie after `head`."""
        if version > head.generation_version:
            return Head(
                head.number,
                version,
                head.generation,
                head.generation_version,
                head.generation_position,
                head.last_position,
            )
        rows = await self.fetch(GENERATION_AT, head.number, version)
        if rows:
            generation, first_version, first_position = rows[0]
            return Head(head.number, version, generation, first_version, first_position, head.last_position)
        first_position = (await self.fetch(FIRST_POSITION, head.number))[0][0]
        return Head(head.number, version, 1, 0, first_position, head.last_position)

    async def version_at(self, head: Head, position: int) -> int:
        """The version that a conversation had when the log ended at `position`, 0 for none."""
        rows = await self.fetch(VERSION_AT, head.number, position)
        return rows[0][0] if rows else 0

    async def identity(self) -> LogIdentity:
        """Which log this is."""
        return LogIdentity(*(await self.fetch(IDENTITY))[0])
