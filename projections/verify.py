"""Proves that what is kept of the log equals a fold of it: the tables of projections, and the snapshots of trackers.

Nothing is written but a temporary table, which ends with its session. The log is read in batches, each in a transaction
of its own, so that vacuum is held back for no longer than one table takes to be compared.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from msgspec import Struct

import dialogue
from dialogue import FOLD_VERSION, decode_stored
from eventstore import CorruptLog, DatabaseNotUsable, EventStoreError, Head, StoreUnavailable
from eventstore.database import is_unavailable, reason_of
from projections.runner import BATCH, BATCH_BYTES, READ
from projections.slots import table_of
from projections.snapshotting import state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from dialogue import Domain, Event
    from eventstore import Database, Reader, RecordedEvent
    from projections.slots import LoggedEvent, Projection

    Progress = Callable[[int, int], None]

FAULTS: Final = 20  #: that are named of one table, or of all snapshots
PASSES: Final = 3  #: over what a live table has got meanwhile, before the moment at which it is compared
EVENTS_AT_ONCE: Final = 1000
SNAPSHOTS_AT_ONCE: Final = 50

# $1 text: name of the projection
ACTIVE: Final = """
SELECT p.slot, p.code_version, coalesce(c.position, 0), p.processed
FROM @schema@.projection p LEFT JOIN @schema@.checkpoint c ON c.name = 'projection ' || p.name || '_' || p.slot
WHERE p.name = $1 AND p.state = 'active'
"""
# $1 bigint: how many
DIFFERENCES: Final = """
SELECT coalesce(kept.conversation, made.conversation), c.id, row_to_json(kept)::text, row_to_json(made)::text
FROM {kept} kept FULL JOIN {made} made ON made.conversation = kept.conversation
LEFT JOIN @schema@.conversation c ON c.no = coalesce(kept.conversation, made.conversation)
WHERE kept IS DISTINCT FROM made ORDER BY 1 LIMIT $1
"""
# $1, $2, $3 bigint, text, bigint: conversation, fold and version of the snapshot before the first one asked for;
# $4 text: the fold whose states are wanted; $5 bigint: how many
SNAPSHOTS: Final = """
SELECT s.conversation, s.version, s.position, CASE WHEN s.fold = $4 THEN s.state END, s.fold, c.id,
    c.version, c.generation, c.generation_version, c.generation_position, c.last_position
FROM @schema@.snapshot s LEFT JOIN @schema@.conversation c ON c.no = s.conversation
WHERE (s.conversation, s.fold, s.version) > ($1, $2, $3) ORDER BY s.conversation, s.fold, s.version LIMIT $5
"""
COUNT_SNAPSHOTS: Final = "SELECT count(*) FROM @schema@.snapshot"


class NotComparable(Exception):
    """There is nothing to compare a fold with, for the reason in the message."""


class Compared(Struct, frozen=True, kw_only=True):
    """A table of a projection that was compared with a fold of the log."""

    slot: int
    position: int  #: at which both were
    rows: int
    faults: list[str]  #: empty when they are equal


class Snapshots(Struct, frozen=True, kw_only=True):
    """Snapshots that were compared with a fold of the log."""

    equal: int
    foreign: int  #: of another fold or domain: nobody reads them, and they were left out
    faults: list[str]


# ---- tables ----


async def verify_table(database: Database, projection: Projection, progress: Progress) -> Compared:
    """Compare the table that readers of a projection have with one that is made anew, at the same position.

    The projection has one row for each conversation, whose number in the log is in its column `conversation`. The live
    table may go on meanwhile. `progress` is called with the position that the fold has come to, and its present aim.

    Raises:
        NotComparable: readers have no table, or one of another release.
        CorruptLog: an event is missing, or the projection can't fold it.
        DatabaseNotUsable: temporary tables can't be made.
        StoreUnavailable: the database is away.
    """
    async with _session(database) as connection:
        fold = _Fold(database, connection, projection)
        await fold.create()
        for _ in range(PASSES):
            await fold.reach((await fold.active()).position, progress)
        await connection.execute(f"ANALYZE {fold.table}")
        return await _compare(fold)


@contextlib.asynccontextmanager
async def _session(database: Database) -> AsyncIterator[Any]:
    """A session whose end takes its temporary tables with it."""
    try:
        connection = await database.connect()
        try:
            yield connection
        finally:
            connection.terminate()
    except Exception as error:
        if isinstance(error, EventStoreError) or not is_unavailable(error):
            raise
        raise StoreUnavailable(reason_of(error)) from error


class _Active(Struct, frozen=True):
    slot: int
    code_version: int
    position: int
    processed: int


class _Fold:
    """A projection that is made anew in a temporary table."""

    def __init__(self, database: Database, connection: Any, projection: Projection) -> None:
        self.connection, self.projection = connection, projection
        self.table = f"pg_temp.{projection.name}"
        self.position = 0
        self._database = database

    def sql(self, statement: str) -> str:
        return self._database.sql(statement)

    async def create(self) -> None:
        try:
            await self.projection.create(self.connection, self.table)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError) as error:
            raise DatabaseNotUsable(
                f"{reason_of(error)}; projections are compared in a temporary table: give the role the right TEMPORARY"
                " on the database, or leave the comparison out"
            ) from error

    async def active(self) -> _Active:
        """What readers have now."""
        rows = await self.connection.fetch(self.sql(ACTIVE), self.projection.name)
        if not rows:
            raise NotComparable("it is not built yet")
        active = _Active(*rows[0])
        if active.code_version != self.projection.version:
            raise NotComparable(
                f"readers have version {active.code_version}, this release makes {self.projection.version}"
            )
        return active

    async def reach(self, position: int, progress: Progress) -> None:
        """Fold on up to a position."""
        while self.position < position:
            events = await self._read(min(BATCH, position - self.position))
            await self._apply(events)
            self.position += len(events)
            progress(self.position, position)

    async def _read(self, limit: int) -> Sequence[LoggedEvent]:
        statement, bodies = self.sql(READ), self.projection.bodies
        rows = await self.connection.fetch(statement, self.position, limit, bodies, BATCH_BYTES)
        if not rows or rows[-1][0] - self.position != len(rows):
            raise CorruptLog(f"the log has {len(rows)} events at the {limit} positions after {self.position}")
        events: Sequence[LoggedEvent] = rows
        return events

    async def _apply(self, events: Sequence[LoggedEvent]) -> None:
        try:
            async with self.connection.transaction():
                await self.projection.apply(self.connection, self.table, events)
        except Exception as error:  # a projection's code may fail in any way
            if is_unavailable(error):
                raise
            place = f"the events at positions {events[0][0]} to {events[-1][0]}"
            raise CorruptLog(f"{place} can't be folded: {reason_of(error)}") from error


async def _compare(fold: _Fold) -> Compared:
    missing = 0
    while True:
        async with fold.connection.transaction(isolation="repeatable_read"):
            active = await fold.active()
            table = fold.sql(table_of(fold.projection.name, active.slot))
            if await _locked(fold.connection, table):
                return await _compared(fold, active, table)
        if active.slot == missing:
            return Compared(slot=active.slot, position=active.position, rows=0, faults=[f"table {table} is gone"])
        missing = active.slot  # readers may have got another one since this transaction began


async def _locked(connection: Any, table: str) -> bool:
    """Keep a table from being dropped until the transaction ends; False when it is gone."""
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
    except asyncpg.UndefinedTableError:
        return False
    return True


async def _compared(fold: _Fold, active: _Active, table: str) -> Compared:
    if active.position < fold.position:
        raise NotComparable(f"it went back from position {fold.position} to {active.position} meanwhile")
    await fold.reach(active.position, _tell_nobody)
    # These read both tables whole.
    await fold.connection.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on")
    statement = DIFFERENCES.format(kept=table, made=fold.table)
    rows = await fold.connection.fetch(fold.sql(statement), FAULTS + 1)
    return Compared(
        slot=active.slot,
        position=active.position,
        rows=await fold.connection.fetchval(f"SELECT count(*) FROM {table}"),
        faults=[*_miscounted(active), *_some(list(map(_difference, rows)))],
    )


def _tell_nobody(_done: int, _total: int) -> None: ...


def _miscounted(active: _Active) -> list[str]:
    if active.processed == active.position:
        return []
    return [f"{active.processed} events were applied to slot {active.slot}, but it is at position {active.position}"]


def _difference(row: Any) -> str:
    number, conversation, kept, made = row
    name = f"conversation number {number}" if conversation is None else f"conversation {conversation!r}"
    if made is None:
        return f"{name} has a row, and no events"
    if kept is None:
        return f"{name} has no row, its events make {made}"
    kept, made = json.loads(kept), json.loads(made)
    other = ", ".join(
        f"{column} {kept[column]!r}, not {made[column]!r}" for column in made if kept[column] != made[column]
    )
    return f"the row of {name} at position {made['position']} has {other}"


def _some(faults: list[str]) -> list[str]:
    return faults if len(faults) <= FAULTS else [*faults[:FAULTS], "and more"]


# ---- snapshots ----


async def count_snapshots(read: Reader) -> int:
    """How many snapshots there are, of all folds."""
    count: int = (await read.fetch(COUNT_SNAPSHOTS))[0][0]
    return count


async def verify_snapshots(read: Reader, domain: Domain, progress: Progress) -> Snapshots:
    """Compare every snapshot of a domain with a fold of its conversation's events.

    It takes memory for one conversation's tracker and, where events take others back, for its history since the last
    restart or session start. `progress` is called with the number of snapshots that are done, and of events folded.

    Raises:
        StoreUnavailable: the database is away.
    """
    fold = f"{FOLD_VERSION}-{domain.fingerprint}"
    faults: list[str] = []
    done = foreign = folded = 0
    replay = _Replay(read, domain, 0)
    async for snapshot in _snapshots(read, fold):
        if snapshot.fold != fold:
            foreign += 1
            continue
        if snapshot.number != replay.number:
            folded += replay.version
            replay = _Replay(read, domain, snapshot.number)
        fault = await replay.fault_of(snapshot)
        faults += [fault] if fault else []
        done += 1
        progress(foreign + done, folded + replay.version)
    return Snapshots(equal=done - len(faults), foreign=foreign, faults=_some(faults))


class _Snapshot(Struct, frozen=True):
    number: int
    version: int
    position: int
    state: str | None  # None for another fold's
    fold: str
    conversation: str | None
    head: Head | None


async def _snapshots(read: Reader, fold: str) -> AsyncIterator[_Snapshot]:
    """All snapshots, by conversation, fold and version."""
    after: tuple[int, str, int] = (0, "", 0)
    while rows := await read.fetch(SNAPSHOTS, *after, fold, SNAPSHOTS_AT_ONCE):
        for number, version, position, state, name, conversation, *head in rows:
            known = None if conversation is None else Head(number, *head)
            yield _Snapshot(number, version, position, state, name, conversation, known)
            after = (number, name, version)


class _Replay:
    """Folds one conversation from its first event on, from one snapshot's version to the next."""

    def __init__(self, read: Reader, domain: Domain, number: int) -> None:
        self.number = number
        self._read, self._domain = read, domain
        self._tracker = dialogue.initial(domain)
        self._position = 1

    @property
    def version(self) -> int:
        """The last one that was folded."""
        return self._tracker.version

    async def fault_of(self, snapshot: _Snapshot) -> str | None:
        """What is wrong with a snapshot of the conversation, whose version is later than the one before."""
        if snapshot.conversation is None or snapshot.head is None:
            return (
                f"a snapshot at version {snapshot.version} is of conversation number {self.number}, which is not there"
            )
        name = f"the snapshot of conversation {snapshot.conversation!r} at version {snapshot.version}"
        try:
            await self._reach(snapshot.conversation, snapshot.head, snapshot.version)
        except Exception as error:  # a fold of events that somebody has changed may fail in any way
            if isinstance(error, StoreUnavailable):
                raise
            return f"{name} can't be compared: {reason_of(error)}"
        if snapshot.position != self._position:
            return f"{name} says position {snapshot.position}, the event is at {self._position}"
        return None if snapshot.state == state_of(self._tracker) else f"{name} is not what its events make"

    async def _reach(self, conversation: str, head: Head, version: int) -> None:
        while self._tracker.version < version:
            after = self._tracker.version
            upto = min(version, after + EVENTS_AT_ONCE)
            recorded = await self._read.conversation(conversation, head, after, upto, from_position=self._position)
            events = _decoded(recorded)
            history: Sequence[Event] = ()
            if any(map(dialogue.needs_history, events)):
                history = _decoded(
                    await self._read.conversation(conversation, head, self._tracker.reset_version, after)
                )
            self._tracker = dialogue.fold(self._tracker, events, self._domain, history)
            self._position = recorded[-1].position


def _decoded(recorded: Sequence[RecordedEvent]) -> list[Event]:
    return [decode_stored(event.type, event.schema_version, event.body) for event in recorded]
