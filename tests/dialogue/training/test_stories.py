"""Stories and rules read from YAML."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from dialogue.training.files import InvalidTraining
from dialogue.training.stories import (
    ActionStep,
    CheckpointStep,
    LoopStep,
    Mention,
    OrStep,
    Place,
    SlotStep,
    Step,
    UserStep,
)
from tests.dialogue.training.bots import stories


def steps(*lines: str) -> tuple[Step, ...]:
    return stories(_story(*lines)).stories[0].steps


def faults(*lines: str, rule: bool = False) -> list[str]:
    with pytest.raises(InvalidTraining) as caught:
        stories(_story(*lines).replace("stories", "rules").replace("story", "rule") if rule else _story(*lines))
    return [str(fault).removeprefix("data.yml:") for fault in caught.value.faults]


def _story(*lines: str) -> str:
    return "stories:\n- story: s\n  steps:\n" + "".join(f"  {line}\n" for line in lines)


def at(line: int) -> Place:
    return Place("data.yml", line)


class TestSteps:
    def test_a_message_of_an_intent_has_entities(self) -> None:
        (step,) = steps("- intent: a", "  entities: [city, {place: Rome, role: to, group: '1'}]")
        entities = (Mention(entity="city"), Mention(entity="place", value="Rome", role="to", group="1"))
        assert step == UserStep(place=at(4), intent="a", text=None, entities=entities)

    def test_a_message_word_for_word_may_mark_entities(self) -> None:
        (step,) = steps("- user: to [Rome](city)")
        entities = (Mention(entity="city", value="Rome"),)
        assert step == UserStep(place=at(4), intent=None, text="to Rome", entities=entities)

    def test_actions_are_named_or_said_word_for_word(self) -> None:
        assert steps("- action: utter_a", "- bot: Hello.") == (
            ActionStep(place=at(4), name="utter_a", text=None),
            ActionStep(place=at(5), name=None, text="Hello."),
        )

    def test_slots_have_values_or_are_only_named(self) -> None:
        assert steps("- slot_was_set:", "  - city: Rome", "  - vip") == (
            SlotStep(place=at(5), name="city", value="Rome"),
            SlotStep(place=at(6), name="vip", value=UNSET),
        )

    def test_yaml_words_of_old_are_text(self) -> None:
        (step,) = steps("- slot_was_set: [city: yes]")
        assert isinstance(step, SlotStep)
        assert step.value == "yes"

    def test_loops_begin_and_end(self) -> None:
        assert steps("- active_loop: f", "- active_loop: null") == (
            LoopStep(place=at(4), name="f"),
            LoopStep(place=at(5), name=None),
        )

    def test_checkpoints_may_ask_for_slots(self) -> None:
        (step,) = steps("- checkpoint: c", "  slot_was_set: [vip: true]")
        slots = (SlotStep(place=at(5), name="vip", value=True),)
        assert step == CheckpointStep(place=at(4), name="c", slots=slots)

    def test_ors_hold_intents_and_slots(self) -> None:
        (step,) = steps("- or:", "  - intent: a", "  - slot_was_set: [vip: true]")
        assert step == OrStep(
            place=at(4),
            choices=(
                UserStep(place=at(5), intent="a", text=None),
                SlotStep(place=at(6), name="vip", value=True),
            ),
        )


def test_a_rule_says_where_it_holds() -> None:
    (rule,) = stories(
        "rules:\n- rule: r\n  condition: [{active_loop: f}, {slot_was_set: [vip: true]}]\n  conversation_start: true\n"
        "  wait_for_user_input: false\n  metadata: {x: 1}\n  steps: [{action: utter_a}]\n"
    ).stories
    assert (rule.is_rule, rule.starts_conversation, rule.waits) == (True, True, False)
    assert rule.condition == (
        LoopStep(place=at(3), name="f"),
        SlotStep(place=at(3), name="vip", value=True),
    )


def test_what_is_read_otherwise_than_written_is_a_warning() -> None:
    read = stories(
        "stories:\n- story: s\n  steps:\n  - intent: /a\n  - intent: faq/price\n- story: none\n  steps: []\n"
    )
    assert [getattr(step, "intent", None) for step in read.stories[0].steps] == ["a", "faq"]
    assert [str(warning) for warning in read.warnings] == [
        "data.yml:4: the intent '/a' is written without the slash in front",
        "data.yml:5: of the retrieval intent 'faq/price' only 'faq' counts in stories and rules",
        "data.yml:6: the story 'none' is skipped: it has no steps",
    ]


class TestFaults:
    def test_all_of_a_file_come_at_once_each_with_its_line(self) -> None:
        assert faults("- ...", "- intent: 5", "- action:", "- intnt: a") == [
            "4: a step of a story is a mapping such as '- intent: ...', not '...'",
            "5: intent must be text, not 5",
            "6: action must be text, not None",
            "7: a step of a story is one of intent, user, action, bot, active_loop, checkpoint, slot_was_set, or, "
            "metadata; here is 'intnt'",
        ]

    def test_a_step_is_one_thing(self) -> None:
        assert faults("- intent: a", "  action: utter_a") == ["5: 'action' can't stand beside 'intent' in one step"]

    @pytest.mark.parametrize("step", ["- bot: Hello", "- checkpoint: c"])
    def test_rules_have_fewer_kinds_of_steps(self, step: str) -> None:
        (fault,) = faults(step, rule=True)
        assert fault.startswith("4: a step of a rule is one of intent, user, action, active_loop, slot_was_set, or")

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("- or: []", "or must be a list of what may happen instead of each other, not a list"),
            ("- or: [{action: utter_a}]", "what may happen in an or is one of intent, slot_was_set; here is 'action'"),
            ("- slot_was_set: {vip: true}", "slot_was_set must be a list such as '- name: value', not a mapping"),
            ("- slot_was_set: [3]", "a slot is its name, or its name with a value; not 3"),
            ("- {checkpoint: c, slot_was_set: [vip]}", "at a checkpoint the slot 'vip' needs a value: '- vip: value'"),
            ("- checkpoint: 3", "checkpoint must be text, not 3"),
            ("- active_loop: 3", "active_loop must be text, not 3"),
            ("- user: '[x]{y}'", "'[x]{y}': {y} is not JSON"),
            ("- {intent: a, entities: city}", "entities must be a list, not 'city'"),
            ("- {intent: a, entities: [3]}", "an entity is its name, or its name with a value"),
            ("- {intent: a, entities: [{city: x, role: 3}]}", "role must be text, not 3"),
        ],
    )
    def test_values_that_are_not_what_they_should_be(self, line: str, reason: str) -> None:
        (fault,) = faults(line)
        assert fault.startswith(f"4: {reason}")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("stories: {}", "1: stories must be a list, not a mapping"),
            ("rules: [x]", "1: a rule is written '- rule: its name' with its steps below, not 'x'"),
            ("stories: [{steps: []}]", "1: a story is written '- story: its name' with its steps below, not a mapping"),
            (
                "stories: [{story: s, step: []}]",
                "1: a story has the unknown key 'step'; keys are story, steps, metadata",
            ),
            ("rules: [{rule: r, conversation_start: 1}]", "1: a rule: conversation_start must be true or false, not 1"),
            ("rules: [{rule: r, condition: [{action: x}]}]", "1: a condition is one of active_loop, slot_was_set;"),
        ],
    )
    def test_what_is_no_story_or_rule(self, text: str, reason: str) -> None:
        with pytest.raises(InvalidTraining) as caught:
            stories(text)
        (fault,) = caught.value.faults
        assert str(fault).startswith(f"data.yml:{reason}")
