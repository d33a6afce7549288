"""An import: each record once and in order, whatever ends in between, and what it says of the rest."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
import structlog

from api import import_pipeline, importing, rasa_history
from api.import_pipeline import ImportedElsewhere
from api.import_plan import InvalidRecord, Plan, Tally
from api.importing import import_history
from api.rasa_history import JsonLines, Record, SourceUnusable, source_of
from brokers.messages import message_of
from eventstore import Append, CheckpointMove, EventStore, NewEvent, StoreUnavailable, verify
from eventstore.feed import Feed
from tests.api.rasa_database import (
    by_sender,
    contents,
    conversation,
    history,
    line,
    post,
    rows,
    with_lines,
    write_lines,
    write_postgres,
    write_source,
    write_sqlite,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from api.rasa_history import Source
    from eventstore import Appended, Database
    from tests.postgres import Server

DATA: Final = Path(__file__).parent.parent / "data"
KINDS: Final = ("sqlite", "postgres", "lines")


# ---- what the tests share ----


@pytest.fixture
async def store(database: Database) -> AsyncIterator[EventStore]:
    """The log, as an import opens it."""
    async with EventStore(database, origin="import") as store:
        yield store


@pytest.fixture
async def rasa(server: Server) -> AsyncIterator[Database]:
    """An empty database beside that of the log."""
    async with server.database(migrated=False) as rasa:
        yield rasa


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is read, written and kept at once."""
    monkeypatch.setattr(rasa_history, "CHUNK", 7)
    monkeypatch.setattr(import_pipeline, "APPEND", 3)
    monkeypatch.setattr(import_pipeline, "IN_FLIGHT", 10)
    monkeypatch.setattr(importing, "KNOWN", 5)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away is asked again at once."""
    monkeypatch.setattr(import_pipeline, "PAUSE", 0)
    monkeypatch.setattr(rasa_history, "PAUSE", 0)


@asynccontextmanager
async def opened(name: str, schema: str = "public") -> AsyncIterator[Source]:
    """A source that can be read."""
    source = source_of(name, schema)
    try:
        await source.open()
        yield source
    finally:
        await source.close()


async def imported(store: EventStore, source: str, schema: str = "public", **plan: Any) -> Tally:
    """Import a source, under the name "test" unless another is given."""
    tally = Tally()
    async with opened(source, schema) as history_:
        await import_history(store, history_, Plan(**{"name": "test", **plan}), tally)
    return tally


class Records:
    """A source in memory; `then` is called before each chunk but the first."""

    unit = "record"
    title = "memory"
    progress = (0, None)

    def __init__(self, chunks: Sequence[Sequence[Record]], then: Callable[[], Awaitable[object]]) -> None:
        self._chunks, self._then = chunks, then

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def after(self, number: int) -> AsyncGenerator[Sequence[Record], None]:
        for at, chunk in enumerate(self._chunks):
            if at:
                await self._then()
            yield [record for record in chunk if record.number > number]


def record(number: int, sender: str = "anna", **fields: Any) -> Record:
    """A slot that is set, or another event."""
    event = {"event": "slot", "name": "n", "value": number, "timestamp": 5.0, **fields}
    return Record(number, sender, json.dumps(event).encode())


async def values(store: EventStore, sender: str = "anna") -> list[int]:
    """The values of a conversation's slots, in order."""
    return [event["value"] for event in (await contents(store)).get(sender, ())]


# ---- all of it ----


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_event_arrives_once_in_the_order_of_its_conversation(
    kind: str, at_once: int, store: EventStore, rasa: Database, tmp_path: Path
) -> None:
    events = list(history(3_000, at_once=at_once))
    tally = await imported(store, await write_source(kind, events, tmp_path, rasa))
    expected = by_sender(events)
    assert await contents(store) == expected
    assert (tally.records, tally.events, tally.conversations) == (3_000, 3_000, len(expected))
    assert (await verify(store.read)).last == 3_000


@pytest.mark.parametrize("kind", KINDS)
async def test_little_is_in_hand_at_any_time(
    kind: str, store: EventStore, rasa: Database, tmp_path: Path, small: None
) -> None:
    events = list(history(300, at_once=8))
    tally = await imported(store, await write_source(kind, events, tmp_path, rasa))
    assert await contents(store) == by_sender(events)
    assert tally.conversations == len(by_sender(events))


async def test_every_type_of_event_comes_out_as_rasa_wrote_it(store: EventStore, tmp_path: Path) -> None:
    events = [("anna", sample["as_dict"]) for sample in json.loads((DATA / "events.json").read_text()).values()]
    write_sqlite(tmp_path / "rasa.db", rows(events))
    tally = await imported(store, str(tmp_path / "rasa.db"))
    assert tally.events == len(events) > 20
    assert await contents(store) == by_sender(events)


async def test_the_type_is_that_of_the_data_whatever_the_column_says(store: EventStore, tmp_path: Path) -> None:
    form = {"event": "active_loop", "timestamp": 1.5, "name": "pizza"}
    write_sqlite(tmp_path / "rasa.db", [(1, "anna", "form", 1.5, None, "pizza", json.dumps(form))])
    await imported(store, str(tmp_path / "rasa.db"))
    [event] = await store.read.positions(0, 10)
    assert (event.type, json.loads(event.body)) == ("active_loop", form)


async def test_imported_events_are_marked_and_say_who_has_imported_them(store: EventStore, tmp_path: Path) -> None:
    await imported(store, with_lines(tmp_path / "x", line()), name="of the old bot")
    stretch = await Feed(store.read).after(0)
    assert stretch is not None
    assert [event.imported for event in stretch.events] == [True]
    [row] = await store.read.fetch("SELECT actor FROM @schema@.event")
    assert row[0] == "import of the old bot"


async def test_what_a_log_published_comes_back_with_its_replaced_conversations(
    store: EventStore, server: Server, tmp_path: Path
) -> None:
    await imported(store, with_lines(tmp_path / "old", line("anna"), line("ben"), line("anna", value=2)))
    replaced = (NewEvent("tracker_replaced", 9.0, '{"event":"tracker_replaced","timestamp":9.0}'),)
    body = json.dumps({"event": "slot", "timestamp": 9.5, "name": "n", "value": 3})
    anew = (*replaced, NewEvent("slot", 9.5, body))
    await store.append(Append(conversation="anna", events=anew, replaces=True))
    stretch = await Feed(store.read).after(0)
    assert stretch is not None
    identity = (await store.read.identity()).id
    lines = [message_of(event, identity).body.decode() for event in stretch.events]
    async with server.database() as database, EventStore(database, origin="import") as other:
        await imported(other, with_lines(tmp_path / "published", *lines))
        assert await contents(other) == await contents(store)
        heads = [await each.read.head("anna") for each in (store, other)]
    assert [(head.version, head.generation, head.generation_version) for head in heads if head] == [(4, 2, 3)] * 2


async def test_lines_may_be_empty_and_end_without_a_line_break(store: EventStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"{line(value=1)}\r\n\n  \n{line(value=2)}")
    assert (await imported(store, str(tmp_path / "x"))).records == 2
    assert await values(store) == [1, 2]


async def test_a_schema_may_be_named(store: EventStore, rasa: Database) -> None:
    await write_postgres(rasa.dsn, rows([("anna", conversation(1)[0])]), schema='the "chat"')
    assert (await imported(store, rasa.dsn, 'the "chat"')).events == 1


async def test_large_records_are_read_few_at_once(
    store: EventStore, rasa: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasa_history, "CHUNK_BYTES", 1_000)
    events = [("anna", {"event": "bot", "timestamp": 1.0, "metadata": {}, "text": "x" * 600, "data": {}})] * 5
    for kind in KINDS:
        async with opened(await write_source(kind, events, tmp_path, rasa)) as source:
            sizes = [len(chunk) async for chunk in source.after(0)]
        assert sizes == [2, 2, 1], kind


async def test_an_append_is_bounded_in_bytes(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_pipeline, "APPEND_BYTES", 250)
    monkeypatch.setattr(import_pipeline, "IN_FLIGHT_BYTES", 1)
    await imported(store, with_lines(tmp_path / "x", *[line(value=number) for number in range(9)]))
    assert await values(store) == list(range(9))
    [row] = await store.read.fetch("SELECT max(last_position - first_position + 1) FROM @schema@.commit")
    assert 1 < row[0] < 5


# ---- once more ----


@pytest.mark.parametrize("kind", KINDS)
async def test_a_second_run_imports_what_was_added_since(
    kind: str, store: EventStore, rasa: Database, tmp_path: Path
) -> None:
    events = list(history(60, at_once=3))
    await imported(store, await write_source(kind, events[:40], tmp_path, rasa))
    path = tmp_path / f"history.{kind}"
    if kind == "postgres":
        await write_postgres(rasa.dsn, rows(events[40:], first=41))
    elif kind == "sqlite":
        write_sqlite(path, rows(events[40:], first=41))
    else:
        write_lines(path, events)
    tally = await imported(store, rasa.dsn if kind == "postgres" else str(path))
    assert (tally.begin, tally.records) == (40, 20)
    assert await contents(store) == by_sender(events)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_after_the_end_finds_nothing(kind: str, store: EventStore, rasa: Database, tmp_path: Path) -> None:
    source = await write_source(kind, history(40), tmp_path, rasa)
    await imported(store, source)
    tally = await imported(store, source)
    assert (tally.begin, tally.records, tally.events) == (40, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_another_history_under_the_same_name_is_refused(
    kind: str, store: EventStore, rasa: Database, tmp_path: Path
) -> None:
    await imported(store, with_lines(tmp_path / "x", *[line()] * 9))
    source = await write_source(kind, history(5), tmp_path, rasa)
    with pytest.raises(SourceUnusable, match=r"5.* has come to 9: this is not the same history"):
        await imported(store, source)


async def test_names_are_imports_of_their_own(store: EventStore, tmp_path: Path) -> None:
    await imported(store, with_lines(tmp_path / "x", line("anna")), name="one")
    tally = await imported(store, with_lines(tmp_path / "y", line("ben")), name="two")
    assert (tally.begin, tally.events) == (0, 1)


async def test_a_source_is_named_by_its_place_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sqlite(tmp_path / "rasa.db", [])
    with_lines(tmp_path / "x")
    names = ["x", "rasa.db", "sqlite:///rasa.db", f"sqlite:///{tmp_path}/rasa.db"]
    assert [source_of(name).title for name in names] == [str(tmp_path / name) for name in ["x", *["rasa.db"] * 3]]
    urls = ["postgresql://u:pw@db:5433/rasa?password=pw&sslmode=disable", "postgres://u:pw@/rasa?host=/run/pg&port=1"]
    assert [source_of(url).title for url in urls] == [
        "postgresql://db:5433/rasa",
        "postgresql:///rasa?host=/run/pg&port=1",
    ]
    assert source_of(urls[0], "chat").title == "postgresql://db:5433/rasa schema chat"
    assert source_of("-").title != source_of("-").title


# ---- conversations of others ----


async def test_a_conversation_with_other_events_is_left_out_whole(store: EventStore, tmp_path: Path) -> None:
    await post(store, "anna")
    tally = await imported(store, with_lines(tmp_path / "x", line("anna"), line("ben"), line("anna")))
    assert tally.left_out == {"anna": 2}
    assert (tally.events, await values(store, "anna"), await values(store, "ben")) == (1, [0], [1])


async def test_a_conversation_with_other_events_is_added_to_if_that_is_wanted(
    store: EventStore, tmp_path: Path
) -> None:
    await post(store, "anna")
    tally = await imported(store, with_lines(tmp_path / "x", line("anna", value=7), line("ben")), append=True)
    assert (tally.left_out, tally.events, tally.conversations) == ({}, 2, 1)
    assert await values(store, "anna") == [0, 7]


async def test_what_was_left_out_stays_out_in_later_runs(store: EventStore, tmp_path: Path) -> None:
    await post(store, "anna")
    await imported(store, with_lines(tmp_path / "x", line("anna"), line("ben")))
    tally = await imported(store, with_lines(tmp_path / "x", line("anna"), line("ben"), line("anna"), line("ben")))
    assert (tally.left_out, tally.events, tally.conversations) == ({"anna": 1}, 1, 0)


async def test_a_later_run_that_appends_says_what_it_can_not_do(store: EventStore, tmp_path: Path) -> None:
    await imported(store, with_lines(tmp_path / "x", line()))
    with structlog.testing.capture_logs() as logged:
        await imported(store, str(tmp_path / "x"), append=True)
    assert [entry["after"] for entry in logged] == [1]


async def test_a_conversation_that_somebody_begins_meanwhile_is_left_out_from_then_on(store: EventStore) -> None:
    chunks = [[record(1, "ben")], [record(2), record(3, "ben"), record(4)], [record(5), record(6, "ben")]]
    begun: list[str] = []

    async def begin() -> None:
        if not begun:
            begun.append("anna")
            await post(store, "anna")

    class Late(EventStore):
        """The log whose conversation begins after the import has looked for it."""

        async def append(self, request: Append) -> Appended:
            if request.conversation == "anna" and request.actor != "somebody":
                await begin()
            return await super().append(request)

    tally = Tally()
    async with Late(store.database, origin="import") as late:
        await import_history(late, Records(chunks, lambda: asyncio.sleep(0)), Plan(name="test"), tally)
    assert tally.left_out == {"anna": 3}
    assert (await values(store, "anna"), await values(store, "ben"), tally.events) == ([0], [1, 3, 6], 3)


async def test_events_that_come_to_an_imported_conversation_meanwhile_do_not_stop_it(store: EventStore) -> None:
    chunks = [[record(1)], [record(2)]]

    async def come() -> None:
        while await values(store) == []:  # noqa: ASYNC110  what is waited for happens in the database
            await asyncio.sleep(0.01)
        await post(store, "anna", 100)

    await import_history(store, Records(chunks, come), Plan(name="test"), Tally())
    assert await values(store) == [1, 100, 2]


# ---- records that are no events ----

INVALID: Final = {
    '{"event": "slot", "name": "n", "value": 1, "timestamp": NaN}': "NaN is not JSON",
    '{"event": "slot", "name": "n", "value": 1, "timestamp": 1e999}': "1e999 is too large",
    '{"event": "slot", "name": "n", "value": 1, "timestamp": "today"}': "timestamp: 'today' is not of type",
    '{"event": "no_such_event"}': "is not valid under any",
    '{"event": "tracker_replaced", "timestamp": "x"}': "timestamp: 'x' is not of type",
    '{"event": "slot"': "Expecting",
    "[]": "it holds 0 events",
    "7": "is not of type 'object'",
    "": "Expecting value",
}


@pytest.mark.parametrize("data", [*INVALID, None])
async def test_an_invalid_record_stops_the_import_behind_the_valid_ones(
    data: str | None, store: EventStore, tmp_path: Path
) -> None:
    valid = [(number, "anna", "slot", 5.0, None, None, record(number).data.decode()) for number in (1, 2, 4)]
    other = (3, "ben", "slot", 5.0, None, None, data)
    write_sqlite(tmp_path / "rasa.db", [*valid, other])
    reason = "it has no data" if data is None else INVALID[data]
    with pytest.raises(InvalidRecord, match=f"^record 3.* is no valid event: .*{re.escape(reason)}"):
        await imported(store, str(tmp_path / "rasa.db"))
    assert await contents(store) == by_sender([("anna", json.loads(record(number).data)) for number in (1, 2)])
    tally = await imported(store, str(tmp_path / "rasa.db"), skip_invalid=True)
    assert (tally.begin, tally.events, tally.invalid) == (2, 1, 1)
    assert await values(store) == [1, 2, 4]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"sender_id": "anna"', "line 2 is no valid event: Expecting"),
        ('["sender_id"]', "line 2 is no valid event: it is no JSON object"),
        ('{"event": "restart"}', "line 2 is no valid event: it has no sender_id"),
        ('{"event": "restart", "sender_id": 5}', "line 2 is no valid event: it has no sender_id"),
        ('{"event": "restart", "sender_id": ""}', "line 2 is no valid event: a conversation id has 1 to 1024 bytes"),
        ('{"event": "restart", "sender_id": "\\u0000"}', "line 2 is no valid event: .* contains U\\+0000"),
        ('{"event": "restart", "sender_id": "\\ud800"}', "line 2 is no valid event: .* is not valid Unicode"),
        ('{"event": "restart", "sender_id": "' + "x" * 200 + '"}', "line 2 is no valid event: it is longer than 180"),
        ('{"event": "usr", "sender_id": "ben"}', "line 2 of conversation 'ben' is no valid event"),
    ],
)
async def test_an_invalid_line_is_named_with_its_reason(
    text: str, reason: str, store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasa_history, "MAX_LINE", 180)
    source = with_lines(tmp_path / "x", line(), text, line(value=2))
    with pytest.raises(InvalidRecord, match=reason):
        await imported(store, source)
    tally = await imported(store, source, skip_invalid=True)
    assert (tally.invalid, await values(store)) == (1, [1, 2])


async def test_bytes_that_are_no_text_are_no_senders_name(store: EventStore, tmp_path: Path) -> None:
    write_sqlite(tmp_path / "rasa.db", [])
    with closing(sqlite3.connect(tmp_path / "rasa.db")) as connection:
        connection.execute("INSERT INTO events VALUES (1, CAST(x'ff' AS TEXT), 'restart', 1.0, NULL, NULL, '{}')")
        connection.commit()
    with pytest.raises(InvalidRecord, match=r"record 1 is no valid event: .* is not valid Unicode"):
        await imported(store, str(tmp_path / "rasa.db"))


async def test_an_event_that_no_append_holds_is_invalid(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_BODY", 100)
    with pytest.raises(InvalidRecord, match=r"it has 1[0-9]{2} bytes, and an event may have 100"):
        await imported(store, with_lines(tmp_path / "x", line(value="x" * 100)))


async def test_invalid_records_of_a_conversation_that_is_left_out_do_not_matter(
    store: EventStore, tmp_path: Path
) -> None:
    await post(store, "anna")
    tally = await imported(store, with_lines(tmp_path / "x", line(event="usr"), line("ben")))
    assert (tally.left_out, tally.invalid, tally.events) == ({"anna": 1}, 0, 1)


async def test_text_that_no_column_takes_survives(store: EventStore, tmp_path: Path) -> None:
    texts = ["\0", "\ud800", "é\U0001f600"]
    lines = [line(value=text) for text in texts] + [
        '{"sender_id":"anna","event":"restart","timestamp":2.0,"\\ud800":1}'
    ]
    await imported(store, with_lines(tmp_path / "x", *lines))
    events = (await contents(store))["anna"]
    assert [event["value"] for event in events[:3]] == texts
    assert events[3] == {"event": "restart", "timestamp": 2.0}


# ---- a dry run ----


async def test_a_dry_run_counts_as_the_import_will_and_writes_nothing(
    store: EventStore, tmp_path: Path, small: None
) -> None:
    odd = {"event": "usr", "timestamp": 1.0}
    await post(store, "sender-3")
    write_lines(tmp_path / "x", [*history(100, at_once=10), ("odd", odd), ("odd", odd)])
    dry = await imported(store, str(tmp_path / "x"), dry_run=True)
    assert await store.read.last_position() == 1
    assert await store.checkpoints.get("import test") is None
    tally = await imported(store, str(tmp_path / "x"), skip_invalid=True)
    assert (dry.events, dry.conversations, dry.left_out) == (tally.events, tally.conversations, tally.left_out)
    assert (dry.invalid, tally.invalid) == (2, 2)


# ---- whatever ends in between ----


class Failing(EventStore):
    """A log that loses some requests before they are written, and some answers after."""

    def __init__(self, database: Database, dice: random.Random) -> None:
        super().__init__(database, origin="import")
        self._dice = dice
        self.failures = 0

    async def append(self, request: Append) -> Appended:
        fate = self._dice.random()
        if fate < 0.04:
            self.failures += 1
            raise StoreUnavailable("lost before", "not_written")
        appended = await super().append(request)
        if fate < 0.08:
            self.failures += 1
            raise StoreUnavailable("lost behind", "unknown")
        return appended


@pytest.mark.parametrize("seed", range(6))
async def test_each_record_is_imported_once_whatever_fails(
    seed: int, database: Database, tmp_path: Path, impatient: None, small: None
) -> None:
    dice = random.Random(seed)
    events = list(history(400, at_once=dice.choice([1, 5]), seed=seed))
    write_lines(tmp_path / "x", events)
    store = Failing(database, dice)
    async with store:
        tally = await imported(store, str(tmp_path / "x"))
        assert await contents(store) == by_sender(events)
        assert (tally.events, tally.conversations) == (400, len(by_sender(events)))
        assert store.failures > 5


async def test_sessions_that_the_server_ends_do_not_matter(store: EventStore, rasa: Database, impatient: None) -> None:
    events = list(history(9_000, at_once=10))
    await write_postgres(rasa.dsn, rows(events))
    ended, pause = 0, 0.1
    importing_now = asyncio.create_task(imported(store, rasa.dsn))
    while not importing_now.done():
        await asyncio.sleep(pause)
        pause *= 1.2  # on a busy machine nothing gets done in a tenth of a second
        [row] = await store.read.fetch(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname IN (current_database(), $1)",
            urlsplit(rasa.dsn).path[1:],
        )
        ended += row[0]
    assert (await importing_now).events == 9_000
    assert ended > 0
    assert await contents(store) == by_sender(events)


async def test_a_database_that_stays_away_ends_the_import(
    database: Database, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(EventStore):
        """A log that takes nothing."""

        async def append(self, request: Append) -> Appended:
            raise StoreUnavailable("gone")

    monkeypatch.setattr(import_pipeline, "TRIES", 3)
    with structlog.testing.capture_logs() as logged:
        async with Away(database) as store:
            with pytest.raises(StoreUnavailable, match="gone"):
                await imported(store, with_lines(tmp_path / "x", line(), line("ben")))
    assert [entry["reason"] for entry in logged] == ["gone", "gone"]


async def test_two_imports_of_one_name_import_each_record_once(
    store: EventStore, database: Database, tmp_path: Path, small: None
) -> None:
    events = list(history(1_000, at_once=4))
    write_lines(tmp_path / "x", events)
    async with EventStore(database, origin="import") as other:
        ends = await asyncio.gather(
            *(imported(each, str(tmp_path / "x")) for each in (store, other)), return_exceptions=True
        )
    assert all(isinstance(end, Tally | ImportedElsewhere) for end in ends), ends
    await imported(store, str(tmp_path / "x"))
    assert await contents(store) == by_sender(events)


async def test_an_import_stops_when_another_one_has_the_checkpoint(store: EventStore) -> None:
    async def interfere() -> None:
        while (checkpoint := await store.checkpoints.get("import test")) is None:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.01)
        move = CheckpointMove("import test", checkpoint.position, 500)
        await store.append(Append(conversation="x", events=(NewEvent("slot", 1.0, "{}"),), checkpoint=move))

    chunks = [[record(1)], [record(2)]]
    with pytest.raises(ImportedElsewhere, match="under the name 'test', and has come to 500"):
        await import_history(store, Records(chunks, interfere), Plan(name="test"), Tally())
    assert await values(store) == [1]


# ---- sources that can't be read ----


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "^nothing: no such file$"),
        (".", "^.: not a file$"),
        ("sqlite:///nothing.db", "^nothing.db: no such file$"),
        ("mysql://root:s3cr3t@db/rasa", "^mysql:// can't be read"),
        ("postgresql://u:s3cr3t/1@db/rasa", "^SOURCE: "),
    ],
)
def test_what_is_no_source_is_refused(name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceUnusable, match=reason) as raised:
        source_of(name)
    assert "s3cr3t" not in str(raised.value)


async def refused(name: str, schema: str = "public") -> str:
    """Why a source can't be opened."""
    with pytest.raises(SourceUnusable) as raised:
        async with opened(name, schema):
            pass
    return str(raised.value)


async def test_a_database_without_the_table_is_refused(rasa: Database, tmp_path: Path) -> None:
    assert "schema 'public' has no table `events`; --source-schema names another one" in await refused(rasa.dsn)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE other (id int)")
    assert (
        await refused(str(tmp_path / "other.db")) == f"{tmp_path / 'other.db'}: this SQLite file has no table `events`"
    )


async def test_a_table_without_the_columns_is_refused(rasa: Database, tmp_path: Path, store: EventStore) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE events (id int, data text)")
    assert "no such column: sender_id" in await refused(str(tmp_path / "other.db"))
    connection_ = await rasa.connect()
    await connection_.execute("CREATE TABLE events (id int, data text)")
    await connection_.close()
    assert 'column "sender_id" does not exist' in await refused(rasa.dsn)


async def test_a_server_that_lets_nobody_in_is_named_without_the_password(rasa: Database) -> None:
    url = rasa.dsn.replace("postgresql://turnlog@", "postgresql://nobody:s3cr3t@")
    reason = await refused(url)
    assert 'role "nobody" does not exist' in reason
    assert "s3cr3t" not in reason


@pytest.mark.parametrize("parameter", ["sslmode=loud", "port=many", "sslmode=require&sslrootcert=/nothing"])
async def test_a_url_with_a_wrong_parameter_is_refused(parameter: str) -> None:
    assert "s3cr3t" not in await refused(f"postgresql://u:s3cr3t@localhost:1/rasa?{parameter}")


async def test_a_log_is_not_imported_into_itself(database: Database) -> None:
    reason = await refused(database.dsn, database.schema)
    assert "schema 'turnlog' holds a log of Turnlog, which is not imported into itself" in reason


async def test_ids_begin_at_one(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "rasa.db", rows([("anna", conversation(1)[0])], first=0))
    assert "has the id 0" in await refused(str(tmp_path / "rasa.db"))


async def test_a_locked_file_is_refused(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "rasa.db", rows(history(5)))
    with closing(sqlite3.connect(tmp_path / "rasa.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in await refused(str(tmp_path / "rasa.db"))


async def test_a_file_with_a_write_ahead_log_is_read_whole(store: EventStore, tmp_path: Path) -> None:
    path = tmp_path / "rasa.db"
    write_sqlite(path, rows(history(5)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows(history(5), first=6))
        connection.commit()
        assert (await imported(store, str(path))).events == 10


async def test_closing_does_not_wait_for_a_line_that_never_comes() -> None:
    ends = os.pipe()
    kept = os.dup(0)
    os.dup2(ends[0], 0)
    try:
        source = JsonLines(None)
        await source.open()
        reading = asyncio.create_task(anext(source.after(0)))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait([reading])
        await source.close()
    finally:
        os.dup2(kept, 0)
        for each in (*ends, kept):
            os.close(each)
