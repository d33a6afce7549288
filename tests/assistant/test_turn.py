"""Turns: one at a time in a conversation over all processes, beside whatever backends post meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from assistant import AlreadyDone, Collector, Message, Terms
from dialogue import ActionExecuted, ActionReverted, SlotSet
from eventstore import IdempotencyKeyReused, TurnLost, WrongExpectedVersion
from projections import Write
from tests.assistant.answering import process

if TYPE_CHECKING:
    from assistant.channels.output import Said
    from assistant.scene import Scene
    from dialogue import Event
    from eventstore import Database
    from tests.assistant.answering import Process

SESSION = ["action action_session_start", "session_started", "action action_listen"]


def set_slot(name: str, value: object) -> SlotSet:
    return SlotSet(timestamp=time.time(), metadata={}, name=name, value=value)


async def post(running: Process, event: Event, conversation: str = "c") -> None:
    """What a backend posts."""
    await running.trackers.append(Write(conversation=conversation, events=[event]))


class Gate:
    """An action that waits until the test lets it go on, and counts who is inside."""

    def __init__(self, *results: Event) -> None:
        self.entered, self.may_leave = asyncio.Event(), asyncio.Event()
        self.inside = self.most_inside = self.runs = 0
        self.results = results

    async def __call__(self, scene: Scene) -> list[Event]:
        self.inside += 1
        self.runs += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.entered.set()
        await self.may_leave.wait()
        self.inside -= 1
        return list(self.results)


async def test_a_message_is_answered_in_a_session_of_its_own(database: Database) -> None:
    async with process(database) as one:
        assert await one.say("/greet") == ["hello"]
        assert await one.events() == [
            *SESSION,
            "user /greet",
            "user_featurization",
            "action utter_greet",
            "bot hello",
            "action action_listen",
        ]


async def test_a_turn_that_calls_nobody_is_one_commit_and_takes_no_lease(database: Database) -> None:
    async with process(database) as one:
        await one.say("/greet")
        assert [row[0] for row in await one.store.read.fetch("SELECT count(*) FROM @schema@.commit")] == [1]
        assert await one.store.read.fetch("SELECT 1 FROM @schema@.turn") == []


async def test_what_led_to_a_call_is_in_the_log_before_it(database: Database) -> None:
    seen: list[str] = []

    async def look(_scene: Scene) -> list[Event]:
        seen.extend(await one.events())
        return []

    async with process(database, action_work=look) as one:
        await one.say("/work")
    assert seen == [*SESSION, "user /work"]


async def test_the_user_hears_nothing_that_is_not_in_the_log(database: Database) -> None:
    class Witness(Collector):
        async def send(self, said: Said) -> None:
            heard.extend([await one.events(), [event.text for event in said.events]])

    heard: list[list[str]] = []
    async with process(database) as one:
        await one.assistant.answer(Message(conversation="c", text="/greet"), Witness())
    assert "bot hello" in heard[0]
    assert heard[1] == ["hello"]


async def test_turns_of_a_conversation_never_overlap_in_one_process(database: Database) -> None:
    gate = Gate()
    gate.may_leave.set()
    async with process(database, action_work=gate) as one:
        answers = await asyncio.gather(*(one.say("/work") for _ in range(8)))
        assert answers == [["not paid"]] * 8
        assert (gate.most_inside, gate.runs) == (1, 8)
        events = await one.events()
    turn = ["user /work", "user_featurization", "action action_work", "action utter_not_paid", "bot not paid"]
    assert events == [*SESSION, *[*turn, "action action_listen"] * 8]


async def test_turns_of_a_conversation_never_overlap_over_processes(database: Database) -> None:
    gate = Gate()
    gate.may_leave.set()
    async with process(database, action_work=gate) as one, process(database, action_work=gate) as other:
        await one.say("/greet")
        answers = await asyncio.gather(*(running.say("/work") for running in (one, other) * 6))
        assert answers == [["not paid"]] * 12
        assert (gate.most_inside, gate.runs) == (1, 12)


async def test_turns_of_different_conversations_overlap(database: Database) -> None:
    gate = Gate()
    async with process(database, action_work=gate) as one:
        turns = [asyncio.create_task(one.say("/work", f"c{number}")) for number in range(5)]
        async with asyncio.timeout(20):
            while gate.inside < 5:
                gate.entered.clear()
                await gate.entered.wait()
        gate.may_leave.set()
        assert await asyncio.gather(*turns) == [["not paid"]] * 5


async def test_a_turn_that_calls_nobody_waits_for_one_that_does(database: Database) -> None:
    gate = Gate()
    async with process(database, action_work=gate) as one, process(database) as other:
        first = asyncio.create_task(one.say("/work"))
        await gate.entered.wait()
        second = asyncio.create_task(other.say("/greet"))
        while not await one.store.read.fetch("SELECT 1 FROM @schema@.turn WHERE awaited"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        gate.may_leave.set()
        assert await first == ["not paid"]
        assert await second == ["hello"]
        events = await one.events()
    assert events.index("bot not paid") < events.index("user /greet")


async def test_what_is_posted_meanwhile_is_appended_at_once_and_seen_by_the_next_prediction(
    database: Database,
) -> None:
    gate = Gate()
    async with process(database, action_work=gate) as one:
        turn = asyncio.create_task(one.say("/work"))
        await gate.entered.wait()
        await post(one, set_slot("paid", True))
        assert (await one.events())[-1] == "slot paid"
        gate.may_leave.set()
        assert await turn == ["paid"]
        events = await one.events()
    assert events.index("slot paid") < events.index("action action_work")


async def test_a_turn_that_calls_nobody_begins_anew_when_something_was_posted(database: Database) -> None:
    async with process(database) as one:
        await one.say("/greet")
        append, conflicts = one.ledger.append, 0

        async def overtaken(*arguments: Any) -> None:
            nonlocal conflicts
            if not conflicts:
                await post(one, set_slot("paid", True))
            try:
                await append(*arguments)
            except WrongExpectedVersion:
                conflicts += 1
                raise

        one.ledger.append = overtaken  # type: ignore[method-assign, assignment]
        assert await one.say("/ask") == ["paid"]
        assert conflicts == 1
        events = await one.events()
    assert events.index("slot paid") < events.index("user /ask")
    assert events.count("user /ask") == 1


async def test_a_turn_ends_however_much_is_posted_meanwhile(database: Database) -> None:
    async with process(database) as one:
        await one.say("/greet")
        append, posted = one.ledger.append, 0

        async def always_overtaken(*arguments: Any) -> None:
            nonlocal posted
            posted += 1
            if posted < 8:
                await post(one, set_slot("paid", None))
            await append(*arguments)

        one.ledger.append = always_overtaken  # type: ignore[method-assign, assignment]
        assert await one.say("/greet") == ["hello"]
        assert (await one.events()).count("user /greet") == 2


async def test_after_a_turn_that_was_cut_off_the_bot_listens_again(database: Database) -> None:
    gate = Gate()
    async with process(database, action_work=gate) as one, process(database) as other:
        turn = asyncio.create_task(one.say("/work"))
        await gate.entered.wait()
        await post(one, ActionExecuted(timestamp=time.time(), metadata={}, name="action_work"))
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        assert await other.say("/greet") == ["hello"]
        events = await other.events()
    assert events[4:7] == ["action action_work", "action action_listen", "user /greet"]


async def test_a_process_that_stood_still_writes_nothing_when_another_went_on(database: Database) -> None:
    gate = Gate(set_slot("paid", True))
    async with process(database, action_work=gate) as one, process(database) as other:
        turn = asyncio.create_task(one.say("/work"))
        await gate.entered.wait()
        await one.store.read.fetch("UPDATE @schema@.turn SET lease_until = '-infinity'")
        assert await other.say("/greet") == ["hello"]
        gate.may_leave.set()
        with pytest.raises(TurnLost):
            await turn
        assert "slot paid" not in await other.events()
        assert await other.say("/greet") == ["hello"]


async def test_a_turn_with_a_key_happens_once_and_says_where_it_was(database: Database) -> None:
    terms = Terms(key="k", fingerprint=b"f")
    async with process(database) as one, process(database) as other:
        message = Message(conversation="c", text="/greet")
        outcome = await one.assistant.answer(message, Collector(), terms)
        with pytest.raises(AlreadyDone) as done:
            await other.assistant.answer(message, Collector(), terms)
        assert (done.value.base, done.value.version) == (outcome.base, outcome.version)
        with pytest.raises(IdempotencyKeyReused):
            await one.assistant.answer(message, Collector(), Terms(key="k", fingerprint=b"another"))
        assert (await one.events()).count("user /greet") == 1


@pytest.mark.parametrize(("expected", "is_there"), [(0, True), (7, True), (-1, False), (3, False)])
async def test_a_turn_begins_only_at_the_version_that_is_demanded(
    database: Database, expected: int, is_there: bool
) -> None:
    async with process(database) as one:
        if is_there:
            await one.say("/greet")
        message = Message(conversation="c", text="/greet")
        with pytest.raises(WrongExpectedVersion):
            await one.assistant.answer(message, Collector(), Terms(expected=expected))
        assert (await one.events()).count("user /greet") == is_there


async def test_after_too_many_actions_the_bot_listens_again(database: Database) -> None:
    async with process(database, limit=1) as one:
        assert await one.say("/greet") == ["hello"]
        assert (await one.events())[-2:] == ["bot hello", "action action_listen"]
        assert await one.say("/greet") == ["hello"]


async def test_an_action_that_takes_itself_back_does_not_run_for_ever(database: Database) -> None:
    gate = Gate(ActionReverted(timestamp=1.0, metadata={}))
    gate.may_leave.set()
    async with process(database, action_work=gate) as one:
        await one.say("/work")
        assert gate.runs <= 10
        assert await one.say("/greet") == ["hello"]
