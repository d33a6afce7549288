"""Reminders: scheduled by turns and requests, run once over all processes, as far as the log says that they count."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from assistant import reminders as rows
from assistant.reminding import Answering, Reminding
from dialogue import (
    ReminderCancelled,
    ReminderScheduled,
    Restarted,
    UserUtteranceReverted,
    UserUttered,
    session_start,
)
from eventstore import EventStore
from eventstore.database import prepare_session
from projections import Write
from tests.assistant.answering import process
from tests.eventstore.helpers import session
from tests.eventstore.plans import plan, scans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from assistant.scene import Scene
    from dialogue import Event
    from eventstore import Database
    from tests.assistant.answering import Process

FIRED = ["user EXTERNAL: greet", "user_featurization", "action utter_greet", "bot hello", "action action_listen"]
SOON = 0.3  #: seconds


def reminder(name: str = "r", seconds: float = SOON, **fields: Any) -> ReminderScheduled:
    """An intent to be triggered, by default also if the user writes before."""
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    given = {"intent": "greet", "kill_on_user_msg": False, "date_time": when.isoformat(), **fields}
    return ReminderScheduled(timestamp=time.time(), metadata={}, name=name, **given)


def cancel(**fields: Any) -> ReminderCancelled:
    return ReminderCancelled(timestamp=time.time(), metadata={}, **fields)


def says(*events: Event) -> Callable[[Scene], Awaitable[list[Event]]]:
    """An action that brings these events about."""

    async def act(_scene: Scene) -> list[Event]:
        return list(events)

    return act


async def post(running: Process, *events: Event, conversation: str = "c", confirms: bool = True) -> None:
    """What the service does with events that are posted, side effects included."""
    planned = await running.reminders.plan(conversation, events, "collector")
    _, appended = await running.trackers.append(
        Write(conversation=conversation, events=events, opening=lambda: session_start(time.time(), {}))
    )
    if planned and confirms:
        await planned.confirm(appended.version)


@asynccontextmanager
async def reminding(running: Process) -> AsyncIterator[None]:
    """The process runs reminders meanwhile."""
    answering = Answering(running.assistant, running.ledger)

    async def now() -> Answering:
        return answering

    work = Reminding(running.reminders, now, running.store.database, lambda _name: None)
    work.start()
    try:
        yield
    finally:
        await work.close()


async def nothing_waits(running: Process) -> None:
    """Wait until every reminder was run or given up."""
    async with asyncio.timeout(30):
        while await running.reminders.waiting():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def is_due(running: Process) -> None:
    """Wait until a reminder is due that nobody runs."""
    async with asyncio.timeout(30):
        while (await running.reminders.seconds_left() or 0) > 0:  # noqa: ASYNC110 - the time passes
            await asyncio.sleep(0.02)


async def fired(running: Process, conversation: str = "c") -> int:
    """How often a reminder was run in a conversation."""
    view = await running.trackers.current(conversation)
    assert view is not None
    window = await running.trackers.window(view, 0)
    events = [event for _, event in window.events(0, view.version)]
    return sum(getattr(event, "text", None) == "EXTERNAL: greet" for event in events)


async def was_fired(running: Process) -> None:
    """Wait until a reminder was run."""
    async with asyncio.timeout(30):
        while not await fired(running):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def age(running: Process) -> None:
    """Make the rows so old that their events will not come any more."""
    await running.store.read.fetch("UPDATE @schema@.reminder SET created = created - interval '1 hour' RETURNING 1")


async def test_a_reminder_of_an_action_is_answered_like_a_message(database: Database) -> None:
    async with process(database, action_work=says(reminder(entities={"city": "Rome"}))) as one, reminding(one):
        await one.say("/work")
        await nothing_waits(one)
        assert (await one.events())[-5:] == FIRED
        message = (await one.ledger.read("c")).events[-5]
        assert isinstance(message, UserUttered)
        assert message.metadata == {"is_external": True}
        assert message.parse_data["entities"] == [{"entity": "city", "value": "Rome"}]
        assert one.outcomes == {"scheduled": 1, "cancelled": 0, "fired": 1}


async def test_a_reminder_is_run_once_over_all_processes(database: Database) -> None:
    async with (
        process(database) as one,
        process(database) as other,
        process(database) as third,
        reminding(one),
        reminding(other),
        reminding(third),
    ):
        for number in range(30):
            await post(one, reminder(), conversation=f"c{number}")
        await nothing_waits(one)
        assert [await fired(one, f"c{number}") for number in range(30)] == [1] * 30


async def test_an_earlier_reminder_wakes_those_who_wait_for_a_later_one(database: Database) -> None:
    async with process(database) as one, process(database) as other, reminding(other):
        await post(one, reminder(seconds=3600), conversation="later")
        began = time.monotonic()
        await post(one, reminder())
        await was_fired(one)
        assert time.monotonic() - began < 4  # nobody looks without a reason before


async def test_a_reminder_that_came_due_while_nobody_was_there_is_run_at_the_start(database: Database) -> None:
    async with process(database) as one:
        await post(one, reminder(seconds=0.05))
        await is_due(one)
    async with process(database) as two, reminding(two):
        await nothing_waits(two)
        assert await fired(two) == 1


async def test_a_reminder_that_was_due_before_it_was_scheduled_is_not_run(database: Database) -> None:
    async with process(database) as one:
        await post(one, reminder(seconds=-5))
        assert await one.reminders.waiting() == 0


async def test_a_time_without_an_offset_is_in_utc(database: Database) -> None:
    async with process(database) as one:
        when = datetime.now(UTC) + timedelta(seconds=100)
        await post(one, reminder(date_time=when.replace(tzinfo=None).isoformat()))
        assert await one.reminders.seconds_left() == pytest.approx(100, abs=20)


async def test_the_latest_reminder_of_a_name_replaces_the_others_of_its_conversation(database: Database) -> None:
    async with process(database) as one:
        await post(one, reminder("same", 1000), reminder("other", 1000))
        await post(one, reminder("same", 1000), conversation="d")
        await post(one, reminder("same", 5000), reminder("same", 6000))
        found = await one.store.read.fetch(
            "SELECT conversation, name, (due > now() + interval '5500 s') FROM @schema@.reminder ORDER BY 1, 2"
        )
        assert [tuple(row) for row in found] == [("c", '"other"', False), ("c", '"same"', True), ("d", '"same"', False)]


async def test_reminders_of_a_name_in_two_conversations_are_both_run(database: Database) -> None:
    async with process(database) as one, reminding(one):
        await post(one, reminder("same"))
        await post(one, reminder("same"), conversation="d")
        await nothing_waits(one)
        assert (await fired(one), await fired(one, "d")) == (1, 1)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({}, []),
        ({"name": "a"}, ["b", "c"]),
        ({"intent": "ask"}, ["a", "c"]),
        ({"entities": {"city": "Rome"}}, ["a", "b"]),
        ({"entities": [{"entity": "city", "value": "Rome"}]}, ["a", "b"]),
        ({"name": "a", "intent": "ask"}, ["a", "b", "c"]),
        ({"name": "unknown"}, ["a", "b", "c"]),
    ],
)
async def test_a_cancellation_ends_what_matches_all_that_it_gives(
    database: Database, given: dict[str, Any], left: list[str]
) -> None:
    async with process(database) as one:
        rome = {"city": "Rome"}
        await post(one, reminder("a", 99), reminder("b", 99, intent="ask"), reminder("c", 99, entities=rome))
        await post(one, reminder("a", 99), conversation="elsewhere")
        await post(one, cancel(**given))
        found = await one.store.read.fetch("SELECT name FROM @schema@.reminder WHERE conversation = 'c' ORDER BY name")
        assert [row[0].strip('"') for row in found] == left
        assert await one.reminders.waiting() == len(left) + 1


async def test_a_cancellation_ends_what_was_scheduled_before_it_and_not_after(database: Database) -> None:
    async with process(database) as one:
        await post(one, reminder("a", 99), cancel(), reminder("b", 99))
        found = await one.store.read.fetch("SELECT name FROM @schema@.reminder")
        assert [row[0] for row in found] == ['"b"']


@pytest.mark.parametrize(("kills", "times"), [(True, 0), (False, 1)])
async def test_a_message_of_the_user_ends_what_shall_end_with_it(database: Database, kills: bool, times: int) -> None:
    async with process(database) as one:
        await post(one, reminder(kill_on_user_msg=kills))
        await one.say("/ask")
        async with reminding(one):
            await nothing_waits(one)
        assert await fired(one) == times


async def test_a_message_before_the_reminder_does_not_end_it(database: Database) -> None:
    async with process(database, action_work=says(reminder(kill_on_user_msg=True))) as one, reminding(one):
        await one.say("/work")
        await nothing_waits(one)
        assert await fired(one) == 1


@pytest.mark.parametrize("reset", [Restarted, UserUtteranceReverted])
async def test_a_reminder_that_was_taken_back_is_not_run(database: Database, reset: type[Event]) -> None:
    async with process(database, action_work=says(reminder(seconds=0.2))) as one:
        await one.say("/work")
        await post(one, reset(timestamp=time.time(), metadata={}))
        async with reminding(one):
            await nothing_waits(one)
        assert await fired(one) == 0
        assert one.outcomes["dropped"] == 1


async def test_a_reminder_is_run_in_a_new_session_when_the_last_message_is_long_ago(database: Database) -> None:
    async with process(database) as one:
        await one.say("/greet")
        await post(one, reminder())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("assistant.customs.needs_session", lambda _scene, _now: True)
            async with reminding(one):
                await nothing_waits(one)
        assert await one.events() == ["action action_session_start", "session_started", "action action_listen", *FIRED]


async def test_a_reminder_that_fails_by_a_fault_is_given_up_and_others_go_on(database: Database) -> None:
    async def breaks(_scene: Scene) -> list[Event]:
        raise RuntimeError("a fault")

    async with process(database, action_work=breaks) as one, reminding(one):
        await post(one, reminder(intent="work"), conversation="broken")
        await post(one, reminder())
        await nothing_waits(one)
        assert await fired(one) == 1
        assert (one.outcomes["failed"], one.outcomes["fired"]) == (1, 1)


# --- processes that die -----------------------------------------------------------------------------------------------


async def test_a_reminder_whose_event_never_came_is_dropped(database: Database) -> None:
    async with process(database) as one:
        await one.say("/greet")
        await one.reminders.plan("c", [reminder(seconds=0.05)], "collector")
        await age(one)
        async with reminding(one):
            await nothing_waits(one)
        assert await fired(one) == 0


async def test_a_reminder_that_is_due_before_its_event_is_written_waits_for_it(database: Database) -> None:
    event = reminder(seconds=0.05)
    async with process(database) as one, reminding(one):
        await one.say("/greet")
        assert await one.reminders.plan("c", [event], "collector")
        await asyncio.sleep(0.5)  # it is due by now, and was looked at
        await one.trackers.append(Write(conversation="c", events=[event]))
        await nothing_waits(one)
        assert await fired(one) == 1


async def test_a_reminder_is_not_run_again_when_its_process_died_before_it_was_forgotten(database: Database) -> None:
    async with process(database) as one:
        await post(one, reminder(seconds=0.05))
        await is_due(one)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(one.reminders, "remove", says())  # as if it was killed right after the turn
            async with reminding(one):
                await was_fired(one)
        assert await one.reminders.waiting() == 1
    async with process(database) as two, reminding(two):
        await nothing_waits(two)
        assert await fired(two) == 1
        assert two.outcomes == {}


async def test_what_a_process_claimed_and_did_not_run_is_run_by_another_one(database: Database) -> None:
    async with process(database) as one, process(database) as other:
        await post(one, reminder(seconds=0.05))
        await is_due(one)
        assert len(await one.reminders.claim(10)) == 1
        assert await other.reminders.claim(10) == []
        async with reminding(other):
            await nothing_waits(other)
        assert await fired(other) == 1


@pytest.mark.parametrize("ending", [cancel(name="r"), reminder("r", 3600)])
async def test_what_ended_a_reminder_counts_though_its_process_died_right_after_the_commit(
    database: Database, ending: Event
) -> None:
    async with process(database) as one:
        await post(one, reminder())
        await post(one, ending, confirms=False)
        async with reminding(one):
            async with asyncio.timeout(30):
                while not one.outcomes["dropped"]:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.02)
        assert await fired(one) == 0


@pytest.mark.parametrize("ending", [cancel(name="r"), reminder("r", 3600)])
async def test_what_was_refused_ends_no_reminder(database: Database, ending: Event) -> None:
    async with process(database) as one:
        await post(one, reminder())
        refused = await one.reminders.plan("c", [ending], "collector")
        assert refused
        await refused.withdraw()
        async with reminding(one):
            await nothing_waits(one)
        assert await fired(one) == 1


async def test_the_same_event_posted_twice_is_one_reminder(database: Database) -> None:
    async with process(database) as one, reminding(one):
        event = reminder()
        await post(one, event)
        await post(one, event)
        await nothing_waits(one)
        assert await fired(one) == 1


async def test_names_and_entities_may_be_any_json(database: Database) -> None:
    async with process(database) as one, reminding(one):
        await post(one, reminder("\0\ud800", entities=[{"entity": "e\0", "value": {"a": [1, None]}}, 7]))
        await post(one, reminder(5))  # type: ignore[arg-type]  # a number is no text
        await nothing_waits(one)
        assert await fired(one) == 2


# --- statements -------------------------------------------------------------------------------------------------------

STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "of a conversation": (rows.OF_CONVERSATION, ("c",)),
    "claiming": (rows.CLAIM, ("me", 5.0, 20, None)),
    "the next one": (rows.SECONDS_LEFT, (None,)),
    "claiming again": (rows.LOOK_IN, (["00000000-0000-0000-0000-000000000000"], "me", 5.0)),
    "ending": (rows.END, (["00000000-0000-0000-0000-000000000000"], "x")),
    "confirming": (rows.CONFIRM, (["00000000-0000-0000-0000-000000000000"], 5, "c", [])),
    "forgetting": (rows.REMOVE, (["00000000-0000-0000-0000-000000000000"],)),
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_uses_indexes(database: Database, name: str) -> None:
    async with EventStore(database) as store, session(database) as connection:
        await prepare_session(connection)
        await store.read.fetch(
            "INSERT INTO @schema@.reminder"
            " (id, conversation, digest, name, intent, entities, kill_on_user_msg, channel, due, look_at)"
            " SELECT gen_random_uuid(), 'c', int4send(n), '', '', '', false, '', now(),"
            " now() + make_interval(secs => n) FROM generate_series(0, 2000) n RETURNING 1"
        )
        statement, arguments = STATEMENTS[name]
        found = scans(await plan(connection, statement, *arguments))
        assert found["reminder"] <= {"Index Scan", "Index Only Scan", "Tid Scan"}
