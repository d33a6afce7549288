"""What a domain is made of: entities and what policies see of them, slots' mappings, forms, responses, actions."""

from __future__ import annotations

import pytest

from dialogue import Domain
from dialogue.domain import DEFAULT_ACTIONS, Entity, Form
from dialogue.slots import SlotCondition, SlotMapping
from tests.dialogue.domains import CUSTOM, parsed


def mapping(text: str) -> SlotMapping:
    (found,) = parsed(f"forms: {{f: }}\nslots: {{s: {{type: text, mappings: [{text}]}}}}").slots["s"].mappings
    return found


class TestSlots:
    def test_those_of_the_files_can_be_filled(self) -> None:
        domain = parsed(f"forms: {{f: }}\nslots: {{b: {{type: any, {CUSTOM}}}, a: {{type: text, {CUSTOM}}}}}")
        assert list(domain.filled_slots) == ["b", "a"]
        assert list(domain.slots) == ["b", "a", "requested_slot", "session_started_metadata"]

    def test_a_bot_may_say_itself_what_its_requested_slot_is(self) -> None:
        text = f"forms: {{f: }}\nslots: {{requested_slot: {{type: categorical, values: [a], {CUSTOM}}}}}"
        assert parsed(text).slots["requested_slot"].features("a") == (1.0, 0.0)

    @pytest.mark.parametrize(
        ("settings", "influences"),
        [
            ("type: text", True),
            ("type: text, influence_conversation: false", False),
            ("type: any", False),
            ("type: my.Slot", False),
        ],
    )
    def test_all_influence_the_conversation_but_those_that_can_not(self, settings: str, influences: bool) -> None:
        assert parsed(f"slots: {{s: {{{settings}, {CUSTOM}}}}}").slots["s"].influences is influences

    def test_have_their_bounds_and_categories(self) -> None:
        text = (
            f"slots: {{n: {{type: float, min_value: -1, max_value: 9, {CUSTOM}}},"
            f" c: {{type: categorical, values: [A, true, 3], {CUSTOM}}}}}"
        )
        slots = parsed(text).slots
        assert (slots["n"].low, slots["n"].high) == (-1, 9)
        assert slots["c"].categories == ("a", "true", "3", "__other__")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{type: custom}", SlotMapping(type="custom")),
            ("{type: custom, action: action_a}", SlotMapping(type="custom", action="action_a")),
            ("{type: from_text, action: action_a}", SlotMapping(type="from_text")),
            ("{type: from_text, intent: a}", SlotMapping(type="from_text", intents=("a",))),
            ("{type: from_text, not_intent: [a, b]}", SlotMapping(type="from_text", not_intents=("a", "b"))),
            ("{type: from_intent, value: false}", SlotMapping(type="from_intent", value=False)),
            (
                "{type: from_entity, entity: e, role: r, group: g}",
                SlotMapping(type="from_entity", entity="e", role="r", group="g"),
            ),
            (
                "{type: from_text, conditions: [{active_loop: }, {active_loop: f, requested_slot: s}]}",
                SlotMapping(type="from_text", conditions=(SlotCondition(None), SlotCondition("f", "s"))),
            ),
        ],
    )
    def test_have_their_mappings(self, text: str, expected: SlotMapping) -> None:
        assert mapping(text) == expected


class TestIntents:
    def test_every_bot_knows_some(self) -> None:
        domain = parsed("intents: [b, a: {use_entities: []}, back]")
        assert domain.intents == ("a", "b", "back")
        assert domain.known_intents == {"a", "b", "back", "restart", "out_of_scope", "session_start", "nlu_fallback"}


class TestEntities:
    TEXT = """
intents:
- plain
- all: {use_entities: true}
- some: {use_entities: [city]}
- none: {use_entities: []}
- off: {use_entities: false}
- less: {ignore_entities: [city]}
- both: {use_entities: [city, x], ignore_entities: [city]}
- hidden_too: {use_entities: [seen, hidden], ignore_entities: []}
entities:
- x
- hidden: {influence_conversation: false, roles: [r]}
- city: {roles: [from, to], groups: [1]}
- seen: {influence_conversation: true}
"""

    def test_have_roles_and_groups(self) -> None:
        entities = parsed(self.TEXT).entities
        assert entities["city"] == Entity(roles=("from", "to"), groups=("1",))
        assert entities["hidden"] == Entity(roles=("r",), influences=False)

    @pytest.mark.parametrize(
        ("intent", "used"),
        [
            ("plain", {"x", "seen", "city", "city#from", "city#to", "city#1"}),
            ("restart", {"x", "seen", "city", "city#from", "city#to", "city#1"}),
            ("all", {"x", "seen", "city", "city#from", "city#to", "city#1"}),
            ("some", {"city", "city#from", "city#to", "city#1"}),
            ("none", set()),
            ("off", set()),
            ("less", {"x", "seen", "hidden#r"}),
            ("both", {"x"}),
            ("hidden_too", {"seen", "hidden", "hidden#r"}),
            (None, {"x", "seen", "city", "city#from", "city#to", "city#1", "hidden", "hidden#r"}),
            ("unknown", {"x", "seen", "city", "city#from", "city#to", "city#1", "hidden", "hidden#r"}),
        ],
    )
    def test_are_seen_as_the_intent_says(self, intent: str | None, used: set[str]) -> None:
        assert parsed(self.TEXT).used_entities(intent) == used


class TestForms:
    def test_ask_for_slots_in_their_order(self) -> None:
        text = (
            f"slots: {{a: {{type: any, {CUSTOM}}}, b: {{type: any, {CUSTOM}}}}}\n"
            "forms:\n"
            "  one: {required_slots: [b, a], ignored_intents: x}\n"
            "  two: {required_slots: [], ignored_intents: [x, y]}\n"
            "  three:\n"
            "  four: {}\n"
        )
        assert parsed(text).forms == {
            "one": Form(("b", "a"), ("x",)),
            "two": Form((), ("x", "y")),
            "three": Form(),
            "four": Form(),
        }


class TestResponses:
    def test_are_kept_as_they_are_written(self) -> None:
        text = "responses: {utter_a: [{text: a, channel: rest}, {custom: {x: 1}}]}"
        assert parsed(text).responses == {"utter_a": ({"text": "a", "channel": "rest"}, {"custom": {"x": 1}})}


class TestActions:
    TEXT = """
actions: [action_b, action_restart, utter_z, form_1, action_a]
responses: {utter_z: [{text: z}], utter_c: [{text: c}], utter_b: [{text: b}]}
forms: {form_2: , form_1: }
e2e_actions: [Hello]
"""

    def test_defaults_come_first_then_those_of_the_file_responses_sorted_forms_and_texts(self) -> None:
        assert parsed(self.TEXT).action_names == (
            *DEFAULT_ACTIONS,
            *("action_b", "utter_z", "form_1", "action_a"),
            *("utter_b", "utter_c", "form_2", "Hello"),
        )

    def test_responses_to_a_retrieval_intent_have_an_action_together(self) -> None:
        domain = parsed("responses: {utter_faq/b: [{text: b}], utter_faq/a: [{text: a}], utter_c: [{text: c}]}")
        assert domain.action_names[-4:] == ("utter_c", "utter_faq", "utter_faq/a", "utter_faq/b")

    def test_every_bot_has_the_defaults(self) -> None:
        assert Domain.empty().action_names == DEFAULT_ACTIONS
        assert DEFAULT_ACTIONS[0] == "action_listen"

    def test_texts_of_stories_are_added_once(self) -> None:
        domain = parsed(self.TEXT).with_texts(["Bye", "Hello", "Bye", "utter_b"])
        assert domain.action_names[-2:] == ("Hello", "Bye")
        assert domain.document["e2e_actions"] == ["Hello", "Bye"]

    def test_without_new_texts_it_stays_the_same_domain(self) -> None:
        domain = parsed(self.TEXT)
        assert domain.with_texts(["Hello"]) is domain

    def test_some_are_always_sent_the_domain(self) -> None:
        text = "actions: [a, b: {send_domain: true}, c: {send_domain: false}, validate_f, validate_g: {}, d: {}]"
        assert parsed(text).sends_domain == {"b", "validate_f"}
