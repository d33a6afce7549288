"""How fast one process reads the whole log and folds it into the index of conversations."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from dialogue import encode, from_wire
from eventstore import Append, Database, EventStore, NewEvent, embedded, migrate
from projections.conversations import ConversationIndex
from projections.runner import ProjectionRunner

if TYPE_CHECKING:
    from pathlib import Path

EVENTS: Final = 400_000
CONVERSATIONS: Final = 10_000
TURN: Final = (
    {
        "event": "user",
        "text": "hello",
        "parse_data": {"intent": {"name": "greet", "confidence": 0.9}},
        "input_channel": "rest",
    },
    {"event": "slot", "name": "city", "value": "Berlin"},
    {"event": "action", "name": "utter_greet", "policy": "RulePolicy", "confidence": 1.0},
    {"event": "bot", "text": "Hello!"},
    {"event": "action", "name": "action_listen"},
)


async def events_per_second(folder: Path) -> float:
    """Build the index anew over a log of turns, and return the events a second that it took."""
    server = await asyncio.to_thread(embedded.start, folder / "data")
    database = Database(server.dsn)
    await migrate(database)
    try:
        async with EventStore(database) as store:
            await _fill(store)
            return EVENTS / await _rebuild(store)
    finally:
        server.close()


async def _fill(store: EventStore) -> None:
    typed = [from_wire(event, 1_700_000_000.0) for event in TURN]
    turn = tuple(NewEvent(event.type, float(event.timestamp), encode(event)) for event in typed)
    for first in range(0, EVENTS // len(turn), 1000):
        numbers = range(first, min(first + 1000, EVENTS // len(turn)))
        requests = [Append(conversation=f"c{number % CONVERSATIONS}", events=turn) for number in numbers]
        await asyncio.gather(*map(store.append, requests))


async def _rebuild(store: EventStore) -> float:
    runner = ProjectionRunner(store, ConversationIndex())
    work = asyncio.create_task(runner.run())
    try:
        began = time.perf_counter()
        await runner.rebuild()
        return time.perf_counter() - began
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
