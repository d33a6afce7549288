"""What stands in domain files, is no fault, and is hardly meant."""

from __future__ import annotations

import pytest

from tests.dialogue.data import recorded_text
from tests.dialogue.domains import CUSTOM, warnings

FORM = f"\nforms: {{f: {{required_slots: [t]}}}}\nentities: [e]\nintents: [a]\nslots:\n  t: {{type: any, {CUSTOM}}}\n"
IN_FORM = "conditions: [{active_loop: f}]"


def test_a_usual_bot_gives_none() -> None:
    assert warnings(recorded_text("domain_bot.yml")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('version: "3.0"', '1: version "3.0" is older than "3.1"; the file is read as "3.1"'),
        (
            "respones: {}",
            "1: 'respones' is no section of a domain and is ignored; sections are intents, entities, slots, responses, "
            "actions, forms, e2e_actions, session_config, config",
        ),
        (
            "intents:\n- a: {use_entities: [x, y], ignore_entities: [y]}",
            "2: intents: 'a' both uses and ignores 'y'; it is ignored",
        ),
        (
            "actions:\n- action_a\n- utter_a",
            "3: actions: 'utter_a' is to be a response, and there is none of this name",
        ),
    ],
)
def test_of_a_file(text: str, expected: str) -> None:
    assert warnings(text) == [f"1.yml:{expected}"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            f"type: my.Slot, {CUSTOM}",
            "the slot 's' is of a class: it holds any value, and doesn't influence the conversation",
        ),
        (
            f"type: float, initial_value: 7, max_value: 5, {CUSTOM}",
            "the slot 's': its initial_value 7 is not from 0.0 to 5",
        ),
        (
            "type: text, mappings: [{type: from_entity, entity: x}]",
            "the slot 's', mapping 1: 'x' is none of the entities, so the mapping never fills the slot",
        ),
        (
            "type: text, mappings: [{type: custom}, {type: from_intent, intent: [a, b], value: 1}]",
            "the slot 's', mapping 2: 'b' is none of the intents",
        ),
        (
            "type: text, mappings: [{type: from_text, not_intent: b}]",
            "the slot 's', mapping 1: 'b' is none of the intents",
        ),
        (
            "type: text, mappings: [{type: from_text, conditions: [{active_loop: f}]}]",
            "the slot 's', mapping 1: a condition names the form 'f', which doesn't ask for the slot",
        ),
    ],
)
def test_of_a_slot(settings: str, expected: str) -> None:
    assert warnings(f"{FORM}  s: {{{settings}}}") == [f"1.yml:7: {expected}"]


@pytest.mark.parametrize(
    "text",
    [
        'version: "3.1"',
        "nlu: []\nrules: []\nstories: []\npipeline: []\npolicies: []",
        "intents: [a: {use_entities: true, ignore_entities: [x]}]",
        "actions: [utter_faq]\nresponses: {utter_faq/ask: [{text: a}]}",
        f"{FORM}  s: {{type: text, mappings: [{{type: from_intent, intent: back, value: 1}}]}}",
        f"{FORM}  s: {{type: any, mappings: [{{type: from_trigger_intent, value: 1, {IN_FORM}}}]}}",
    ],
)
def test_there_are_none_of_what_is_well(text: str) -> None:
    assert warnings(text) == []


def test_of_a_name_in_several_files() -> None:
    first = "intents: [a, b]\nresponses: {utter_a: [{text: one}]}"
    second = "intents:\n- c\n- a\nresponses:\n  utter_a: [{text: two}]"
    assert warnings(first, second) == [
        "2.yml:3: 'a' stands under intents in 1.yml too, and that counts",
        "2.yml:5: 'utter_a' stands under responses in 1.yml too, and that counts",
    ]
