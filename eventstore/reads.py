"""Reading the log: heads of conversations, their events, and everything by position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from eventstore.conversation_id import check_conversation_id
from eventstore.database import prepare_session
from eventstore.errors import CorruptLog, StoreUnavailable
from eventstore.events import Commit, Head, LogIdentity, RecordedEvent

if TYPE_CHECKING:
    from datetime import datetime

    from eventstore.database import Database

# $1 text[]: ids of conversations
HEADS: Final = """
SELECT c.id, c.no, c.version, c.generation, c.generation_version, c.generation_position, c.last_position,
    extract(epoch FROM t.lease_until - clock_timestamp())::float8
FROM @schema@.conversation c LEFT JOIN @schema@.turn t ON t.conversation = c.id WHERE c.id = ANY ($1)
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
WHERE last_position >= $1 AND last_position <= coalesce(
    (SELECT last_position FROM @schema@.commit WHERE last_position >= $2 ORDER BY last_position LIMIT 1), $2
) ORDER BY last_position
"""
LAST_POSITION: Final = "SELECT last_position FROM @schema@.commit ORDER BY last_position DESC LIMIT 1"
# $1 timestamptz
POSITION_AT: Final = """
SELECT last_position FROM @schema@.commit WHERE "time" <= $1 ORDER BY "time" DESC, last_position DESC LIMIT 1
"""
# Halves the span of versions until one is left: positions grow with versions, but no index leads from a conversation
# and a position to a version. $1 bigint: number of the conversation; $2 bigint: position
VERSION_AT: Final = """
WITH RECURSIVE span (low, low_position, high, high_position) AS (
    SELECT 0::bigint, first_position, version, last_position FROM @schema@.conversation
    WHERE no = $1 AND first_position <= $2
    UNION ALL
    SELECT CASE WHEN e.position <= $2 THEN e.version ELSE s.low END,
        CASE WHEN e.position <= $2 THEN e.position ELSE s.low_position END,
        CASE WHEN e.position <= $2 THEN s.high ELSE e.version - 1 END,
        CASE WHEN e.position <= $2 THEN s.high_position ELSE e.position END
    FROM span s CROSS JOIN LATERAL (
        SELECT version, position FROM @schema@.event
        WHERE conversation = $1 AND version = (s.low + s.high + 1) / 2
        AND position >= s.low_position AND position <= s.high_position
    ) e WHERE s.low < s.high
)
SELECT low FROM span WHERE low = high
"""
# $1 bigint: number of the conversation; $2 bigint: version
GENERATION_AT: Final = """
SELECT generation, first_version, first_position FROM @schema@.generation
WHERE conversation = $1 AND first_version <= $2 ORDER BY generation DESC LIMIT 1
"""
# $1 bigint: number of the last conversation that is known; $2 int: limit
CONVERSATIONS: Final = "SELECT no, id FROM @schema@.conversation WHERE no > $1 ORDER BY no LIMIT $2"
FIRST_POSITION: Final = "SELECT first_position FROM @schema@.conversation WHERE no = $1"
IDENTITY: Final = "SELECT id, partition_size FROM @schema@.log"


async def _keep_session(_connection: Any) -> None:
    """Our sessions hold no state between two uses, so nothing is reset, which would cost a round trip."""


async def _fetch(connection: Any, statement: str, arguments: tuple[Any, ...]) -> list[asyncpg.Record]:
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
    except asyncio.CancelledError:
        connection.terminate()  # to give it back would wait for an answer that may never come
        raise
    return rows


def _resolve(futures: list[asyncio.Future[Head | None]], head: Head | None) -> None:
    for future in futures:
        if not future.done():  # its asker may have gone away
            future.set_result(head)


def _refuse(asked: dict[str, list[asyncio.Future[Head | None]]], reason: str) -> None:
    for futures in asked.values():
        for future in futures:
            if not future.done():
                future.set_exception(StoreUnavailable(reason))


class Reader:
    """Reads of one process over a few connections. Every read is repeated until the database's patience ends.

    Each method raises StoreUnavailable when the database stays away.
    """

    def __init__(self, database: Database, *, connections: int = 4) -> None:
        self._database = database
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._asked: dict[str, list[asyncio.Future[Head | None]]] = {}
        self._asked_since = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._closed = False

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
        """Close the pool at once; reads under way fail with StoreUnavailable."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        if self._pool is not None:
            self._pool.terminate()

    async def fetch(self, statement: str, *arguments: Any, since: float | None = None) -> list[asyncpg.Record]:
        """The rows of a statement that is safe to repeat; ``@schema@`` stands for the schema.

        `since` is the time of the loop at which the patience began; now, if it is left out.
        """

        async def work() -> list[asyncpg.Record]:
            if self._pool is None or self._closed:
                raise StoreUnavailable("the service stops")
            async with self._pool.acquire() as connection:
                return await _fetch(connection, statement, arguments)

        statement = self._database.sql(statement)
        return await self._database.patiently(work, since=since)

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

        Raises:
            ValueError: no conversation can have this id.
        """
        check_conversation_id(conversation)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Head | None] = loop.create_future()
        if not self._asked:
            self._asked_since = loop.time()
        self._asked.setdefault(conversation, []).append(future)
        if self._asking is None:
            self._asking = loop.create_task(self._ask(), name="heads of conversations")
        return await future

    async def _ask(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
        finally:
            self._asking = None
            _refuse(self._asked, "the service stops")
            self._asked = {}

    async def _answer(self, asked: dict[str, list[asyncio.Future[Head | None]]]) -> None:
        try:
            rows = await self.fetch(HEADS, list(asked), since=self._asked_since)
        except StoreUnavailable as error:
            _refuse(asked, error.reason)
        else:
            heads = {row[0]: Head(*row[1:]) for row in rows}
            for conversation, futures in asked.items():
                _resolve(futures, heads.get(conversation))
        finally:
            _refuse(asked, "the service stops")

    async def conversation(
        self, conversation: str, head: Head, after: int, upto: int, *, from_position: int = 1
    ) -> list[RecordedEvent]:
        """Events of a conversation with versions in (`after`, `upto`], in order; `upto` is at most the head's version.

        `from_position` is a position that is known to lie at or before the first of them, which spares a look into
        older partitions.

        Raises:
            CorruptLog: a version is missing.
        """
        if after + 1 >= head.generation_version:
            from_position = max(from_position, head.generation_position)
        rows = await self.fetch(CONVERSATION, head.number, after, upto, from_position, head.last_position)
        if len(rows) != max(0, upto - after):
            raise CorruptLog(
                f"conversation {conversation!r} has {len(rows)} events with versions {after + 1} to {upto}"
            )
        return [RecordedEvent(row[0], conversation, *row[1:]) for row in rows]

    async def conversations(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Number and id of at most `limit` conversations with numbers greater than `after`, in order of creation."""
        return [(row[0], row[1]) for row in await self.fetch(CONVERSATIONS, after, limit)]

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
