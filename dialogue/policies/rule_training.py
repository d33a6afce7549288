"""What rules teach: which action is due wherever a rule's states come last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialogue.domain import RULE_EDGE
from dialogue.policies.learning import DO_NOT_PREDICT_LOOP, LOOP_WAS_INTERRUPTED, RuleTable
from dialogue.policies.lessons import in_rule
from dialogue.policies.states import SHOULD_NOT_BE_SET, State, key
from dialogue.policies.story_training import learned
from dialogue.tracker import ACTION_LISTEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.policies.lessons import Example, Lesson


def learn_rules(rules: Sequence[Lesson], stories: Sequence[Lesson], *, compares: bool) -> RuleTable:
    """Return what the rules demand; `rules` are lessons that omit unset slots.

    With `compares` it is noted what only rules look at. What rules do that no story does is left open.
    """
    in_rules = [example for lesson in rules for example in lesson.examples()]
    in_stories = [example for lesson in stories for example in lesson.examples()]
    only = _RuleOnly(in_rules, in_stories) if compares else None
    return RuleTable(
        rules=_rules(in_rules),
        rule_only_slots=only.slots if only else (),
        rule_only_loops=only.loops if only else (),
        unhappy=dict(_unhappy([*in_rules, *in_stories])),
    )


def _rules(examples: Iterable[Example]) -> dict[str, str]:
    asked = ((in_rule(example.states), example.action) for example in examples)
    lookup = learned((key(states), action) for states, action in asked if states)
    return {text: action for text, action in lookup.items() if action != RULE_EDGE}


class _RuleOnly:
    """Slots and loops that rules look at and stories don't."""

    def __init__(self, rules: Iterable[Example], stories: Iterable[Example]) -> None:
        in_rules, in_stories = _seen(rules), _seen(stories)
        self.slots = tuple(sorted(_slots(in_rules) - _slots(in_stories)))
        self.loops = tuple(sorted(_loops(in_rules) - _loops(in_stories)))


def _seen(examples: Iterable[Example]) -> set[State]:
    return {state for example in examples for state in example.states}


def _slots(states: Iterable[State]) -> set[str]:
    return {name for state in states for name, _ in state.slots}


def _loops(states: Iterable[State]) -> set[str]:
    return {state.loop for state in states if state.loop not in (None, SHOULD_NOT_BE_SET)}


def _unhappy(examples: Iterable[Example]) -> Iterator[tuple[str, str]]:
    """What an example inside a loop says of the loop: that it was left for a moment, or is not due."""
    for example in examples:
        last = example.states[-1]
        asked = in_rule(_recent(example.states))
        if last.loop in (None, SHOULD_NOT_BE_SET) or not asked:
            continue
        if last.action == ACTION_LISTEN and example.action == last.loop:
            yield key(asked), LOOP_WAS_INTERRUPTED
        elif last.action != ACTION_LISTEN and example.action != last.loop:
            yield key(asked), DO_NOT_PREDICT_LOOP


def _recent(states: Sequence[State]) -> list[State]:
    """The last state, and of the one before the action: that is what was answered, whatever the message was."""
    if len(states) == 1 or states[-2].starts_conversation:
        return [states[-1]]
    return [State(action=states[-2].action, action_text=states[-2].action_text), states[-1]]
