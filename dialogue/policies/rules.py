"""Prediction by rules: what RulePolicy does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from dialogue.policies.learning import (
    DEFAULT_INTENT_SOURCE,
    DO_NOT_PREDICT_LOOP,
    LISTEN_IN_LOOP,
    LOOP_SOURCE,
    LOOP_WAS_INTERRUPTED,
)
from dialogue.policies.matching import KeyIndex
from dialogue.policies.opinion import Opinion
from dialogue.policies.states import SHOULD_NOT_BE_SET, parse_key
from dialogue.tracker import ACTION_LISTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue.policies.configuration import RulesConfig
    from dialogue.policies.history import History
    from dialogue.policies.learning import RuleTable
    from dialogue.policies.states import State

DEFAULT_ACTIONS: Final = {
    "restart": "action_restart",
    "back": "action_back",
    "session_start": "action_session_start",
}
"""What is done for intents that every bot knows, whatever the rules say."""


class Decision(Struct, frozen=True, kw_only=True):
    """The action that rules demand (None when they say nothing), and the `source` that demands it."""

    action: str | None
    source: str | None
    ignores_user: bool = False
    uses_text: bool = False
    interrupts_loop: bool = False


class RulePolicy:
    """Predicts by the rules of a table."""

    def __init__(self, config: RulesConfig, table: RuleTable) -> None:
        self._config = config
        self._rules = KeyIndex(table.rules)
        self._unhappy = KeyIndex(table.unhappy)
        self._unseen = frozenset(table.rules_not_in_stories)

    def opinion(self, past: History) -> Opinion:
        """Return what the rules demand; where they say nothing, the fallback."""
        decision = self.decision(past)
        return Opinion(
            policy=self._config.name,
            priority=self._config.priority,
            scores=self._scores(decision, past),
            ignores_user=decision.ignores_user,
            uses_text=decision.uses_text,
            interrupts_loop=decision.interrupts_loop,
            hides_rule_turn=decision.source in self._unseen,
        )

    def decision(self, past: History) -> Decision:
        """Return what the rules demand: for a text, else for a default intent, else by the loop, else by the intent."""
        by_text = self._by_text(past)
        certain = (None if by_text.action else _by_default(past)) or _by_loop(past)
        if certain:
            return certain
        if by_text.action:
            return by_text
        by_intent = self._found(past.states, past.loop)
        return replace(by_intent, interrupts_loop=by_intent.interrupts_loop or by_text.interrupts_loop)

    def _by_text(self, past: History) -> Decision:
        if not past.listened:
            return _NOTHING
        found = self._found(past.text_states, past.loop)
        return replace(found, uses_text=found.action is not None)

    def _found(self, states: Sequence[State], loop: str | None) -> Decision:
        key, action = self._rules.best(states) or (None, None)
        if loop is None:
            return Decision(action=action, source=key)
        outcomes = {outcome for _, outcome in self._unhappy.all(states)}
        if action == ACTION_LISTEN and key is not None and not _speaks_of_loop(key):
            action = None if DO_NOT_PREDICT_LOOP in outcomes else loop
        return Decision(action=action, source=key, interrupts_loop=LOOP_WAS_INTERRUPTED in outcomes)

    def _scores(self, decision: Decision, past: History) -> dict[str, float]:
        config = self._config
        scores: dict[str, float] = {}
        if config.enable_fallback_prediction:
            scores[config.core_fallback_action_name] = config.core_fallback_threshold
        if decision.action is not None:
            scores[decision.action] = past.nlu_confidence if config.use_nlu_confidence_as_score else 1.0
        return scores


_NOTHING: Final = Decision(action=None, source=None)


def _by_default(past: History) -> Decision | None:
    # A message that came while the bot was silent, or had been cut off, did not find it listening.
    action = DEFAULT_ACTIONS.get(past.intent or "") if past.is_unanswered else None
    return Decision(action=action, source=f"{DEFAULT_INTENT_SOURCE}{past.intent}") if action else None


def _by_loop(past: History) -> Decision | None:
    """An active loop goes on and on, a listen after each run, unless it has refused to."""
    loop = past.loop
    if loop is None or past.tracker.active_loop["rejected"]:
        return None
    if past.latest_action == loop:
        return Decision(action=ACTION_LISTEN, source=f"{LOOP_SOURCE}{loop}{LISTEN_IN_LOOP}", ignores_user=True)
    return Decision(action=loop, source=f"{LOOP_SOURCE}{loop}", ignores_user=True)


def _speaks_of_loop(key: str) -> bool:
    """Whether a rule asks for an active loop at its end: then its author has thought of what the loop does."""
    return parse_key(key)[-1].loop not in (None, SHOULD_NOT_BE_SET)
