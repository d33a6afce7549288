"""The view `events`: the log in the shape of the table in which Rasa keeps events."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue import encode, from_wire
from dialogue.text import storable
from eventstore import Append, EventStore, NewEvent
from tests.eventstore.helpers import session, together
from tests.eventstore.plans import kinds, plan, relations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database
    from eventstore.database import Connection
    from tests.postgres import Server

EVENTS: Final[dict[str, dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "data" / "events.json").read_text()
)
# What Rasa fills into the two columns of names; events that are not here have neither.
NAMES: Final = {
    "user": ("greet", None),
    "action": (None, "utter_greet"),
    "slot": (None, "city"),
    "followup": (None, "action_echo"),
    "reminder": (None, "rem1"),
    "active_loop": (None, "pizza_form"),
    "form": (None, "pizza_form"),
    "action_execution_rejected": (None, "pizza_form"),
}
ODD: Final = [
    "\0",
    "a\0b",
    "\ud83d",
    "\ude00",
    "\ude00\ud83d",
    "\ud83d\ud83d\ude00",
    "\U0001f600\ude00",
    "\U0001f600\0\U0001f601",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\\0",
    "\\ud83d\ude00",
    "\ud83d\\ude00",
    '"\\"\\\\',
    "é\ufffd\u2028\x7f",
    "x" * 5000,
    "",
]
ALPHABET: Final = ["\0", "\ud83d", "\ude00", "\ud800", "\udfff", "\U0001f600", "\\", "u", "0", "d83d", "0000", '"', "é"]


def new(wire: dict[str, Any]) -> NewEvent:
    """An event as a client posts it."""
    event = from_wire(wire, 1700000000.0)
    return NewEvent(event.type, float(event.timestamp), encode(event))


def slot(name: str) -> NewEvent:
    """An event with a name."""
    return new({"event": "slot", "name": name, "value": None})


def user(intent: str) -> NewEvent:
    """An event with an intent."""
    return new({"event": "user", "text": intent, "parse_data": {"intent": {"name": intent}}})


async def write(store: EventStore, conversation: str, *events: NewEvent) -> None:
    """Append events."""
    await store.append(Append(conversation=conversation, events=events))


async def rows(connection: Connection, conversation: str) -> list[Any]:
    """What Rasa would read of a conversation."""
    return await connection.fetch("SELECT * FROM turnlog.events WHERE sender_id = $1 ORDER BY id", conversation)


# ---- shape and content ----


async def test_the_columns_are_those_of_rasas_table(connection: Connection) -> None:
    found = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'turnlog' AND table_name = 'events' ORDER BY ordinal_position"
    )
    assert [tuple(row) for row in found] == [
        ("id", "bigint"),
        ("sender_id", "character varying"),
        ("type_name", "character varying"),
        ("timestamp", "double precision"),
        ("intent_name", "character varying"),
        ("action_name", "character varying"),
        ("data", "text"),
    ]


@pytest.mark.parametrize("kind", EVENTS)
async def test_an_event_has_the_names_that_rasa_gives_it(store: EventStore, connection: Connection, kind: str) -> None:
    wire = EVENTS[kind]["as_dict"]
    await write(store, "c", new(wire))
    [row] = await rows(connection, "c")
    assert (row["intent_name"], row["action_name"]) == NAMES.get(kind, (None, None))


@pytest.mark.parametrize("kind", EVENTS)
async def test_a_row_holds_the_event_as_it_is_stored(store: EventStore, connection: Connection, kind: str) -> None:
    event = new(EVENTS[kind]["as_dict"])
    await write(store, "ü 1", slot("before"), event)
    row = (await rows(connection, "ü 1"))[1]
    assert tuple(row)[:4] == (2, "ü 1", event.type, event.timestamp)
    assert row["data"] == event.body


async def test_an_event_of_a_type_that_is_not_known_has_its_name(store: EventStore, connection: Connection) -> None:
    await write(store, "c", NewEvent("flow_started", 1.0, '{"event":"flow_started","name":"pay"}'))
    [row] = await rows(connection, "c")
    assert (row["type_name"], row["action_name"]) == ("flow_started", "pay")


@pytest.mark.parametrize(("value", "name"), [(None, None), (5, "5"), (True, "true"), ({"a": [1]}, '{"a":[1]}')])
async def test_a_name_that_is_no_text_is_shown_as_json(
    store: EventStore, connection: Connection, value: Any, name: str | None
) -> None:
    await write(store, "c", new({"event": "followup", "name": value}))
    [row] = await rows(connection, "c")
    assert row["action_name"] == name


async def test_a_replacement_shows_no_row_of_its_own(store: EventStore, connection: Connection) -> None:
    await write(store, "c", slot("first"))
    replaced = NewEvent("tracker_replaced", 1.0, '{"event":"tracker_replaced","timestamp":1.0}')
    await store.append(Append(conversation="c", events=(replaced, slot("second")), replaces=True))
    assert [(row["id"], row["action_name"]) for row in await rows(connection, "c")] == [(1, "first"), (3, "second")]


async def test_nothing_can_be_written_through_it(connection: Connection) -> None:
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await connection.execute("INSERT INTO turnlog.events (sender_id, type_name) VALUES ('c', 'user')")


# ---- names that no column of Postgres can hold ----


@pytest.mark.parametrize("name", ODD, ids=ascii)
async def test_a_name_is_shown_with_replacement_characters(
    store: EventStore, connection: Connection, name: str
) -> None:
    await write(store, "c", slot(name), user(name))
    by_name, by_intent = await rows(connection, "c")
    assert (by_name["action_name"], by_intent["intent_name"]) == (shown(name), shown(name))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.lists(st.sampled_from(ALPHABET), max_size=8).map("".join))
async def test_every_name_is_shown(connection: Connection, name: str) -> None:
    statement = "SELECT turnlog.json_text($1, 'name'), turnlog.json_text($1, 'other', 'name')"
    [found] = await connection.fetch(statement, json.dumps({"name": name, "other": {"name": name}, "text": name}))
    assert tuple(found) == (shown(name), shown(name))


def shown(name: str) -> str:
    """A name as a column holds it. JSON joins two surrogates that happen to be a pair."""
    return storable(json.loads(json.dumps(name)))


async def test_what_stands_beside_a_name_does_no_harm(store: EventStore, connection: Connection) -> None:
    wire = {"event": "slot", "name": "city", "value": {"\0": "\ud800", "a": 10**400, "b": nested(400)}}
    await write(store, "c", new(wire))
    [row] = await rows(connection, "c")
    assert row["action_name"] == "city"
    assert json.loads(row["data"])["value"] == wire["value"]


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# ---- speed ----


@pytest.fixture(scope="module")
async def log(server: Server) -> AsyncIterator[Connection]:
    """A session as any client has it, in a database with a log of some size."""
    async with server.database() as database, session(database) as connection:
        async with EventStore(database) as store:
            events = tuple(slot(f"s{number}") for number in range(10))
            await together(store, [Append(conversation=f"c{number}", events=events) for number in range(2000)])
        await connection.execute("ANALYZE")
        yield connection


READS: Final = {
    "a conversation": ("SELECT * FROM @schema@.events WHERE sender_id = $1 ORDER BY id", "c77"),
    "a conversation by time": ("SELECT * FROM @schema@.events WHERE sender_id = $1 ORDER BY timestamp", "c77"),
    "a page": ("SELECT * FROM @schema@.events WHERE id > $1 ORDER BY id LIMIT 10", 1000),
    "the last session": (
        "SELECT max(timestamp) FROM @schema@.events WHERE sender_id = $1 AND type_name = 'session_started'",
        "c77",
    ),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_uses_indexes_in_a_session_of_the_service(log: Connection, name: str) -> None:
    statement, argument = READS[name]
    found = await plan(log, statement, argument)
    await log.execute("RESET ALL")
    assert relations(found) > {"conversation"}
    assert "Seq Scan" not in kinds(found)


@pytest.mark.parametrize("name", READS)
async def test_a_read_uses_indexes_in_any_session(log: Connection, name: str) -> None:
    statement, argument = READS[name]
    text = statement.replace("@schema@", "turnlog").replace("$1", f"'{argument}'")
    explained = "\n".join(row[0] for row in await log.fetch(f"EXPLAIN {text}"))
    assert "Index" in explained
    assert not re.search("Seq Scan on (event_0|conversation)", explained)  # the partition ahead is empty


async def test_it_can_be_read_by_parallel_workers(log: Connection) -> None:
    major = int(await log.fetchval("SHOW server_version_num")) // 10000
    await log.execute(f"SET {'debug_parallel_query' if major >= 16 else 'force_parallel_mode'} = on")
    try:
        [[count]] = await log.fetch("SELECT count(action_name) FROM turnlog.events")  # fetchval would run alone
    finally:
        await log.execute("RESET ALL")
    assert count == 20_000


# ---- rights ----


async def test_a_role_that_may_read_only_the_view_reads_it(
    store: EventStore, connection: Connection, database: Database
) -> None:
    await write(store, "c", slot("city\0"))
    role = f"turnlog_reader_{os.getpid()}"
    await connection.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA turnlog TO {role}; GRANT SELECT ON turnlog.events TO {role}"
    )
    try:
        async with session(database) as reader:
            await reader.execute(f"SET ROLE {role}")
            [row] = await rows(reader, "c")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.fetch("SELECT * FROM turnlog.event")
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert row["action_name"] == "city\ufffd"
