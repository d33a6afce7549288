"""Prediction by stories, word for word: what MemoizationPolicy and AugmentedMemoizationPolicy do."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from dialogue.policies.history import by_intent
from dialogue.policies.opinion import Opinion
from dialogue.policies.states import State, story_key
from dialogue.tracker import ACTION_LISTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue.policies.configuration import MemoizationConfig
    from dialogue.policies.history import History, Moment, SlotFeatures
    from dialogue.policies.learning import StoryTable

ACTION_UNLIKELY_INTENT: Final = "action_unlikely_intent"


class RuleOnly(Struct, frozen=True):
    """What only rules speak of, so that stories are followed without looking at it."""

    slots: frozenset[str] = frozenset()
    loops: frozenset[str] = frozenset()


class MemoizationPolicy:
    """Predicts by the pieces of stories in a table."""

    def __init__(self, config: MemoizationConfig, table: StoryTable, rule_only: RuleOnly) -> None:
        self._config = config
        self._actions = table.lookup
        self._rule_only = rule_only
        self._longest = max(map(_most_states, table.lookup), default=0)
        self._starts_by_listening = all(map(_starts_by_listening, table.lookup))

    def opinion(self, past: History) -> Opinion:
        """Return what a story does at this point, if one is followed."""
        action = self._recalled(past, WHOLE) or (self._recalled_later(past) if self._config.augmented else None)
        score = past.nlu_confidence if self._config.use_nlu_confidence_as_score else 1.0
        return Opinion(
            policy=self._config.name,
            priority=self._config.priority,
            scores={} if action is None else {action: score},
        )

    def _recalled(self, past: History, begin: int) -> str | None:
        states = seen(past, begin, self._rule_only)
        if self._config.max_history is not None:
            states = states[-self._config.max_history :]
        if not 0 < len(states) <= self._longest:
            return None
        return self._actions.get(story_key(map(past.shared, by_intent(states))))

    def _recalled_later(self, past: History) -> str | None:
        """What is recalled when the session is taken to begin with one of its later actions, the first that helps."""
        recalled = (self._recalled(past, begin) for begin in self._beginnings(past))
        return next((action for action in recalled if action), None)

    def _beginnings(self, past: History) -> Sequence[int]:
        moments = past.moments
        if self._config.max_history is not None:
            return range(_turn_before(moments, self._config.max_history), len(moments) - 1)
        possible = range(self._too_early(moments), len(moments) - 1)
        if self._starts_by_listening and _decides(moments[-1], WHOLE):  # so now is seen, and a first action before it
            return [begin for begin in possible if moments[begin + 1].state.action == ACTION_LISTEN]
        return possible

    def _too_early(self, moments: Sequence[Moment]) -> int:
        """How many actions are so long ago that more has been seen since than any story has."""
        since = accumulate(not moment.hides and _decides(moment, WHOLE) for moment in reversed(moments))
        return sum(count > self._longest for count in since)


WHOLE: Final = -1
"""Stands for the beginning of the whole session, in the place of a moment's number."""


def seen(past: History, begin: int, rule_only: RuleOnly) -> list[State]:
    """Return the states as stories see them: without the turns of rules that stories don't know of.

    After such a turn the last action that they see is the one before it, and the message is the one before it too until
    the bot has listened again. With `begin` the session is taken to begin with the action after that moment: what was
    before is forgotten.
    """
    states: list[State] = []
    hidden, last = False, past.moments[0]
    for moment in past.moments[max(begin, 0) :]:
        if hidden and moment.hides:
            continue
        if not hidden:
            last = moment
        if _decides(moment, begin):
            hidden = moment.hides
        if not hidden:
            before = () if past.counts_at_once else states
            state = _after_turns(_remembered(moment, begin, past), last, begin, before)
            states.append(_without_rule_only(state, rule_only))
    return [state for state in states if state.action != ACTION_UNLIKELY_INTENT]


def _decides(moment: Moment, begin: int) -> bool:
    """Whether the action that follows says if its turn is hidden; given ones, and a loop after itself, do not."""
    state = moment.state
    loop = state.loop if moment.loop_since > begin else None
    return not moment.is_led and moment.number != begin and (state.action or state.action_text) != loop


def _remembered(moment: Moment, begin: int, past: History) -> State:
    """The state with only what came after the beginning."""
    if begin == WHOLE:
        return moment.state
    if moment.number == begin:
        return State(slots=past.initial_slots)
    state = moment.state
    if moment.message_since <= begin:
        state = replace(state, intent=None, entities=(), text=None)
    if moment.loop_since <= begin:
        state = replace(state, loop=None)
    if any(since <= begin for since in moment.slots_since.values()):
        state = replace(state, slots=_slots_since(moment, begin, past.initial_slots))
    return state


def _slots_since(moment: Moment, begin: int, initial: SlotFeatures) -> SlotFeatures:
    later = {name for name, since in moment.slots_since.items() if since > begin}
    unchanged = [item for item in initial if item[0] not in later]
    return tuple(sorted([*unchanged, *(item for item in moment.state.slots if item[0] in later)]))


def _after_turns(state: State, last: Moment, begin: int, before: Sequence[State]) -> State:
    """The state with the last action and the message that stories see of it."""
    message = before[-1] if before and state.action != ACTION_LISTEN else state
    action = state if last.number == begin or last.state.starts_conversation else last.state
    if _turn(message, action) == _turn(state, state):
        return state
    intent, entities, text, name, action_text = _turn(message, action)
    return replace(state, intent=intent, entities=entities, text=text, action=name, action_text=action_text)


def _turn(message: State, action: State) -> tuple[str | None, tuple[str, ...], str | None, str | None, str | None]:
    return message.intent, message.entities, message.text, action.action, action.action_text


def _without_rule_only(state: State, rule_only: RuleOnly) -> State:
    if state.loop in rule_only.loops:
        state = replace(state, loop=None)
    if rule_only.slots and state.slots:
        state = replace(state, slots=tuple(item for item in state.slots if item[0] not in rule_only.slots))
    return state


def _turn_before(moments: Sequence[Moment], max_history: int) -> int:
    """The number of the last moment before a listen that has `max_history` actions after it; 0 if there is none."""
    candidates = reversed(moments[1 : len(moments) - max_history])
    return next((moment.number - 1 for moment in candidates if moment.state.action == ACTION_LISTEN), 0)


def _starts_by_listening(key: str) -> bool:
    """Whether the first action in a key, that with which its story begins if it has all the history, is to listen."""
    first = key.partition("prev_action: ")[2]
    return not first or first.startswith(f"{{action_name: {ACTION_LISTEN}}}")


def _most_states(key: str) -> int:
    """An upper bound for the number of a key's states: names may look like the gap between two."""
    return key.count("}, {") + 1
