"""Slots that messages fill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from assistant.slot_extraction import extract_slots
from tests.assistant.bots import Scripted, normal
from tests.assistant.scenes import LISTEN, bot, domain_from, found, loop, rejected, said, scene_of, slot

if TYPE_CHECKING:
    from dialogue import Domain
    from tests.assistant.scenes import Json

HEAD = """
intents: [greet, inform, chat]
entities: [city: {roles: [from, to], groups: [a]}, name]
forms:
  f: {required_slots: [s, other], ignored_intents: [chat]}
  g: {required_slots: [other]}
"""


def domain_with(*mappings: str, kind: str = "text", actions: str = "[]") -> Domain:
    """A domain whose slot `s` has these mappings; `other` is filled by actions."""
    lines = "".join(f"\n      - {mapping}" for mapping in mappings)
    other = "  other: {type: text, mappings: [{type: custom}]}"
    return domain_from(f"{HEAD}actions: {actions}\nslots:\n  s:\n    type: {kind}\n    mappings:{lines}\n{other}\n")


async def filled(domain: Domain, *events: Json, script: Json | None = None) -> list[Json]:
    return [normal(event) for event in await extract_slots(scene_of(domain, *events), Scripted(script or {}))]


def answers(*events: Json, text: str | None = None) -> list[Json]:
    """A script's only case for an action."""
    return [{"reply": {"events": list(events), "responses": [{"text": text}] if text else []}}]


class TestValues:
    async def test_the_last_of_several_entities_fills_a_slot(self) -> None:
        domain = domain_with("{type: from_entity, entity: city}")
        message = said("inform", found("city", "Rome"), found("name", "Ann"), found("city", "Oslo"))
        assert await filled(domain, LISTEN, message) == [slot("s", "Oslo")]

    async def test_a_list_slot_takes_all_entities(self) -> None:
        domain = domain_with("{type: from_entity, entity: city}", kind="list")
        message = said("inform", found("city", "Rome"), found("city", "Oslo"))
        assert await filled(domain, LISTEN, message) == [slot("s", ["Rome", "Oslo"])]

    @pytest.mark.parametrize(
        ("mapping", "fits"),
        [
            ("{type: from_entity, entity: city, role: from}", True),
            ("{type: from_entity, entity: city, role: to}", False),
            ("{type: from_entity, entity: city, role: from, group: a}", False),
            ("{type: from_entity, entity: city}", False),
        ],
    )
    async def test_role_and_group_must_be_those_of_the_mapping(self, mapping: str, fits: bool) -> None:
        message = said("inform", found("city", "Rome", role="from"))
        assert await filled(domain_with(mapping), LISTEN, message) == ([slot("s", "Rome")] if fits else [])

    async def test_entities_that_were_added_later_count(self) -> None:
        later = {"event": "entities", "entities": [{"entity": "city", "value": "Rome"}]}
        domain = domain_with("{type: from_entity, entity: city}")
        assert await filled(domain, LISTEN, said("inform"), later) == [slot("s", "Rome")]

    @pytest.mark.parametrize("value", [False, 0, ""])
    async def test_a_value_may_be_false(self, value: Any) -> None:
        domain = domain_with("{type: from_entity, entity: city}")
        assert await filled(domain, LISTEN, said("inform", found("city", value))) == [slot("s", value)]

    async def test_null_empties_a_slot_that_has_a_value(self) -> None:
        domain, message = domain_with("{type: from_entity, entity: city}"), said("inform", found("city", None))
        assert await filled(domain, LISTEN, slot("s", "Rome"), message) == [slot("s", None)]
        assert await filled(domain, LISTEN, message) == []

    async def test_the_first_mapping_that_finds_something_decides(self) -> None:
        domain = domain_with(
            "{type: from_entity, entity: city}", "{type: from_intent, intent: inform, value: x}", "{type: from_text}"
        )
        assert await filled(domain, LISTEN, said("inform", text="hello")) == [slot("s", "x")]

    async def test_an_event_without_text_leaves_a_text_slot_as_it_is(self) -> None:
        assert await filled(domain_with("{type: from_text}"), LISTEN, said("inform")) == []


class TestIntents:
    @pytest.mark.parametrize(
        ("mapping", "intents"),
        [
            ("{type: from_text}", {"greet", "inform", "chat"}),
            ("{type: from_text, intent: [greet, chat]}", {"greet", "chat"}),
            ("{type: from_text, not_intent: greet}", {"inform", "chat"}),
        ],
    )
    async def test_a_mapping_counts_with_some_intents(self, mapping: str, intents: set[str]) -> None:
        domain = domain_with(mapping)
        fitting = {name for name in ("greet", "inform", "chat") if await filled(domain, LISTEN, said(name, text="t"))}
        assert fitting == intents

    @pytest.mark.parametrize(
        ("mapping", "fits"),
        [
            ("{type: from_text}", False),
            ("{type: from_text, conditions: [{active_loop: f}]}", False),
            ("{type: from_text, intent: chat}", True),
        ],
    )
    async def test_a_form_ignores_intents_but_those_that_the_mapping_names(self, mapping: str, fits: bool) -> None:
        found_slots = await filled(domain_with(mapping), loop("f"), LISTEN, said("chat", text="t"))
        assert found_slots == ([slot("s", "t")] if fits else [])

    async def test_ignored_intents_of_a_form_count_only_in_it(self) -> None:
        domain = domain_with("{type: from_text}")
        assert await filled(domain, LISTEN, said("chat", text="t")) == [slot("s", "t")]
        assert await filled(domain, loop("g"), LISTEN, said("chat", text="t")) == [slot("s", "t")]

    async def test_a_trigger_intent_counts_in_its_loop_alone(self) -> None:
        domain = domain_with("{type: from_trigger_intent, intent: inform, value: v, conditions: [{active_loop: f}]}")
        assert await filled(domain, loop("f"), LISTEN, said("inform")) == [slot("s", "v")]
        assert await filled(domain, loop("g"), LISTEN, said("inform")) == []
        assert await filled(domain, LISTEN, said("inform")) == []


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "fits"),
        [
            ("{active_loop: f}", True),
            ("{active_loop: g}", False),
            ("{active_loop: null}", False),
            ("{active_loop: f, requested_slot: s}", True),
            ("{active_loop: f, requested_slot: other}", False),
        ],
    )
    async def test_inside_a_loop(self, condition: str, fits: bool) -> None:
        domain = domain_with(f"{{type: from_text, conditions: [{condition}]}}")
        events = loop("f"), slot("requested_slot", "s"), LISTEN, said("inform", text="t")
        assert await filled(domain, *events) == ([slot("s", "t")] if fits else [])

    async def test_outside_of_every_loop(self) -> None:
        domain = domain_with("{type: from_text, conditions: [{active_loop: g}, {active_loop: null}]}")
        assert await filled(domain, LISTEN, said("inform", text="t")) == [slot("s", "t")]

    async def test_a_rejected_form_does_not_get_the_slot_that_it_asked_for(self) -> None:
        domain = domain_with("{type: from_text, conditions: [{active_loop: f}]}")
        asked = loop("f"), slot("requested_slot", "s"), LISTEN
        message = said("inform", text="t")
        assert await filled(domain, *asked, rejected("f"), message) == []
        assert await filled(domain, *asked, message) == [slot("s", "t")]

    async def test_a_rejected_form_gets_other_slots(self) -> None:
        domain = domain_with("{type: from_text, conditions: [{active_loop: f}]}")
        asked = loop("f"), slot("requested_slot", "other"), LISTEN, rejected("f")
        assert await filled(domain, *asked, said("inform", text="t")) == [slot("s", "t")]

    async def test_a_trigger_intent_counts_in_a_rejected_form_too(self) -> None:
        domain = domain_with("{type: from_trigger_intent, intent: inform, value: v, conditions: [{active_loop: f}]}")
        asked = loop("f"), slot("requested_slot", "s"), LISTEN, rejected("f")
        assert await filled(domain, *asked, said("inform")) == [slot("s", "v")]


class TestSameEntityForSeveralSlots:
    DOMAIN = domain_from(
        """
        intents: [inform]
        entities: [city]
        slots:
          start: {type: text, mappings: [{type: from_entity, entity: city}]}
          end: {type: text, mappings: [{type: from_entity, entity: city}]}
          home: {type: text, mappings: [{type: from_entity, entity: city, intent: inform}]}
          elsewhere: {type: text, mappings: [{type: from_entity, entity: city}]}
        forms:
          f: {required_slots: [start, end, home]}
        """
    )
    MESSAGE = said("inform", found("city", "Rome"))

    async def test_in_a_form_it_fills_the_slot_that_is_asked_for_and_those_that_nobody_confuses(self) -> None:
        events = loop("f"), slot("requested_slot", "end"), LISTEN, self.MESSAGE
        assert await filled(self.DOMAIN, *events) == [slot(name, "Rome") for name in ("end", "home", "elsewhere")]

    async def test_outside_of_forms_it_fills_all(self) -> None:
        everything = [slot(name, "Rome") for name in ("start", "end", "home", "elsewhere")]
        assert await filled(self.DOMAIN, LISTEN, self.MESSAGE) == everything


class TestUnknownNames:
    @pytest.mark.parametrize(
        "mapping", ["{type: from_entity, entity: planet}", "{type: from_intent, intent: [inform, dance], value: v}"]
    )
    async def test_a_mapping_of_what_the_domain_does_not_know_counts_for_nothing(self, mapping: str) -> None:
        message = said("inform", found("planet", "Mars"))
        assert await filled(domain_with(mapping), LISTEN, message) == []

    async def test_an_intent_that_every_bot_has_is_known(self) -> None:
        domain = domain_with("{type: from_intent, intent: out_of_scope, value: v}")
        assert await filled(domain, LISTEN, said("out_of_scope")) == [slot("s", "v")]


class TestCustomActions:
    DOMAIN = domain_with(
        "{type: custom, action: look}", "{type: custom, action: look}", "{type: from_text}", actions="[look]"
    )
    MESSAGE = said("inform", text="t")

    async def test_an_action_is_called_once_and_other_mappings_count_too(self) -> None:
        outside = Scripted({"look": answers(slot("other", 1))})
        events = await extract_slots(scene_of(self.DOMAIN, LISTEN, self.MESSAGE), outside)
        assert [normal(event) for event in events] == [slot("other", 1), slot("s", "t")]
        assert [call["action"] for call in outside.calls] == ["look"]

    async def test_what_the_action_says_comes_first_and_other_events_are_dropped(self) -> None:
        script = {"look": answers(slot("other", 1), {"event": "restart"}, text="looking")}
        assert await filled(self.DOMAIN, LISTEN, self.MESSAGE, script=script) == [
            bot("looking"),
            slot("other", 1),
            slot("s", "t"),
        ]

    @pytest.mark.parametrize("status", [400, 500])
    async def test_an_action_that_cannot_be_run_fills_nothing(self, status: int) -> None:
        script = {"look": [{"status": status}]}
        assert await filled(self.DOMAIN, LISTEN, self.MESSAGE, script=script) == [slot("s", "t")]

    async def test_an_action_is_not_called_where_its_mapping_does_not_count(self) -> None:
        domain = domain_with("{type: custom, action: look, conditions: [{active_loop: f}]}", actions="[look]")
        script = {"look": answers(slot("s", 1))}
        assert await filled(domain, LISTEN, self.MESSAGE, script=script) == []
        assert await filled(domain, loop("f"), LISTEN, self.MESSAGE, script=script) == [slot("s", 1)]


class TestValidation:
    DOMAIN = domain_with("{type: from_text}", "{type: custom, action: look}", actions="[action_validate_slot_mappings]")
    MESSAGE = said("inform", text="t")

    async def validated(self, *cases: Json) -> list[Json]:
        return await filled(self.DOMAIN, LISTEN, self.MESSAGE, script={"action_validate_slot_mappings": list(cases)})

    async def test_it_sees_the_slots_and_may_change_them(self) -> None:
        reply = {"events": [slot("s", "T")], "responses": [{"text": "fine"}]}
        assert await self.validated({"when": {"slots": {"s": "t"}}, "reply": reply}) == [bot("fine"), slot("s", "T")]

    async def test_slots_that_it_does_not_mention_stay(self) -> None:
        assert await self.validated({"reply": {"events": [slot("other", 1)]}}) == [slot("other", 1), slot("s", "t")]

    async def test_when_it_fails_the_slots_stay_as_they_are(self) -> None:
        assert await self.validated({"status": 500}) == [slot("s", "t")]

    async def test_it_is_called_even_when_nothing_was_found(self) -> None:
        script = {"action_validate_slot_mappings": answers(slot("other", 1))}
        assert await filled(self.DOMAIN, LISTEN, said("inform"), script=script) == [slot("other", 1)]

    async def test_messages_of_custom_actions_are_kept_beside_it(self) -> None:
        script = {
            "look": answers(slot("other", 1), text="looking"),
            "action_validate_slot_mappings": answers(text="fine"),
        }
        domain = domain_with("{type: custom, action: look}", actions="[look, action_validate_slot_mappings]")
        happened = await filled(domain, LISTEN, self.MESSAGE, script=script)
        assert happened == [bot("looking"), bot("fine"), slot("other", 1)]
