"""The actions that every bot has, and how a session starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant.actions import action_of
from assistant.session_start import start_session
from tests.assistant.bots import Scripted, normal
from tests.assistant.scenes import LISTEN, REWIND, action, bot, domain_from, found, loop, rejected, said, scene_of, slot

if TYPE_CHECKING:
    from dialogue import Domain
    from tests.assistant.scenes import Json

SLOTS = """
intents: [greet]
entities: [city]
slots:
  city: {type: text, mappings: [{type: from_entity, entity: city}]}
"""
SILENT = domain_from(SLOTS)
TALKING = domain_from(
    SLOTS
    + """
responses:
  utter_restart: [{text: restart}]
  utter_back: [{text: back}]
  utter_default: [{text: default}]
  utter_ask_rephrase: [{text: rephrase}]
"""
)
RESTART: Json = {"event": "restart"}
STARTED: Json = {"event": "session_started"}
STARTS = {**action("action_session_start"), "confidence": 1.0}


async def run(name: str, domain: Domain, *events: Json) -> list[Json]:
    scene = scene_of(domain, *events)
    return [normal(event) for event in await action_of(name, domain).run(scene, Scripted({}))]


@pytest.mark.parametrize("name", ["action_listen", "action_unlikely_intent", "action_revert_fallback_events", "..."])
async def test_some_only_stand_in_the_log(name: str) -> None:
    assert await run(name, TALKING, LISTEN, said("greet")) == []


@pytest.mark.parametrize(
    ("name", "text", "response", "then"),
    [
        ("action_restart", "restart", "utter_restart", [RESTART]),
        ("action_back", "back", "utter_back", [REWIND, REWIND]),
        ("action_default_fallback", "default", "utter_default", [REWIND]),
        ("action_default_ask_rephrase", "rephrase", "utter_ask_rephrase", []),
    ],
)
async def test_some_say_a_response_if_there_is_one(name: str, text: str, response: str, then: list[Json]) -> None:
    assert await run(name, TALKING) == [bot(text, utter_action=response), *then]
    assert await run(name, SILENT) == then


async def test_the_loop_and_what_it_asked_for_end_together() -> None:
    assert await run("action_deactivate_loop", SILENT) == [loop(None), slot("requested_slot", None)]


async def test_slots_can_be_extracted_by_name() -> None:
    message = said("greet", found("city", "Rome"))
    assert await run("action_extract_slots", SILENT, LISTEN, message) == [slot("city", "Rome")]


class TestAffirmation:
    async def test_it_asks_for_the_intent(self) -> None:
        buttons = [{"title": "Yes", "payload": "/greet"}, {"title": "No", "payload": "/out_of_scope"}]
        assert await run("action_default_ask_affirmation", SILENT, LISTEN, said("greet")) == [
            {
                "event": "bot",
                "text": "Did you mean 'greet'?",
                "data": {"buttons": buttons},
                "metadata": {"utter_action": "action_default_ask_affirmation"},
            }
        ]

    async def test_behind_a_fallback_it_asks_for_the_likeliest_intent(self) -> None:
        ranking = [{"name": "nlu_fallback"}, {"name": "greet"}, {"name": "bye"}]
        message = said("nlu_fallback", intent_ranking=ranking)
        [question] = await run("action_default_ask_affirmation", SILENT, LISTEN, message)
        assert question["text"] == "Did you mean 'greet'?"


class TestSession:
    async def test_slots_are_carried_over_each_time_that_they_were_set(self) -> None:
        events = LISTEN, said("greet"), slot("city", "Rome"), {**slot("city", "Oslo"), "metadata": {"k": 1}}
        assert await run("action_session_start", SILENT, *events) == [
            STARTED,
            slot("city", "Rome"),
            {**slot("city", "Oslo"), "metadata": {"k": 1}},
            LISTEN,
        ]

    async def test_slots_that_do_not_count_any_more_are_not(self) -> None:
        taken_back = LISTEN, said("greet"), slot("city", "Rome"), REWIND
        assert await run("action_session_start", SILENT, *taken_back) == [STARTED, LISTEN]
        assert await run("action_session_start", SILENT, slot("city", "Rome"), RESTART) == [STARTED, LISTEN]

    async def test_the_domain_may_forbid_it(self) -> None:
        domain = domain_from(f"{SLOTS}session_config: {{carry_over_slots_to_new_session: false}}\n")
        assert await run("action_session_start", domain, slot("city", "Rome")) == [STARTED, LISTEN]

    async def test_what_is_carried_over_happens_now(self) -> None:
        scene = scene_of(SILENT, slot("city", "Rome"))
        events = await action_of("action_session_start", SILENT).run(scene, Scripted({}))
        assert min(event.timestamp for event in events) > 1.0


async def started(domain: Domain, script: Json, metadata: Json | None = None) -> list[Json]:
    return [normal(event) for event in await start_session(scene_of(domain), Scripted(script), metadata)]


class TestStart:
    OWN = domain_from("actions: [action_session_start]")

    async def test_it_begins_with_the_action(self) -> None:
        assert await started(SILENT, {}) == [STARTS, STARTED, LISTEN]

    async def test_the_requests_metadata_comes_before_and_is_carried_over(self) -> None:
        given = slot("session_started_metadata", {"user": "x"})
        assert await started(SILENT, {}, {"user": "x"}) == [given, STARTS, STARTED, given, LISTEN]

    async def test_no_metadata_is_no_slot(self) -> None:
        assert await started(SILENT, {}, {}) == [STARTS, STARTED, LISTEN]

    async def test_a_project_may_start_it_in_its_own_way(self) -> None:
        reply = {"events": [STARTED, slot("x", 1), LISTEN], "responses": [{"text": "welcome"}]}
        assert await started(self.OWN, {"action_session_start": [{"reply": reply}]}) == [
            STARTS,
            bot("welcome"),
            STARTED,
            slot("x", 1),
            LISTEN,
        ]

    async def test_its_own_way_sees_the_metadata(self) -> None:
        outside = Scripted({"action_session_start": [{"reply": {}}]})
        await start_session(scene_of(self.OWN), outside, {"user": "x"})
        assert outside.calls[0]["events_since_user"] == [slot("session_started_metadata", {"user": "x"})]

    async def test_when_that_fails_only_the_action_stands_in_the_log(self) -> None:
        assert await started(self.OWN, {}) == [STARTS]

    async def test_when_that_rejects_so_does_the_log(self) -> None:
        script = {"action_session_start": [{"status": 400}]}
        assert await started(self.OWN, script) == [{**rejected("action_session_start"), "confidence": 1.0}]
