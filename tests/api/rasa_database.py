"""Histories as Rasa leaves them (tracker stores in SQLite and Postgres, JSON lines), and what the log makes of them."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from eventstore import Append, NewEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from eventstore import Database, EventStore

Json = dict[str, Any]
Row = tuple[int, str, str, float | None, str | None, str | None, str | None]
"""id, sender_id, type_name, timestamp, intent_name, action_name, data"""

COLUMNS: Final = ("id", "sender_id", "type_name", "timestamp", "intent_name", "action_name", "data")

SQLITE: Final = (
    """CREATE TABLE events (
    id INTEGER NOT NULL, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL, timestamp FLOAT,
    intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT, PRIMARY KEY (id))""",
    "CREATE INDEX ix_events_sender_id ON events (sender_id)",
)
POSTGRES: Final = """
CREATE TABLE events (
    id SERIAL NOT NULL, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL, timestamp FLOAT,
    intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT, PRIMARY KEY (id));
CREATE INDEX ix_events_sender_id ON events (sender_id)
"""


def turn(text: str, timestamp: float) -> list[Json]:
    """What one message of a user leaves behind in Rasa: seven events."""
    parse_data = {
        "intent": {"name": "book", "confidence": 0.9871},
        "entities": [{"entity": "people", "start": 12, "end": 15, "confidence_entity": 0.99, "value": "two"}],
        "text": text,
        "message_id": "b7c2",
        "metadata": {},
        "text_tokens": [[0, 1], [2, 7]],
        "intent_ranking": [{"name": "book", "confidence": 0.9871}, {"name": "greet", "confidence": 0.01}],
    }
    user = {"text": text, "parse_data": parse_data, "input_channel": "rest", "message_id": "b7c2"}
    buttons = {"elements": None, "quick_replies": None, "buttons": None, "attachment": None, "image": None}
    events: list[Json] = [
        {"event": "user", **user, "metadata": {}},
        {"event": "slot", "name": "people", "value": "two"},
        action("booking_form"),
        {"event": "active_loop", "name": "booking_form"},
        {"event": "slot", "name": "requested_slot", "value": "time"},
        {"event": "bot", "text": "Wann? ☕", "data": {**buttons, "custom": None}, "metadata": {"utter_action": "ask"}},
        action("action_listen"),
    ]
    return [_stamped(event, timestamp + 0.001 * at) for at, event in enumerate(events)]


def session(timestamp: float) -> list[Json]:
    """How a conversation begins."""
    events: list[Json] = [action("action_session_start"), {"event": "session_started"}, action("action_listen")]
    return [_stamped(event, timestamp) for event in events]


def action(name: str) -> Json:
    """An action that ran."""
    fields = {"name": name, "policy": "RulePolicy", "confidence": 1.0, "action_text": None, "hide_rule_turn": False}
    return {"event": "action", **fields}


def conversation(turns: int, timestamp: float = 1_700_000_000.5) -> list[Json]:
    """The events of a conversation."""
    talk = [event for number in range(turns) for event in turn(f"message {number}", timestamp + 10 * number)]
    return [*session(timestamp), *talk]


def _stamped(event: Json, timestamp: float) -> Json:
    metadata = {"model_id": "d5", **event.get("metadata", {})}
    return {"event": event["event"], "timestamp": timestamp, **event, "metadata": metadata}


def history(events: int, *, at_once: int = 1, seed: int = 1) -> Iterator[tuple[str, Json]]:
    """So many events of conversations of all lengths; `at_once` of these go on at the same time, mixed."""
    dice = random.Random(seed)
    numbers = count(1)
    talks = [_talk(next(numbers), dice) for _ in range(at_once)]
    for _ in range(events):
        place = dice.randrange(at_once)
        said = next(talks[place], None)
        if said is None:
            talks[place] = _talk(next(numbers), dice)
            said = next(talks[place])
        yield said


def _talk(number: int, dice: random.Random) -> Iterator[tuple[str, Json]]:
    for event in conversation(dice.randint(1, 12), 1_700_000_000.25 + number):
        yield f"sender-{number}", event


def rows(events: Iterable[tuple[str, Json]], *, first: int = 1) -> Iterator[Row]:
    """The rows of these events, each with its sender."""
    for number, (sender, event) in enumerate(events, first):
        intent = event.get("parse_data", {}).get("intent", {}).get("name")
        yield number, sender, event["event"], event["timestamp"], intent, event.get("name"), json.dumps(event)


def write_sqlite(path: Path, rows: Iterable[Row]) -> None:
    """Make a tracker store in an SQLite file, or add to one."""
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in SQLITE:
                connection.execute(statement)
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()


async def write_postgres(dsn: str, rows: Iterable[Row], *, schema: str = "public") -> None:
    """Make a tracker store in a schema of a Postgres database, or add to one."""
    connection = await asyncpg.connect(dsn)
    try:
        quoted = '"' + schema.replace('"', '""') + '"'
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}; SET search_path = {quoted}")
        if not await connection.fetchval("SELECT to_regclass('events')"):
            await connection.execute(POSTGRES)
        await connection.copy_records_to_table("events", schema_name=schema, columns=COLUMNS, records=rows)
    finally:
        await connection.close()


def write_lines(path: Path, events: Iterable[tuple[str, Json]]) -> None:
    """Write a file of JSON lines, as Rasa's file broker does."""
    with path.open("w") as file:
        for sender, event in events:
            file.write(json.dumps({"sender_id": sender, **event}) + "\n")


async def contents(store: EventStore) -> dict[str, list[Json]]:
    """The events of all conversations of the log, each conversation in order."""
    found: dict[str, list[Json]] = defaultdict(list)
    for event in await store.read.positions(0, 1_000_000):
        found[event.conversation].append(json.loads(event.body))
        assert event.version == len(found[event.conversation])
    return dict(found)


def by_sender(events: Iterable[tuple[str, Json]]) -> dict[str, list[Json]]:
    """What the log should hold."""
    found: dict[str, list[Json]] = defaultdict(list)
    for sender, event in events:
        found[sender].append(event)
    return dict(found)


async def post(store: EventStore, sender: str, value: int = 0) -> None:
    """Somebody else's event."""
    body = json.dumps({"event": "slot", "timestamp": 1.0, "name": "n", "value": value})
    await store.append(Append(conversation=sender, events=(NewEvent("slot", 1.0, body),), actor="somebody"))


def with_lines(path: Path, *lines: str) -> str:
    """A file of lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def line(sender: str = "anna", **fields: Any) -> str:
    """A line of JSON that is an event."""
    return json.dumps({"sender_id": sender, "event": "slot", "timestamp": 5.0, "name": "n", "value": 1, **fields})


async def write_source(kind: str, events: Iterable[tuple[str, Json]], folder: Path, rasa: Database) -> str:
    """Make a source of these events, and return how a command line names it."""
    if kind == "postgres":
        await write_postgres(rasa.dsn, rows(events))
        return rasa.dsn
    path = folder / f"history.{kind}"
    write_lines(path, events) if kind == "lines" else write_sqlite(path, rows(events))
    return str(path)
