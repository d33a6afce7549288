"""What is wrong in domain files, each with its line; and what looks odd and is right."""

from __future__ import annotations

import pytest

from tests.dialogue.domains import CUSTOM, faults, parsed

TYPES = "text, bool, categorical, float, list, any"
SLOT_KEYS = "type, initial_value, value_reset_delay, influence_conversation, mappings"


def slot(settings: str) -> str:
    return f"slots:\n  s:\n    {settings}\n    {CUSTOM}"


def mapping(text: str) -> str:
    return f"slots:\n  s:\n    type: text\n    mappings:\n    - {text}"


def variation(text: str) -> str:
    return f"responses:\n  utter_a:\n  - {text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 3.1", '1: version must be text, not 3.1; put it in quotes: version: "3.1"'),
        ('version: "new"', "1: version 'new' is none; the newest is \"3.1\""),
        ('version: "3.2"', '1: version "3.2" is newer than "3.1", the newest that is understood'),
        ('version: "10"', '1: version "10" is newer than "3.1", the newest that is understood'),
        (
            "templates:\n  utter_a:\n  - text: a",
            "1: 'templates' is of Rasa 1: rename it to 'responses'; each name holds a list of variations",
        ),
        ("forms: [f]", "1: forms must be a mapping, not a list"),
        ("e2e_actions:\n- 5", "2: e2e_actions are texts, not 5"),
        ("config: {store_entities_as_slots: 1}", "1: config: store_entities_as_slots must be true or false, not 1"),
        (
            "session_config:\n  session_expiration_time: -1",
            "2: session_expiration_time must be minutes, not -1",
        ),
    ],
)
def test_in_a_file(text: str, expected: str) -> None:
    assert faults(text) == [f"1.yml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("intents:\n- a\n- b\n- a", "4: 'a' comes twice in intents"),
        (
            "intents:\n- a:",
            "2: intents: 'a' must have a mapping of settings, not None; without settings leave the ':' out",
        ),
        ("intents:\n- a: {}", "2: intents: 'a' has no settings; leave the ':' out"),
        (
            "intents:\n- a:\n    use_entities: x",
            "3: intents: 'a': use_entities must be true, false or a list of entities, not 'x'",
        ),
        (
            "intents:\n- a:\n    ignore_entities: true",
            "3: intents: 'a': ignore_entities must be a list of entities, not True",
        ),
        (
            "intents:\n- a:\n    triggers: action_a",
            "3: intents: 'a': 'triggers' is no more; write a rule that begins with the intent",
        ),
        ("entities:\n- e: {}", "2: entities: 'e' has no settings; leave the ':' out"),
        ("entities:\n- e: {roles: from}", "2: entities: 'e': roles must be a list of names, not 'from'"),
        (
            "entities:\n- e: {influence_conversation: no}",
            "2: entities: 'e': influence_conversation must be true or false, not 'no'",
        ),
        ("actions:\n- a\n- a: {send_domain: true}", "3: 'a' comes twice in actions"),
        ("actions:\n- a: {send_domain: 1}", "2: actions: 'a': send_domain must be true or false, not 1"),
        ("actions:\n- a: {x: true}", "2: actions: 'a' has the unknown key 'x'; keys are send_domain"),
        (
            "actions:\n- a:",
            "2: actions: 'a' must have a mapping of settings, not None; without settings leave the ':' out",
        ),
    ],
)
def test_in_intents_entities_and_actions(text: str, expected: str) -> None:
    assert faults(text) == [f"1.yml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (slot("type: text\n    x: 1"), f"4: the slot 's' of type text has the unknown key 'x'; keys are {SLOT_KEYS}"),
        (
            slot("type: text\n    values: [a]"),
            f"4: the slot 's' of type text has the unknown key 'values'; keys are {SLOT_KEYS}",
        ),
        (
            slot("type: text\n    auto_fill: false"),
            "4: the slot 's': 'auto_fill' is no more: delete it, and let a mapping '- type: from_entity' fill the slot",
        ),
        (
            slot("type: unfeaturized"),
            "3: the slot 's' has the type 'unfeaturized', which is no more; use 'any', or another type with "
            "'influence_conversation: false'",
        ),
        (slot("initial_value: 1"), f"2: the slot 's' has the type None; types are {TYPES}, or a class's path"),
        (
            slot("type: any\n    influence_conversation: true"),
            "4: the slot 's': a slot of type any can't influence the conversation; leave it out, or choose another "
            "type",
        ),
        (
            slot("type: text\n    influence_conversation: off"),
            "4: the slot 's' of type text: influence_conversation must be true or false, not 'off'",
        ),
        (
            slot("type: categorical\n    values: a"),
            "4: the slot 's' of type categorical: values must be a list, not 'a'",
        ),
        (slot("type: float\n    min_value: 1"), "4: the slot 's': min_value 1 must be less than max_value 1.0"),
        (slot("type: float\n    max_value: -1"), "4: the slot 's': min_value 0.0 must be less than max_value -1"),
        (slot("type: float\n    min_value: a"), "4: the slot 's' of type float: min_value must be a number, not 'a'"),
        (
            slot("type: float\n    initial_value: a"),
            "4: the slot 's' of type float: initial_value must be a number, not 'a'",
        ),
        (
            "slots:\n  s:\n    type: text",
            "2: the slot 's' needs a list of mappings; '- type: custom' leaves it to actions",
        ),
        (
            "slots:\n  s:\n    type: text\n    mappings: []",
            "4: the slot 's' needs a list of mappings; '- type: custom' leaves it to actions",
        ),
        (
            f"slots:\n  session_started_metadata: {{type: any, {CUSTOM}}}",
            "2: every bot has the slot 'session_started_metadata' already; give this one another name",
        ),
    ],
)
def test_in_slots(text: str, expected: str) -> None:
    assert faults(text) == [f"1.yml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("custom", "must be a mapping with a 'type', not 'custom'"),
        (
            "type: from_nothing",
            "has the type 'from_nothing'; types are from_entity, from_intent, from_trigger_intent, from_text, custom",
        ),
        (
            "entity: e",
            "has the type None; types are from_entity, from_intent, from_trigger_intent, from_text, custom",
        ),
        ("type: from_entity", "a mapping of type from_entity needs the key 'entity'"),
        ("{type: from_intent, intent: a}", "a mapping of type from_intent needs the key 'value'"),
        ("{type: from_intent, value: }", "a mapping of type from_intent needs the key 'value'"),
        ("type: from_trigger_intent", "a mapping of type from_trigger_intent needs the key 'value'"),
        ("{type: from_entity, entity: [e]}", "entity must be text, not a list"),
        ("{type: from_text, intent: 5}", "intent must be a name or a list of names, not 5"),
        ("{type: from_text, not_intent: [5]}", "not_intent must be a name or a list of names, not a list"),
        ("{type: from_text, conditions: f}", "conditions must be a list, not 'f'"),
        ("{type: from_text, conditions: [f]}", "a condition must be a mapping with 'active_loop', not 'f'"),
        (
            "{type: from_text, conditions: [{loop: f}]}",
            "a condition has the unknown key 'loop'; keys are active_loop, requested_slot",
        ),
        ("{type: from_text, conditions: [{active_loop: 5}]}", "a condition: active_loop must be text, not 5"),
        (
            "{type: from_text, conditions: [{active_loop: f}]}",
            "a condition names 'f', which is none of the forms",
        ),
    ],
)
def test_in_mappings(text: str, expected: str) -> None:
    assert faults(mapping(text)) == [f"1.yml:5: the slot 's', mapping 1: {expected}"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("[s]", "3: the form 'f' must be a mapping with a list 'required_slots', not a list"),
        (
            "\n    ignored_intents: x",
            "3: the form 'f' has 'ignored_intents', so it needs a list 'required_slots' too",
        ),
        ("\n    required_slots: s", "4: the form 'f': required_slots must be a list of slots, not 's'"),
        ("\n    required_slots:", "4: the form 'f': required_slots must be a list of slots, not None"),
        ("\n    required_slots:\n    - s\n    - t", "6: the form 'f' asks for 't', which is none of the slots"),
        ("\n    required_slots:\n    - [s]", "5: the form 'f' asks for a list, which is none of the slots"),
        (
            "\n    required_slots: [s]\n    ignored_intents: 5",
            "5: the form 'f': ignored_intents must be a name or a list of names, not 5",
        ),
        (
            "\n    required_slots: [s]\n    asks: s",
            "5: the form 'f' has the unknown key 'asks'; keys are required_slots, ignored_intents",
        ),
        (
            "\n    required_slots:\n      s: [{type: from_text}]",
            "4: the form 'f': required_slots must be a list of slots' names; move its mappings to the slot under "
            "'slots', where they are since Rasa 3",
        ),
        (
            "\n    s: [{type: from_text}]",
            "4: the form 'f': name the slot 's' under 'required_slots', and move its mappings to the slot under "
            "'slots', where they are since Rasa 3",
        ),
    ],
)
def test_in_forms(form: str, expected: str) -> None:
    assert faults(f"slots: {{s: {{type: text, {CUSTOM}}}}}\nforms:\n  f: {form}") == [f"1.yml:{expected}"]


def test_a_form_has_a_name_of_its_own() -> None:
    assert faults("responses: {utter_a: [{text: a}]}\nforms:\n  utter_a:\n  action_back:") == [
        "1.yml:3: the form 'utter_a' has the name of a response",
        "1.yml:4: the form 'action_back' has the name of a default action",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "a variation must be a mapping with 'text' or 'custom', not 'hello'"),
        ("image: a.png", "a variation needs 'text' or 'custom'; the text may be empty: \"\""),
        ("text:", "a variation needs 'text' or 'custom'; the text may be empty: \"\""),
        ("text: 5", "text must be text, not 5"),
        ("{text: a, custom: [b]}", "custom must be a mapping, not a list"),
        (
            "{text: a, metadata_key: b}",
            "has the unknown key 'metadata_key'; keys are text, image, custom, buttons, button_type, quick_replies, "
            "attachment, elements, channel, metadata, id, condition",
        ),
        ("{text: a, buttons: {title: b}}", "buttons must be a list, not a mapping"),
        ("{text: a, buttons: [b]}", "each of buttons must be a mapping, not 'b'"),
        ("{text: a, buttons: [{title: 5}]}", "each of buttons: title must be text, not 5"),
        ("{text: a, condition: {type: slot}}", "condition must be a list, not a mapping"),
        ("{text: a, condition: [b]}", "a condition must be a mapping, not 'b'"),
        (
            "{text: a, condition: [{type: slot, name: s}]}",
            "a condition needs 'type: slot', the slot's 'name' and a 'value'",
        ),
        (
            "{text: a, condition: [{type: intent, name: s, value: b}]}",
            "a condition needs 'type: slot', the slot's 'name' and a 'value'",
        ),
        (
            "{text: a, condition: [{type: slot, name: s, value: b, x: c}]}",
            "a condition has the unknown key 'x'; keys are type, name, value",
        ),
    ],
)
def test_in_responses(text: str, expected: str) -> None:
    (fault,) = faults(variation(text))
    assert fault.removeprefix("1.yml:3: the response 'utter_a'").lstrip(": ") == expected


@pytest.mark.parametrize(("text", "found"), [("", "None"), ("[]", "an empty one")])
def test_a_response_has_variations(text: str, found: str) -> None:
    assert faults(f"responses:\n  utter_a: {text}") == [
        f"1.yml:2: the response 'utter_a' must be a list of variations, not {found}"
    ]


def test_an_id_names_one_variation() -> None:
    text = "responses:\n  utter_a:\n  - {text: a, id: i}\n  utter_b:\n  - {text: b, id: i}"
    assert faults(text) == ["1.yml:5: the response 'utter_b': the id 'i' is that of the response 'utter_a' already"]


@pytest.mark.parametrize(
    "text",
    [
        'version: "2.0"',
        'version: "3.1.0"',
        "version:",
        "intents:\nslots:\nresponses:\nforms:\nactions:\nentities:\ne2e_actions:\nsession_config:\nconfig:",
        "nlu: [{intent: a}]\nstories: []\nrules: []\nintents: [a]",
        "session_config: {session_expiration_time: , carry_over_slots_to_new_session: true}",
        "config: {store_entities_as_slots: false}",
        "entities: [e: {groups: [1, 2]}]",
        "intents: [a: {use_entities: , ignore_entities: }, b: {used: x, use_entities: true}]",
        "actions: [action_listen, utter_a]\nresponses: {utter_a: [{text: a}], faq: [{text: b}]}",
        slot("type: text\n    value_reset_delay: 5"),
        slot("type: categorical\n    values: [1, true, a, null]"),
        slot("type: my.Slot\n    anything: 5"),
        mapping("{type: from_text, anything: 5, intent: , conditions: }"),
        mapping("{type: from_text, conditions: [{active_loop: action_two_stage_fallback}, {requested_slot: s}]}"),
        variation('text: ""'),
        variation("{text: , custom: {a: b}}"),
        variation("{text: a, buttons: [{title: b, payload: c, url: d}], quick_replies: [{x: y}], elements: [{x: y}]}"),
        variation("{text: a, attachment: file.pdf}\n  - {text: b, attachment: {type: file}, metadata: [1]}"),
        variation("{text: a, condition: [{type: slot, name: s, value: }]}"),
    ],
)
def test_is_nothing_in_what_bots_may_say(text: str) -> None:
    parsed(text)


def test_what_one_file_names_another_may_declare() -> None:
    parsed(
        "forms: {f: {required_slots: [s]}}",
        "slots: {s: {type: text, mappings: [{type: from_text, conditions: [{active_loop: f}]}]}}",
    )


def test_a_file_that_is_wrong_does_not_hide_what_the_others_declare() -> None:
    assert faults("forms: {f: {required_slots: [s]}}\nintents: 5", "slots: {s: {type: text}}") == [
        "1.yml:2: intents must be a list, not 5",
        "2.yml:1: the slot 's' needs a list of mappings; '- type: custom' leaves it to actions",
    ]


def test_a_fault_in_what_an_anchor_brings_stands_where_it_is_used() -> None:
    text = "x: &x\n  type: text\n  auto: 1\nslots:\n  s:\n    <<: *x\n    mappings: [{type: custom}]"
    assert faults(text) == [f"1.yml:5: the slot 's' of type text has the unknown key 'auto'; keys are {SLOT_KEYS}"]
