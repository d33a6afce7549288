"""What policies learn from recorded bots is what was recorded; and what stops training, or is warned of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.policies.learning import RuleTable
from dialogue.policies.training import train
from dialogue.training.stories import Stories
from tests.dialogue.training.bots import (
    LEARNED,
    RULES,
    STORIES,
    domain,
    fault_of_bot,
    faults,
    policies,
    recorded,
    stories,
    train_bot,
    trained,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue.policies.configuration import PolicyConfig
    from dialogue.policies.learning import StoryTable


def as_recorded(configs: Sequence[PolicyConfig], tables: Sequence[RuleTable | StoryTable]) -> dict[str, Any]:
    """The tables under the names and in the words of the recordings."""
    result: dict[str, Any] = {}
    for index, (config, table) in enumerate(zip(configs, tables, strict=True)):
        if isinstance(table, RuleTable):
            result[config.name] = {
                "rules": table.rules,
                "rule_only_slots": list(table.rule_only_slots),
                "rule_only_loops": list(table.rule_only_loops),
                "rules_for_loop_unhappy_path": table.unhappy,
                "rules_not_in_stories": list(table.rules_not_in_stories),
            }
        else:
            result[f"{config.name}{index}"] = table.lookup
    return result


@pytest.mark.parametrize("name", LEARNED)
def test_a_bot_learns_what_was_recorded(name: str) -> None:
    result, configs = train_bot(name)
    assert as_recorded(configs, result.tables) == recorded(name, "lookup.json")


@pytest.mark.parametrize("name", ["err_contradiction_rules", "err_incomplete_loop", "err_incomplete_slot"])
def test_rules_that_contradict_each_other_are_refused_as_recorded(name: str) -> None:
    error = recorded(name, "train.json")["train"]["error"]
    assert {reason for _, _, reason in fault_of_bot(name)} == set(re.findall(r"^- (.*)$", error, re.MULTILINE))


@pytest.mark.parametrize("name", ["err_two_user_turns", "err_unknown_action", "err_forms_no_rule_policy"])
def test_other_faults_begin_as_recorded(name: str) -> None:
    ((_, _, reason),) = fault_of_bot(name)
    error = recorded(name, "train.json")["train"]["error"]
    assert error.startswith(re.split(r" List it", reason)[0])


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("err_bad_mapping", "domain.yml", 4),
        ("err_contradiction_rules", "data/data.yml", 14),
        ("err_forms_no_rule_policy", "config.yml", 1),
        ("err_incomplete_loop", "data/data.yml", 19),
        ("err_incomplete_slot", "data/data.yml", 21),
        ("err_string_step", "data/data.yml", 14),
        ("err_two_user_turns", "data/data.yml", 15),
        ("err_unknown_action", "data/data.yml", 14),
    ],
)
def test_a_fault_says_where_it_is(name: str, file: str, line: int) -> None:
    assert fault_of_bot(name)[0][:2] == (file, line)


def test_keywords_do_not_matter_to_rules() -> None:
    # Rasa's training crashes over the keywords of this bot.
    assert train_bot("err_keyword_twice")[0].tables


@pytest.mark.parametrize("name", ["rule_conditions", "form_unhappy_story"])
def test_tables_can_be_stored_as_json(name: str) -> None:
    for table in train_bot(name)[0].tables:
        assert msgspec.json.decode(msgspec.json.encode(table), type=type(table)) == table


A = "[{intent: a}, {action: utter_a}]"
B = "[{intent: b}, {action: utter_b}]"


class TestContradictions:
    def test_a_story_may_say_what_a_rule_says(self) -> None:
        result = trained(f"rules: [{{rule: r, steps: {A}}}]\nstories: [{{story: s, steps: {A}}}]\n")
        (table,) = (table for table in result.tables if isinstance(table, RuleTable))
        assert not [source for source in table.rules_not_in_stories if source in table.rules]

    def test_a_story_that_says_otherwise_is_a_fault_at_its_action(self) -> None:
        text = (
            f"rules: [{{rule: r, steps: {A}}}]\n"
            "stories:\n- story: s\n  steps:\n  - intent: a\n  - action: utter_b\n  - intent: a\n  - action: utter_c\n"
        )
        assert faults(text) == [
            f"data.yml:{line}: the prediction of the action '{action}' in story 's' is contradicting with rule(s) 'r' "
            "which predicted action 'utter_a'."
            for line, action in ((6, "utter_b"), (8, "utter_c"))
        ]

    def test_what_every_bot_does_can_be_contradicted_too(self) -> None:
        (fault,) = faults("rules: [{rule: r, steps: [{intent: back}, {action: utter_a}]}]\n")
        assert fault.endswith(
            "in rule 'r' is contradicting with rule(s) 'predicting default action with intent back' which predicted "
            "action 'action_back'."
        )

    def test_they_can_be_let_be(self) -> None:
        text = f"rules: [{{rule: r, steps: {A}}}, {{rule: q, steps: [{{intent: a}}, {{action: utter_b}}]}}]\n"
        (table,) = trained(text, {**RULES, "check_for_contradictions": False}).tables
        assert isinstance(table, RuleTable)
        assert not any("listen" not in action for action in table.rules.values())
        assert (table.rules_not_in_stories, table.rule_only_slots) == ((), ())

    def test_a_rule_that_only_listens_gives_way_where_another_goes_on(self) -> None:
        text = (
            "rules:\n- {rule: r, steps: [{action: utter_a}]}\n"
            "- {rule: q, condition: [{slot_was_set: [vip: true]}], steps: [{action: utter_a}, {action: utter_b}]}\n"
            "- {rule: p, wait_for_user_input: false, steps: [{action: utter_a}, {action: action_listen}, {intent: d},"
            " {action: utter_d}]}\n"
            "stories: [{story: s, steps: [{intent: c}, {action: utter_a}, {action: utter_c}]}]\n"
        )
        (table,) = trained(text, RULES).tables
        assert isinstance(table, RuleTable)
        assert '[{"prev_action": {"action_name": "utter_a"}}]' not in table.rules


class TestFaults:
    def test_unknown_actions_are_all_named(self) -> None:
        found = faults("stories:\n- story: s\n  steps:\n  - intent: a\n  - action: utter_x\n  - action: utter_y\n")
        assert [fault.partition(",")[0] for fault in found] == [
            "data.yml:5: Cannot access action 'utter_x'",
            "data.yml:6: Cannot access action 'utter_y'",
        ]

    def test_policies_must_fit_the_domain(self) -> None:
        assert faults("stories: []\n", STORIES)[0].startswith(
            "config.yml:1: You have defined a form action, but have not"
        )
        assert faults("stories: []\n", {**RULES, "core_fallback_action_name": "action_z"}) == [
            "config.yml:1: The fallback action 'action_z' which was configured for the RulePolicy must be present in "
            "the domain."
        ]

    def test_a_rule_may_have_more_messages_if_that_is_allowed(self) -> None:
        text = "rules: [{rule: r, steps: [{intent: a}, {action: utter_a}, {intent: b}, {action: utter_b}]}]\n"
        assert "Found rules 'r' that contain more than 1 user message" in faults(text)[0]
        assert trained(text, {**RULES, "restrict_rules": False}).tables


class TestWarnings:
    def of(self, text: str, *items: dict[str, Any]) -> list[str]:
        return [str(warning) for warning in trained(text, *items or (RULES,)).warnings]

    def test_unknown_intents_and_loops(self) -> None:
        text = f"rules:\n- {{rule: r, steps: {A}}}\nstories:\n- story: s\n  steps:\n  - intent: z\n  - active_loop: g\n"
        assert self.of(text) == [
            "data.yml:6: Found intent 'z' in stories which is not part of the domain.",
            "data.yml:7: the loop 'g' is neither a form nor an action of the domain",
        ]

    def test_rules_that_leave_a_loop_standing(self) -> None:
        text = "rules:\n- rule: why\n  condition: [{active_loop: f}]\n  steps:\n  - intent: a\n  - action: utter_a\n"
        assert self.of(text) == [
            "data.yml:6: the rule 'why' listens inside the loop 'f' without running it, so this loop does not go on: "
            "end with 'action: f', or leave the loop out of the condition"
        ]
        assert self.of(text + "  - action: f\n") == []
        assert self.of(text + "  wait_for_user_input: false\n") == []

    def test_rules_whose_loop_a_story_goes_back_to(self) -> None:
        text = (
            "rules: [{rule: why, condition: [{active_loop: f}], steps: [{intent: a}, {action: utter_a}]}]\n"
            "stories: [{story: s, steps: [{intent: b}, {action: f}, {active_loop: f}, {intent: a}, {action: utter_a},"
            " {intent: c}, {action: f}]}]\n"
        )
        assert self.of(text) == []

    def test_policies_that_do_not_suit_the_data(self) -> None:
        assert self.of(
            f"stories: [{{story: s, steps: {A}}}]\n", STORIES, RULES, {"name": "AugmentedMemoizationPolicy"}
        ) == [
            "config.yml:1: Found a rule-based policy in your configuration but no rule-based training data: RulePolicy "
            "has no rules",
            "config.yml:1: Found policies MemoizationPolicy, AugmentedMemoizationPolicy with same priority 3: the "
            "first decides between equals",
        ]

    def test_rules_without_a_policy_for_them(self) -> None:
        read = stories(f"rules: [{{rule: r, steps: {A}}}]\n")
        plain = domain("intents: [a]\nresponses: {utter_a: [{text: a}]}\n")
        found = [warning.reason for warning in train(plain, read, policies(STORIES)).warnings]
        assert (
            found[0] == "Found rule-based training data but no policy supporting rule-based data: rules need RulePolicy"
        )
        assert found[1].startswith("'RulePolicy' is not included in the model's policy configuration.")


def test_what_the_bot_says_word_for_word_becomes_an_action() -> None:
    result = trained("stories: [{story: s, steps: [{intent: a}, {bot: Hi}, {intent: b}, {bot: Bye}, {bot: Hi}]}]\n")
    assert result.domain.action_names[-2:] == ("Hi", "Bye")


_STEPS = st.lists(st.sampled_from([A, B, "[{intent: a}, {action: utter_b}]", "[{intent: c}, {bot: Hi}]"]), min_size=1)


@given(_STEPS, st.randoms())
def test_the_order_of_stories_and_rules_does_not_change_what_is_learned(written: list[str], random: Any) -> None:
    text = "stories: [" + ", ".join(f"{{story: s{n}, steps: {steps}}}" for n, steps in enumerate(written)) + "]\n"
    rules = f"rules: [{{rule: r, steps: [{{intent: d}}, {{action: utter_d}}]}}, {{rule: q, steps: {B}}}]\n"
    read = stories(text + (rules if "[{intent: b}, {action: utter_a}]" not in text else "")).stories
    shuffled = random.sample(read, len(read))
    configs = policies(STORIES, RULES)
    first, second = (train(domain(), Stories(tuple(order)), configs).tables for order in (read, shuffled))
    assert first == second
