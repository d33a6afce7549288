"""The domain: what the fold needs of it, how it is shown, and what is wrong with a bad one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialogue import Domain
from tests.dialogue.data import recorded, recorded_text
from tests.dialogue.domains import CUSTOM, faults, parsed

EXAMPLE: dict[str, Any] = recorded("domain_example.json")
BOT = recorded_text("domain_bot.yml")


class TestShown:
    def test_the_json_is_as_recorded(self) -> None:
        assert json.dumps(parsed(BOT).document) == json.dumps(recorded("domain_recorded.json"))

    def test_the_yaml_is_as_recorded(self) -> None:
        assert parsed(BOT).text == recorded_text("domain_recorded.yml")

    def test_what_the_file_leaves_out_is_shown_as_recorded(self) -> None:
        domain = parsed(recorded("tracker_scenarios.json")["domain"])
        assert json.dumps(domain.document) == json.dumps(EXAMPLE["as_dict"])

    def test_the_yaml_makes_the_same_domain_again(self) -> None:
        domain = parsed(BOT)
        assert parsed(domain.text) == domain


class TestSlots:
    def test_are_in_the_files_order_and_those_of_every_bot_come_last(self) -> None:
        slots = f"slots: {{z: {{type: text, {CUSTOM}}}, a: {{type: text, {CUSTOM}}}}}"
        assert list(parsed(slots).initial_slots) == ["z", "a", "session_started_metadata"]

    def test_forms_and_the_knowledge_base_bring_slots_of_their_own(self) -> None:
        text = "forms: {f: {required_slots: []}}\nactions: [action_query_knowledge_base]"
        assert list(parsed(text).initial_slots) == [
            "requested_slot",
            "knowledge_base_listed_objects",
            "knowledge_base_last_object",
            "knowledge_base_last_object_type",
            "session_started_metadata",
        ]

    def test_have_their_initial_values_and_lists_wrap_them(self) -> None:
        text = (
            f"slots: {{n: {{type: float, initial_value: 2, {CUSTOM}}}, l: {{type: list, initial_value: a, {CUSTOM}}}}}"
        )
        assert parsed(text).initial_slots == {"n": 2, "l": ["a"], "session_started_metadata": None}


class TestSession:
    def test_settings_are_read(self) -> None:
        text = "session_config: {session_expiration_time: 0.5, carry_over_slots_to_new_session: false}"
        domain = parsed(text)
        assert (domain.session_expiration_minutes, domain.carry_over_slots) == (0.5, False)

    def test_without_settings_it_lasts_an_hour_and_keeps_slots(self) -> None:
        assert (parsed("").session_expiration_minutes, parsed("").carry_over_slots) == (60, True)


class TestFingerprint:
    def test_is_that_of_every_process(self) -> None:
        assert parsed(BOT).fingerprint == "9e1e0accfb661dd6"

    def test_changes_with_what_the_fold_depends_on(self) -> None:
        kinds = ["text", "list", "text, initial_value: a"]
        texts = [f"slots: {{s: {{type: {kind}, {CUSTOM}}}}}" for kind in kinds]
        assert len({parsed(text).fingerprint for text in [*texts, ""]} | {Domain.empty().fingerprint}) == 5

    def test_does_not_change_with_the_rest(self) -> None:
        assert parsed("intents: [a]").fingerprint == parsed("intents: [b]").fingerprint


class TestSplit:
    def test_files_are_merged_section_by_section(self) -> None:
        domain = parsed(
            "intents: [b, a]\nresponses: {utter_a: [{text: one}]}\nactions: [x]",
            "intents: [c, a]\nresponses: {utter_a: [{text: two}], utter_b: [{text: three}]}\nactions: [y]",
        )
        assert domain.intents == ("a", "b", "c")
        assert domain.actions == ("x", "y")
        assert domain.document["responses"] == {"utter_a": [{"text": "one"}], "utter_b": [{"text": "three"}]}

    def test_the_last_session_settings_win(self) -> None:
        settings = "session_config: {session_expiration_time: %s}"
        assert parsed(settings % 1, settings % 2, "intents: [a]").session_expiration_minutes == 2


class TestFaults:
    def test_all_of_all_files_are_listed_with_file_and_line(self) -> None:
        first = "intents: [a, a]\nslots:\n  s:\n    type: nope\n    mappings: 5\n  t: text\n"
        second = "\nresponses: []\nforms:\n  f: []\n"
        assert faults(first, second, "a: [") == [
            "1.yml:1: 'a' comes twice in intents",
            "1.yml:4: the slot 's' has the type 'nope'; types are text, bool, categorical, float, list, any, "
            "or a class's path",
            "1.yml:5: the slot 's' needs a list of mappings; '- type: custom' leaves it to actions",
            "1.yml:6: the slot 't' must be a mapping, not 'text'",
            "2.yml:2: responses must be a mapping, not a list",
            "2.yml:4: the form 'f' must be a mapping with a list 'required_slots', not a list",
            "3.yml:1: did not find expected node content while parsing a flow node",
        ]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("- a", "1.yml:1: a domain is a mapping of sections, not a list"),
            ("just text", "1.yml:1: a domain is a mapping of sections, not 'just text'"),
            ("5: a", "1.yml:1: the key 5 is not text; put it in quotes"),
            ("x:\n  y: .nan", "1.yml:2: nan is not a finite number"),
            (
                "entities:\n- a: {}\n  b: {}",
                "1.yml:2: {'a': {}, 'b': {}} is neither a name nor a mapping from one name",
            ),
            ("responses:\n  utter_a: b", "1.yml:2: the response 'utter_a' must be a list of variations, not 'b'"),
            (
                "session_config:\n  session_expiration_time: soon",
                "1.yml:2: session_expiration_time must be minutes, not 'soon'",
            ),
            (
                "session_config:\n  carry_over_slots_to_new_session: yes",
                "1.yml:2: carry_over_slots_to_new_session must be true or false, not 'yes'",
            ),
        ],
    )
    def test_each_says_what_is_wrong(self, text: str, reason: str) -> None:
        (fault,) = faults(text)
        assert fault.startswith(reason)

    def test_a_slot_may_be_of_a_class_of_ones_own(self) -> None:
        assert parsed(f"slots: {{s: {{type: my.module.MySlot, {CUSTOM}}}}}").slots["s"].type == "my.module.MySlot"


def test_the_domain_without_a_model_takes_any_slot() -> None:
    assert Domain.empty().open_slots
    assert Domain.empty().initial_slots == {"session_started_metadata": None}
