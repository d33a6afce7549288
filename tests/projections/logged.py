"""What the tests of trackers share: the truth, folded from the whole log, and what a reader asks the database."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

import dialogue
from dialogue import Domain, Event, Tracker, TrackerReplaced, decode_stored, dumps, encode, from_wire, session_start
from eventstore.reads import CONVERSATION, HEADS
from projections import Trackers, View, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest

    from eventstore import Appended, EventStore


def event(kind: str, timestamp: float = 1.0, **fields: Any) -> Event:
    """An event as a client posts it."""
    return from_wire({"event": kind, "timestamp": timestamp, **fields}, timestamp)


def slot(value: Any, name: str = "city", timestamp: float = 1.0) -> Event:
    """A slot event."""
    return event("slot", timestamp, name=name, value=value)


def replaced() -> Event:
    """The event that begins a generation."""
    return TrackerReplaced(timestamp=1.0, metadata={})


def opening() -> tuple[Event, ...]:
    """The three events that open a conversation."""
    return session_start(1.0, {})


def new_id() -> str:
    """A conversation that nobody has used."""
    return f"c-{secrets.token_hex(6)}"


async def post(trackers: Trackers, conversation: str, *events: Event, **fields: Any) -> tuple[View, Appended]:
    """Append events, with an opening if there is nothing yet."""
    return await trackers.append(Write(conversation=conversation, events=events, opening=opening, **fields))


async def put(trackers: Trackers, conversation: str, *events: Event, **fields: Any) -> tuple[View, Appended]:
    """Replace a conversation."""
    write = Write(conversation=conversation, events=(replaced(), *events), replaces=True, **fields)
    return await trackers.append(write)


async def logged(store: EventStore, conversation: str, upto: int | None = None) -> list[Event]:
    """All events of a conversation up to a version, of all generations."""
    head = await store.read.head(conversation)
    assert head is not None
    recorded = await store.read.conversation(conversation, head, 0, head.version if upto is None else upto)
    return [decode_stored(item.type, item.schema_version, item.body) for item in recorded]


def folded(events: Sequence[Event], domain: Domain) -> Tracker:
    """The state that events make, folded at once from the first one on."""
    return dialogue.fold(dialogue.initial(domain), events, domain, ())


def exact(tracker: Tracker) -> str:
    """A state as text, in which 1, 1.0 and True differ."""
    return dumps(msgspec.to_builtins(tracker))


def listed(events: Iterable[Event]) -> str:
    """Events as the text of a JSON array."""
    return f"[{','.join(map(encode, events))}]"


async def snapshots_written() -> None:
    """Return when nothing waits to be written behind the answers any more."""
    await asyncio.gather(*[task for task in asyncio.all_tasks() if task.get_name() == "snapshots"])


class Reads:
    """Counts what a store asks the database beside appends."""

    def __init__(self, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heads = self.events = self.statements = 0
        self._fetch = store.read.fetch
        monkeypatch.setattr(store.read, "fetch", self._counting)

    async def _counting(self, statement: str, *arguments: Any, **options: Any) -> Any:
        rows = await self._fetch(statement, *arguments, **options)
        self.statements += 1
        self.heads += statement == HEADS
        self.events += len(rows) if statement == CONVERSATION else 0
        return rows
