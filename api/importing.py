"""Import of a history into the log: each record once, whatever ends in between.

Consecutive records of one conversation become one append, under the import's name, and in the order of the records.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, Final

import structlog

from api.import_pipeline import Conversations, Draft, ImportedElsewhere, Pipeline, Rehearsal, Sink, reached
from api.import_plan import InvalidRecord, Plan, Tally
from api.progress import progress
from dialogue import SCHEMA_VERSION, InvalidEvent, InvalidJson, TrackerReplaced, decode_posted, encode, from_wire, loads
from eventstore import EventStore, NewEvent

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from api.rasa_history import Record, Source
    from api.settings import Settings
    from dialogue import Event
    from eventstore import Database

__all__ = ["ImportedElsewhere", "Interrupted", "InvalidRecord", "Plan", "Tally", "import_history", "run"]

log = structlog.get_logger("turnlog.import")

MAX_BODY: Final = 60_000_000  #: bytes of one event
KNOWN: Final = 100_000  #: conversations whose standing is kept in hand

_LOOK: Final = 0.1  # seconds between two looks at how far it is
_REPLACED: Final = TrackerReplaced.type.encode()


class Interrupted(Exception):
    """A signal said stop; what was handed in until then is written."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(settings: Settings, source: Source, plan: Plan, tally: Tally) -> None:
    """Import a history into the configured database, which is brought up to date first.

    Raises:
        SourceUnusable: the history can't be read, or not any more.
        InvalidRecord: there is a record that is no event.
        ImportedElsewhere: another process imports under the same name.
        Interrupted: SIGINT or SIGTERM came.
        EventStoreError, EmbeddedPostgresError: the database can't be used, or stays away.
    """
    from api.serving import open_database

    with open_database(settings) as database:
        asyncio.run(_until_signal(_run(settings, database, source, plan, tally)))


async def _until_signal(running: Coroutine[None, None, None]) -> None:
    loop = asyncio.get_running_loop()
    work = loop.create_task(running)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)  # the next one ends the process at once
        work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await work
    except asyncio.CancelledError:
        if not received:
            raise
        raise Interrupted(received[0]) from None


async def _run(settings: Settings, database: Database, source: Source, plan: Plan, tally: Tally) -> None:
    from api.serving import prepare

    try:
        await source.open()
        await prepare(settings, database)
        watching = asyncio.create_task(_show(source, tally))
        try:
            async with EventStore(database, origin="import") as store:
                await import_history(store, source, plan, tally)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
    finally:
        await source.close()


async def _show(source: Source, tally: Tally) -> None:
    """Show progress until cancelled. How much standard input will bring nobody knows."""
    while not tally.records:  # noqa: ASYNC110  before that a run that goes on skips records, which looks like speed
        await asyncio.sleep(_LOOK)
    (begin, total), events = source.progress, tally.events
    if total is None:
        return
    with progress("import", total - begin) as shown:
        try:
            while True:
                shown.show(source.progress[0] - begin, tally.events - events)
                await asyncio.sleep(_LOOK)
        finally:
            shown.show(source.progress[0] - begin, tally.events - events)


async def import_history(store: EventStore, source: Source, plan: Plan, tally: Tally) -> None:
    """Import an open source into an open log whose origin is "import", and count in `tally` what is done.

    Raises:
        SourceUnusable, InvalidRecord, ImportedElsewhere: as `run`. What came before is written.
        EventStoreError: the database stays away, or refuses an event.
    """
    tally.start(await reached(store, plan))
    if plan.append and tally.begin:
        log.warning(
            "what earlier runs left out without --append stays out: only what follows is added",
            name=plan.name,
            after=tally.begin,
        )
    conversations = Conversations(store.read, plan)
    sink = Rehearsal(conversations, tally) if plan.dry_run else Pipeline(store, plan, conversations, tally)
    importer = Importer(source.unit, plan, conversations, sink, tally)
    try:
        async with aclosing(source.after(tally.begin)) as chunks:
            async for records in chunks:
                await importer.take(records)
        await sink.finish()
    finally:
        await sink.close()


class Importer:
    """Makes appends of records."""

    def __init__(self, unit: str, plan: Plan, conversations: Conversations, sink: Sink, tally: Tally) -> None:
        self._unit, self._plan = unit, plan
        self._conversations, self._sink, self._tally = conversations, sink, tally

    async def take(self, records: Sequence[Record]) -> None:
        """Import these records, which follow those taken before."""
        if len(self._conversations) > KNOWN and not self._plan.dry_run:
            await self._sink.finish()  # what is under way is not in the log yet, and would seem unknown
            self._conversations.forget()
        await self._conversations.look_up(record.conversation for record in records if record.conversation)
        for conversation, group in groupby(records, lambda record: record.conversation):
            await self._take_group(conversation, list(group))
        self._tally.records += len(records)

    async def _take_group(self, conversation: str, records: Sequence[Record]) -> None:
        if conversation and self._conversations.standing(conversation) == "foreign":
            self._tally.leave_out(conversation, len(records))
            return
        draft = Draft(conversation)
        for record in records:
            event = self._event(record)
            if event is not None:
                if draft.ends_before(event):
                    await self._sink.add(draft)
                    draft = Draft(conversation)
                draft.add(record.number, event)
        if draft.events:
            await self._sink.add(draft)

    def _event(self, record: Record) -> NewEvent | None:
        try:
            return new_event(record)
        except (InvalidEvent, InvalidJson) as error:
            invalid = InvalidRecord(self._place(record), _reason(error))
        if not self._plan.skip_invalid and not self._plan.dry_run:
            raise invalid
        self._tally.leave_out_invalid(invalid)
        return None

    def _place(self, record: Record) -> str:
        place = f"{self._unit} {record.number}"
        return f"{place} of conversation {record.conversation!r}" if record.conversation else place


def new_event(record: Record) -> NewEvent:
    """The event that a record holds, read as one that is posted over HTTP.

    Raises:
        InvalidJson, InvalidEvent: it holds none.
    """
    if record.fault:
        raise InvalidEvent(record.fault)
    event = _replaced(record.data) if _REPLACED in record.data else None
    event = event or _posted(record.data)
    body = encode(event)
    if len(body) > MAX_BODY:
        raise InvalidEvent(f"it has {len(body):,} bytes, and an event may have {MAX_BODY:,}")
    return NewEvent(event.type, float(event.timestamp), body, SCHEMA_VERSION)


def _posted(data: bytes) -> Event:
    events = decode_posted(data, time.time())
    if len(events) != 1:
        raise InvalidEvent(f"it holds {len(events)} events")
    return events[0]


def _replaced(data: bytes) -> Event | None:
    """The event by which a log of ours begins a conversation anew. Nobody may post it; it has no fields of its own."""
    wire = loads(data)
    if not isinstance(wire, dict) or wire.get("event") != TrackerReplaced.type:
        return None
    alike = from_wire({**wire, "event": "restart"}, time.time())
    return TrackerReplaced(timestamp=alike.timestamp, metadata=alike.metadata)


def _reason(error: InvalidEvent | InvalidJson) -> str:
    path = ".".join(map(str, error.path)) if isinstance(error, InvalidEvent) else ""
    return f"{path}: {error}" if path else str(error)
