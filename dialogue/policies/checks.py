"""What is wrong with training data as a whole: faults that stop training, and what may not be meant so."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from dialogue.domain import RULE_EDGE
from dialogue.events import ActionExecuted, ActiveLoop, SlotSet, UserUttered
from dialogue.policies.configuration import MemoizationConfig, RulesConfig
from dialogue.policies.lessons import actions, label
from dialogue.policies.states import SHOULD_NOT_BE_SET
from dialogue.source import Fault
from dialogue.tracker import ACTION_LISTEN
from dialogue.training.stories import ActionStep, LoopStep, OrStep, UserStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.domain import Domain
    from dialogue.policies.configuration import PolicyConfig
    from dialogue.policies.lessons import Lesson
    from dialogue.training.expansion import Beat
    from dialogue.training.stories import Place, Story


def _at(place: Place, reason: str) -> Fault:
    return Fault(place.file, place.line, reason)


# --- names ------------------------------------------------------------------------------------------------------------


def unknown_actions(stories: Iterable[Story], domain: Domain) -> Iterator[Fault]:
    """Find actions that the domain doesn't have."""
    known = frozenset(domain.action_names)
    for story in stories:
        for step in story.steps:
            if isinstance(step, ActionStep) and step.name is not None and step.name not in known:
                yield _at(
                    step.place,
                    f"Cannot access action '{step.name}', as that name is not a registered action for this domain. "
                    "List it under actions, or write a response of this name.",
                )


def unknown_intents(stories: Iterable[Story], domain: Domain) -> Iterator[Fault]:
    """Find intents that the domain doesn't have: messages never have them."""
    known = frozenset((None, *domain.known_intents))
    for story in stories:
        for step in story.steps:
            for user in step.choices if isinstance(step, OrStep) else (step,):
                if isinstance(user, UserStep) and user.intent not in known:
                    yield _at(user.place, f"Found intent '{user.intent}' in stories which is not part of the domain.")


def unknown_loops(stories: Iterable[Story], domain: Domain) -> Iterator[Fault]:
    """Find loops that the domain doesn't have: they are never active."""
    known = frozenset((None, *domain.action_names))
    for story in stories:
        for step in (*story.condition, *story.steps):
            if isinstance(step, LoopStep) and step.name not in known:
                yield _at(step.place, f"the loop {step.name!r} is neither a form nor an action of the domain")


# --- policies ---------------------------------------------------------------------------------------------------------


def policy_faults(configs: Sequence[PolicyConfig], domain: Domain) -> Iterator[str]:
    """Find what policies can't do with this domain."""
    rules = [config for config in configs if isinstance(config, RulesConfig)]
    if domain.forms and not rules:
        yield (
            "You have defined a form action, but have not added the 'RulePolicy' to your policy ensemble. Either "
            "remove all forms from your domain or add the 'RulePolicy' to your policy configuration."
        )
    for config in rules:
        if config.core_fallback_action_name not in domain.action_names:
            yield (
                f"The fallback action '{config.core_fallback_action_name}' which was configured for the RulePolicy "
                "must be present in the domain."
            )


def policy_warnings(configs: Sequence[PolicyConfig], stories: Iterable[Story]) -> Iterator[str]:
    """Find policies that miss what they learn from, and data that no policy learns."""
    uses_rules = any(isinstance(config, RulesConfig) for config in configs)
    has_rules = any(story.is_rule for story in stories)
    if uses_rules and not has_rules:
        yield "Found a rule-based policy in your configuration but no rule-based training data: RulePolicy has no rules"
    if has_rules and not uses_rules:
        yield "Found rule-based training data but no policy supporting rule-based data: rules need RulePolicy"
    if not uses_rules:
        yield (
            "'RulePolicy' is not included in the model's policy configuration. Default intents such as 'restart' and "
            "'back' will not trigger actions 'action_restart' and 'action_back'."
        )
    yield from _same_priorities(configs)


def _same_priorities(configs: Sequence[PolicyConfig]) -> Iterator[str]:
    def priority(config: RulesConfig | MemoizationConfig) -> int:
        return config.priority

    for number, group in groupby(sorted(configs, key=priority), key=priority):
        names = [config.name for config in group]
        if len(names) > 1:
            yield f"Found policies {', '.join(names)} with same priority {number}: the first decides between equals"


# --- rules ------------------------------------------------------------------------------------------------------------


def long_rules(rules: Iterable[Lesson]) -> Iterator[Fault]:
    """Find rules with more than one user message."""
    found: dict[str, Place] = {}
    for lesson in rules:
        messages = [beat for beat in lesson.course.beats if isinstance(beat.event, UserUttered)]
        if len(messages) > 1:
            found.setdefault(lesson.course.name, messages[1].place)
    for name, place in found.items():
        yield _at(
            place,
            f"Found rules '{name}' that contain more than 1 user message. Rules are not meant to hardcode a state "
            "machine. Please use stories for these cases.",
        )


def incomplete_rules(rules: Sequence[Lesson], domain: Domain) -> Iterator[Fault]:
    """Find actions after which one rule says of a slot or loop what has become of it, and another doesn't.

    The lessons show all slots, initial values too.
    """
    effects = _effects(rules, domain)
    for lesson in rules:
        beats = list(actions(lesson.course.beats))
        for before, state, after in zip(beats, lesson.states[1:], [*map(label, beats[1:]), ACTION_LISTEN], strict=True):
            effect = effects.get(label(before))
            if effect is None or RULE_EDGE in (label(before), after):
                continue
            if effect.loops and state.loop not in effect.loops:
                yield _at(before.place, _loop_not_set(label(before), lesson.course.name, effect.loops))
            missing = [slot for slot in effect.slots if slot not in dict(state.slots)]
            if missing:
                yield _at(before.place, _slots_not_set(label(before), lesson.course.name, missing))


class _Effect:
    """What rules say that an action does. Keys in the order in which they came."""

    def __init__(self) -> None:
        self.slots: dict[str, None] = {}
        self.loops: dict[str, None] = {}


def _effects(rules: Iterable[Lesson], domain: Domain) -> dict[str, _Effect]:
    effects: defaultdict[str, _Effect] = defaultdict(_Effect)
    for lesson in rules:
        action: str | None = None
        for beat in lesson.course.beats:
            if isinstance(beat.event, ActionExecuted):
                action = label(beat)
            elif isinstance(beat.event, UserUttered):
                action = None
            elif action is not None:
                _note(effects[action], beat, domain)
    return effects


def _note(effect: _Effect, beat: Beat, domain: Domain) -> None:
    if isinstance(beat.event, ActiveLoop):
        effect.loops[beat.event.name] = None
    elif isinstance(beat.event, SlotSet):
        slot = domain.slots.get(beat.event.name)
        if slot is not None and slot.influences:
            effect.slots[beat.event.name] = None


def _loop_not_set(action: str, rule: str, loops: Iterable[str]) -> str:
    return (
        f"the form '{action}' in rule '{rule}' does not set the 'active_loop', that it sets in other rules: "
        f"{_quoted(loops)}. Please update the rule with the appropriate 'active loop' property or if it is the last "
        "action add 'wait_for_user_input: false' after this action."
    )


def _slots_not_set(action: str, rule: str, slots: Iterable[str]) -> str:
    return (
        f"the action '{action}' in rule '{rule}' does not set some of the slots that it sets in other rules. "
        f"Slots not set in rule '{rule}': {_quoted(slots)}. Please update the rule with an appropriate slot or if it "
        "is the last action add 'wait_for_user_input: false' after this action."
    )


def _quoted(names: Iterable[str]) -> str:
    return "'" + "', '".join(names) + "'"


def stranding_rules(rules: Iterable[Lesson], stories: Iterable[Lesson]) -> Iterator[Fault]:
    """Find rules that end inside a loop without running it: after them the loop never runs again by itself."""
    followed = {(state.loop, state.action) for lesson in stories for state in lesson.states}
    for lesson in rules:
        before, last = lesson.states[-2], [*actions(lesson.course.beats)][-1]
        inside = before.loop not in (None, SHOULD_NOT_BE_SET, before.action) and before.action != RULE_EDGE
        if inside and label(last) == ACTION_LISTEN and (before.loop, before.action) not in followed:
            yield _at(
                last.place,
                f"the rule {lesson.course.name!r} listens inside the loop {before.loop!r} without running it, so this "
                f"loop does not go on: end with 'action: {before.loop}', or leave the loop out of the condition",
            )
