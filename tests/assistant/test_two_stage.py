"""The two-stage fallback, where the recorded bots do not show what it does."""

from __future__ import annotations

import pytest

from assistant.actions import action_of
from tests.assistant.bots import Scripted, normal
from tests.assistant.scenes import LISTEN, REWIND, Json, action, bot, domain_from, loop, said, scene_of

FALLBACK = "action_two_stage_fallback"
DOMAIN = domain_from(
    """
    intents: [greet]
    responses:
      utter_default: [{text: I give up}]
      utter_ask_rephrase: [{text: Say it otherwise}]
    """
)
UNCLEAR, DENIED, CLEAR = said("nlu_fallback"), said("out_of_scope"), said("greet", text="hello")
ACTIVE = action(FALLBACK), loop(FALLBACK), LISTEN
AGAIN = action(FALLBACK), LISTEN
GIVEN_UP = [loop(None), bot("I give up", utter_action="utter_default"), REWIND]


async def run(*events: Json) -> list[Json]:
    scene = scene_of(DOMAIN, LISTEN, *events)
    return [normal(event) for event in await action_of(FALLBACK, DOMAIN).run(scene, Scripted({}))]


async def test_it_begins_with_the_question_whether_the_message_was_understood() -> None:
    begin, question = await run(UNCLEAR)
    assert begin == loop(FALLBACK)
    assert question["text"] == "Did you mean 'nlu_fallback'?"


async def test_it_begins_so_whatever_led_to_it() -> None:
    assert (await run(DENIED))[-1]["text"] == "Did you mean 'out_of_scope'?"


async def test_after_a_no_it_asks_to_say_it_otherwise() -> None:
    assert await run(UNCLEAR, *ACTIVE, DENIED) == [bot("Say it otherwise", utter_action="utter_ask_rephrase")]


@pytest.mark.parametrize("more", [[UNCLEAR], [DENIED, *AGAIN, UNCLEAR, *AGAIN, UNCLEAR]])
async def test_after_two_messages_that_were_not_understood_it_gives_up(more: list[Json]) -> None:
    assert await run(UNCLEAR, *ACTIVE, *more) == GIVEN_UP


async def test_after_a_second_no_it_gives_up() -> None:
    assert await run(UNCLEAR, *ACTIVE, DENIED, *AGAIN, UNCLEAR, *AGAIN, DENIED) == GIVEN_UP


async def test_a_message_that_was_understood_stands_in_place_of_the_first() -> None:
    ended, rewind, listen, message = await run(UNCLEAR, *ACTIVE, CLEAR)
    assert [ended, rewind, listen] == [loop(None), REWIND, LISTEN]
    assert message == {"event": "user", "text": "hello", "intent": {"name": "greet", "confidence": 1.0}, "entities": []}


async def test_the_message_keeps_what_came_with_it() -> None:
    wire = {**CLEAR, "message_id": "m", "input_channel": "web", "metadata": {"k": 1}}
    scene = scene_of(DOMAIN, LISTEN, UNCLEAR, *ACTIVE, wire)
    message = (await action_of(FALLBACK, DOMAIN).run(scene, Scripted({})))[-1]
    before = scene.events[-1]
    assert (message.message_id, message.input_channel, message.metadata) == ("m", "web", {"k": 1})  # type: ignore[attr-defined]
    assert message.timestamp > before.timestamp


async def test_a_message_that_was_taken_back_breaks_the_row() -> None:
    taken_back = *AGAIN, REWIND
    happened = await run(UNCLEAR, *ACTIVE, UNCLEAR, *taken_back, LISTEN, UNCLEAR)
    assert loop(None) not in happened


@pytest.mark.parametrize("reset", ["restart", "session_started"])
async def test_messages_of_an_earlier_session_do_not_count(reset: str) -> None:
    happened = await run(UNCLEAR, {"event": reset}, LISTEN, UNCLEAR)
    assert happened[0] == loop(FALLBACK)
    assert len(happened) == 2


async def test_without_any_message_it_only_ends() -> None:
    assert await run() == [loop(FALLBACK), loop(None), REWIND, LISTEN]
