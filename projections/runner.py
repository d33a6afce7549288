"""Keeps a projection up to date with the log, and builds it anew beside the live one.

One loop feeds every table of the projection: first the one that is read, then the one that is being filled, a batch
each. A batch and the move of the table's checkpoint are one transaction, so each event is applied exactly once,
whatever ends in between. What is built anew replaces the old table when it has reached the head of the log and the
number of events applied proves that none is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import asyncpg
import structlog

from dialogue.text import storable
from eventstore import CheckpointMoved, CorruptLog, EventStoreError, ForeignLog, LeaseLost, StoreUnavailable
from eventstore.database import is_unavailable, reason_of
from eventstore.leading import is_cancelled, lead
from eventstore.leases import RENEW_EVERY, SECONDS
from projections import slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eventstore import EventStore, Lease
    from eventstore.leading import Holding
    from projections.slots import LoggedEvent, Projection, Slot

log = structlog.get_logger("turnlog.projections")

BATCH: Final = 10_000  #: events in one transaction, at most
BATCH_BYTES: Final = 16_000_000  #: of bodies in one transaction; a larger one goes alone
SPACING: Final = 0.1  #: seconds between two rounds of one that has reached the head
POLL: Final = 0.25  #: seconds after which the log is looked at without a hint
IDLE: Final = SECONDS  #: seconds after which the server ends a transaction that got no statement
STAND_BY: Final = RENEW_EVERY  #: seconds between two tries to take the lease, or to reach the database

Mode = Literal["standby", "running", "superseded", "unavailable"]

# $1 bigint: position; $2 bigint: how many events; $3 text[]: types whose bodies are wanted; $4 bigint: bytes of bodies
READ: Final = """
SELECT e.position, e.conversation, e.version, e.type, e.body FROM (
    SELECT e.position, e.conversation, e.version, e.type, e.body,
        sum(octet_length(e.body)) OVER (ORDER BY e.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
        SELECT e.position, e.conversation, e.version, e.type, CASE WHEN e.type = ANY ($3) THEN e.body END AS body
        FROM @schema@.event e WHERE e.position > $1 AND e.position <= $1 + $2
    ) e
) e WHERE coalesce(e.before, 0) < $4 ORDER BY e.position
"""
HEAD: Final = "SELECT coalesce((SELECT last_position FROM @schema@.commit ORDER BY last_position DESC LIMIT 1), 0)"
# $1 bigint: slot; $2 bigint: how many events
COUNT: Final = """
UPDATE @schema@.projection SET processed = processed + $2 WHERE slot = $1 AND state <> 'retired' RETURNING processed
"""
# $1 bigint: slot; $2 text: name; $3 int: version of the code. A slot that a newer release fills is left alone.
RETIRE_OTHERS: Final = """
UPDATE @schema@.projection SET state = 'retired'
WHERE name = $2 AND slot <> $1 AND (state = 'active' OR code_version <= $3)
"""
# $1 bigint: slot
ACTIVATE: Final = "UPDATE @schema@.projection SET state = 'active' WHERE slot = $1"
# $1 bigint: slot; $2 bigint: position of the event that it stands before; $3 text: reason
STOP: Final = """
UPDATE @schema@.projection SET error = coalesce((
    SELECT format('event %s, version %s of conversation %s: ', e.position, e.version, quote_literal(c.id))
    FROM @schema@.event e JOIN @schema@.conversation c ON c.no = e.conversation WHERE e.position = $2
), '') || $3 WHERE slot = $1 RETURNING error
"""
# $1 text: name of the projection; $2 int: version of the code
RETRY: Final = "UPDATE @schema@.projection SET error = NULL WHERE name = $1 AND code_version = $2 AND error IS NOT NULL"
# $1 bigint: slot
FORGET: Final = "DELETE FROM @schema@.projection WHERE slot = $1 AND state = 'retired'"
# $1 text: name of the checkpoint
FORGET_CHECKPOINT: Final = "DELETE FROM @schema@.checkpoint WHERE name = $1"
# $1 bigint: slot
SLOT_STATE: Final = "SELECT state, error FROM @schema@.projection WHERE slot = $1"


class ProjectionStopped(Exception):
    """A projection stands still, for the reason in the message, until it is retried or built anew."""


class _Retired(EventStoreError):
    """The slot was replaced or abandoned meanwhile."""


class ProjectionRunner:
    """Keeps one projection, in this process or standing by for another one.

    The lease is that of the projection's code version: while a newer release fills its own table, the older one goes on
    with the table that is read.
    """

    def __init__(self, store: EventStore, projection: Projection) -> None:
        self.mode: Mode = "standby"
        self.reason = ""  #: why it is in that mode, one line
        self._store, self._projection = store, projection
        self._news = asyncio.Event()
        self._round_over = asyncio.Event()
        self._verified: set[int] = set()  # slots that were found to belong to this log

    def notify(self) -> None:
        """Say that the log may have grown. Any number of calls cost one look."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled.

        The database may be away, another process may hold the lease: both are waited for. An exception that comes out
        is a fault of this module.
        """
        while True:
            try:
                await self._lead()
            except* (LeaseLost, CheckpointMoved) as group:
                self._enter("standby", str(group.exceptions[0]))
            except* StoreUnavailable as group:
                self._enter("unavailable", str(group.exceptions[0]))
            if is_cancelled():
                raise asyncio.CancelledError
            await asyncio.sleep(STAND_BY)  # nothing tells when a lease runs out or a server is back

    async def rebuild(self) -> None:
        """Build the projection anew from position 1, beside the old one, and return when readers have the new one.

        Works from any process, and takes the place of a rebuild that is under way. The one who holds the lease does the
        work; when it crashes, the next one goes on. Also returns when another rebuild took this one's place.

        Raises:
            ProjectionStopped: an event could not be applied. What was built so far stays, to be retried.
            StoreUnavailable: the database is away. The rebuild goes on when it is back.
        """
        number = await self._store.database.patiently(self._make_anew)
        self.notify()
        while (state := await self._state_of(number)) == "building":
            await _within(POLL, self._round_over)
        log.info("projection rebuilt", projection=self._projection.name, slot=number, state=state)

    async def retry(self) -> None:
        """Try again to apply the event before which the projection stands still."""
        await self._store.read.fetch(RETRY, self._projection.name, self._projection.version)
        self.notify()

    # ---- the lease ----

    async def _lead(self) -> None:
        """Hold the lease and work; returns when somebody else holds it."""
        name = f"projection {self._projection.name} {self._projection.version}"
        if not await lead(self._store.leases, name, self._work):
            self._enter("standby", "another process keeps this projection")

    async def _work(self, holding: Holding) -> None:
        lease = holding.lease
        async with _unavailability(), self._session() as connection:
            await connection.execute(self._sql(RETRY), self._projection.name, self._projection.version)
            self._verified.clear()
            while True:
                self._news.clear()
                behind = await self._round(connection, lease)
                self._round_over.set()
                self._round_over.clear()
                if not behind:
                    await asyncio.sleep(SPACING)  # rounds without end for a few events each would hinder the writers
                    await _within(POLL, self._news)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        """A connection of our own; a transaction that is not committed ends with it, also when the network is gone."""
        connection = await self._store.database.connect()
        try:
            # What a crash of the server takes back it takes back together with the checkpoint.
            await connection.execute("SET synchronous_commit = off")
            # A process that was stopped amid a transaction must not keep its rows locked for the next one.
            await connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE}s'")
            yield connection
        finally:
            connection.terminate()

    # ---- rounds ----

    async def _round(self, connection: Any, lease: Lease) -> bool:
        """Feed each slot once; whether there is more to do at once."""
        head: int = await connection.fetchval(self._sql(HEAD))
        found = await slots.load(connection, self._store.read, self._projection.name)
        ours = self._ours(found)
        if not ours:
            return await self._begin(connection, found)
        self._enter("running", "")
        behind, live = False, 0
        for slot in ours:
            position = await self._feed(connection, lease, slot, head)
            behind |= slot.position < position < head
            if slot.number not in self._verified:
                continue  # it stopped: it is neither waited for nor shown to readers
            if slot.state == "active":
                live = position
            elif position >= max(head, live):
                behind |= await self._switch(connection, lease, slot, position)
        for slot in found:
            if slot.state == "retired":
                await self._drop(connection, slot)
        return behind

    def _ours(self, found: list[Slot]) -> list[Slot]:
        """The slots that this code fills, the one that is read first."""
        ours = [slot for slot in found if slot.state != "retired" and slot.code_version == self._projection.version]
        return sorted(ours, key=lambda slot: slot.state != "active")

    async def _begin(self, connection: Any, found: list[Slot]) -> bool:
        """Make the first slot of this code, unless readers have one of a newer release."""
        newest = max((slot.code_version for slot in found if slot.state == "active"), default=0)
        if newest > self._projection.version:
            self._enter("superseded", f"readers use version {newest}, this release has {self._projection.version}")
            return False
        async with _transaction(connection):
            await slots.make_missing(connection, self._store.read, self._projection)
        return True

    async def _feed(self, connection: Any, lease: Lease, slot: Slot, head: int) -> int:
        """Apply the next batch to a slot, and return the position that the slot has reached.

        A batch that fails is halved until the event at fault is the next one; there the slot stops.
        """
        limit = BATCH
        while slot.error is None:
            try:
                await self._verify(slot)
                return await self._apply(connection, lease, slot, limit, head)
            except _Retired:
                break
            except Exception as error:  # a projection's code may fail in any way
                if not _blames_projection(error):
                    raise
                if limit == 1 or isinstance(error, ForeignLog):
                    await self._stop(connection, slot, error)
                    break
                limit //= 2
        return slot.position

    async def _verify(self, slot: Slot) -> None:
        """Raise ForeignLog if the slot was filled from another log, or from a longer one."""
        if slot.number not in self._verified:
            await self._store.checkpoints.resume(slot.checkpoint)
            self._verified.add(slot.number)

    async def _apply(self, connection: Any, lease: Lease, slot: Slot, limit: int, head: int) -> int:
        events = await self._read(connection, slot.position, limit, head)
        if not events:
            return slot.position
        last = slot.position + len(events)
        async with _transaction(connection):
            await self._count(connection, slot, len(events))
            await self._projection.apply(connection, self._sql(slot.table), events)
            await self._store.checkpoints.move(slot.checkpoint, slot.position, last, lease, connection=connection)
        return last

    async def _read(self, connection: Any, after: int, limit: int, head: int) -> Sequence[LoggedEvent]:
        """The next events; CorruptLog if one is missing between them or before the head."""
        rows = await connection.fetch(self._sql(READ), after, limit, self._projection.bodies, BATCH_BYTES)
        if rows[-1][0] - after != len(rows) if rows else head > after:
            raise CorruptLog(f"the log has {len(rows)} events at the {limit} positions after {after}")
        # Records unpack as tuples do; making tuples of them would cost as much as reading.
        return cast("Sequence[LoggedEvent]", rows)

    async def _count(self, connection: Any, slot: Slot, events: int) -> int:
        """Add to the number of events applied to a slot, and return it; keeps others from retiring it meanwhile."""
        processed: int | None = await connection.fetchval(self._sql(COUNT), slot.number, events)
        if processed is None:
            raise _Retired(slot.table)
        return processed

    async def _switch(self, connection: Any, lease: Lease, slot: Slot, position: int) -> bool:
        """Give the readers a slot that has reached the head, after a proof that it is complete."""
        try:
            async with _transaction(connection):
                await self._projection.finish(connection, self._sql(slot.table))
                _prove(await self._count(connection, slot, 0), position)
                await connection.execute(self._sql(RETIRE_OTHERS), slot.number, slot.name, slot.code_version)
                await connection.execute(self._sql(ACTIVATE), slot.number)
                await self._store.checkpoints.move(slot.checkpoint, position, position, lease, connection=connection)
        except _Retired:
            return True
        except Exception as error:  # as in _feed
            if not _blames_projection(error):
                raise
            await self._stop(connection, slot, error)
            return False
        log.info("projection switched", projection=slot.name, slot=slot.number, position=position)
        return True

    async def _stop(self, connection: Any, slot: Slot, error: Exception) -> None:
        self._verified.discard(slot.number)
        before = 0 if isinstance(error, ForeignLog | ProjectionStopped) else slot.position + 1
        reason = storable(reason_of(error))
        text = await connection.fetchval(self._sql(STOP), slot.number, before, reason)
        log.error("projection stopped", projection=slot.name, slot=slot.number, position=slot.position, error=text)

    async def _drop(self, connection: Any, slot: Slot) -> None:
        """Drop a table that nobody gets to know of any more."""
        try:
            async with _transaction(connection):
                await connection.execute("SET LOCAL lock_timeout = '50ms'")
                await connection.execute(self._sql(FORGET), slot.number)
                await connection.execute(self._sql(FORGET_CHECKPOINT), slot.checkpoint)
                await connection.execute(self._sql(f"DROP TABLE IF EXISTS {slot.table}"))
        except asyncpg.LockNotAvailableError:
            log.debug("projection still read", projection=slot.name, slot=slot.number)  # the next round tries again

    # ---- commands ----

    async def _make_anew(self) -> int:
        async with self._store.read.acquire() as connection, connection.transaction():
            return await slots.make(connection, self._store.read, self._projection)

    async def _state_of(self, number: int) -> str:
        rows = await self._store.read.fetch(SLOT_STATE, number)
        state, error = rows[0] if rows else ("retired", None)
        if error is not None:
            raise ProjectionStopped(error)
        return cast("str", state)

    def _sql(self, statement: str) -> str:
        return self._store.read.sql(statement)

    def _enter(self, mode: Mode, reason: str) -> None:
        if mode != self.mode:
            log.info("projection " + mode, projection=self._projection.name, reason=reason)
        self.mode, self.reason = mode, reason


def _prove(processed: int, position: int) -> None:
    """Positions are dense, so as many events as the position says are all events."""
    if processed != position:
        raise ProjectionStopped(f"{processed} events were applied, but it is at position {position}")


def _blames_projection(error: Exception) -> bool:
    """Whether trying again is useless: neither the database is away nor the lease is lost."""
    if isinstance(error, EventStoreError):
        return isinstance(error, CorruptLog | ForeignLog)
    # Arguments that the driver refuses, and statements that the server does, are the projection's own.
    return isinstance(error, ValueError | asyncpg.SyntaxOrAccessError) or not is_unavailable(error)


@contextlib.asynccontextmanager
async def _transaction(connection: Any) -> AsyncIterator[None]:
    """A transaction. A cancelled one is left open: it ends with its connection, which needs no answer."""
    await connection.execute("BEGIN")
    try:
        yield
    except Exception:  # whatever it is goes on, once its changes are taken back
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


@contextlib.asynccontextmanager
async def _unavailability() -> AsyncIterator[None]:
    """Tell the driver's many ways of saying that the database is away as one."""
    try:
        yield
    except Exception as error:
        if isinstance(error, EventStoreError) or not is_unavailable(error):
            raise
        raise StoreUnavailable(reason_of(error)) from error


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, but not longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
