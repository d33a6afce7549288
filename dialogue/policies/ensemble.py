"""All policies of a bot together, and which of them decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dialogue.events import ActionExecuted, ActionExecutionRejected
from dialogue.policies.configuration import MemoizationConfig, RulesConfig
from dialogue.policies.history import history
from dialogue.policies.learning import RuleTable, StoryTable
from dialogue.policies.memoization import MemoizationPolicy, RuleOnly
from dialogue.policies.prediction import Prediction
from dialogue.policies.rules import RulePolicy
from dialogue.tracker import ACTION_LISTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue.domain import Domain
    from dialogue.events import Event
    from dialogue.policies.configuration import PolicyConfig
    from dialogue.policies.opinion import Opinion, Policy
    from dialogue.policies.prediction import Situation

FOLLOWUP_POLICY: Final = "followup_action"
"""Stands in the place of a policy when the action was given."""


class Policies:
    """The policies of a bot, in the order of its configuration, each with the table that it has learned."""

    def __init__(
        self, domain: Domain, configs: Sequence[PolicyConfig], tables: Sequence[RuleTable | StoryTable]
    ) -> None:
        self._domain = domain
        self._order = {name: index for index, name in enumerate(domain.action_names)}
        self._policies = _policies(configs, tables)

    def predict(self, situation: Situation) -> Prediction:
        """Return what the bot does next: a followup action that the domain knows, else what the policies say."""
        followup = situation.tracker.followup_action
        if isinstance(followup, str) and followup in self._order:
            return self._predicted({followup: 1.0}, policy=FOLLOWUP_POLICY)
        return self._decided(situation)

    def _decided(self, situation: Situation) -> Prediction:
        past = history(situation, self._domain)
        rejected = _rejected(situation.events)
        opinions = [_without(rejected, policy.opinion(past)) for policy in self._policies]
        best = decisive(opinions)
        return self._predicted(
            best.scores,
            policy=best.policy,
            hides_rule_turn=best.hides_rule_turn,
            interrupts_loop=any(opinion.interrupts_loop for opinion in opinions),
            uses_text=best.uses_text if past.listened else None,
        )

    def _predicted(
        self,
        scores: dict[str, float],
        *,
        policy: str,
        hides_rule_turn: bool = False,
        interrupts_loop: bool = False,
        uses_text: bool | None = None,
    ) -> Prediction:
        action = self._greatest(scores)
        return Prediction(
            action=action,
            policy=policy,
            confidence=scores.get(action, 0.0),
            is_text=action in self._domain.texts,
            hides_rule_turn=hides_rule_turn,
            interrupts_loop=interrupts_loop,
            uses_text=uses_text,
            scores=self._in_order(scores),
        )

    def _greatest(self, scores: dict[str, float]) -> str:
        """The action with the greatest score, the domain's first of equal ones: without any score it is to listen."""
        return min(scores.keys() | {ACTION_LISTEN}, key=lambda name: (-scores.get(name, 0.0), self._order[name]))

    def _in_order(self, scores: dict[str, float]) -> tuple[float, ...]:
        result = [0.0] * len(self._order)
        for name, score in scores.items():
            result[self._order[name]] = score
        return tuple(result)


def decisive(opinions: Sequence[Opinion]) -> Opinion:
    """Return the opinion that decides: the surest, then that of the greatest priority, then the first.

    Opinions that hold whatever the user says leave no others standing, and those by the message's text none by its
    intent.
    """
    regardless = [opinion for opinion in opinions if opinion.ignores_user]
    by_text = [opinion for opinion in opinions if opinion.uses_text]
    return max(regardless or by_text or opinions, key=_weight)


def _weight(opinion: Opinion) -> tuple[float, int]:
    return max(opinion.scores.values(), default=0.0), opinion.priority


def _rejected(events: Sequence[Event]) -> str | None:
    """The action that refused to run, when nothing has been done since."""
    tried = (event for event in reversed(events) if isinstance(event, ActionExecuted | ActionExecutionRejected))
    last = next(tried, None)
    return last.name if isinstance(last, ActionExecutionRejected) and isinstance(last.name, str) else None


def _without(rejected: str | None, opinion: Opinion) -> Opinion:
    if rejected not in opinion.scores:
        return opinion
    return replace(opinion, scores={**opinion.scores, rejected: 0.0})


def _policies(configs: Sequence[PolicyConfig], tables: Sequence[RuleTable | StoryTable]) -> list[Policy]:
    rule_only = _rule_only(tables)
    return [_policy(config, table, rule_only) for config, table in zip(configs, tables, strict=True)]


def _policy(config: PolicyConfig, table: RuleTable | StoryTable, rule_only: RuleOnly) -> Policy:
    if isinstance(config, RulesConfig) and isinstance(table, RuleTable):
        return RulePolicy(config, table)
    if isinstance(config, MemoizationConfig) and isinstance(table, StoryTable):
        return MemoizationPolicy(config, table, rule_only)
    raise TypeError(f"{config.name} has not learned a {type(table).__name__}")


def _rule_only(tables: Sequence[RuleTable | StoryTable]) -> RuleOnly:
    rules = [table for table in tables if isinstance(table, RuleTable)]
    return RuleOnly(
        slots=frozenset(name for table in rules for name in table.rule_only_slots),
        loops=frozenset(name for table in rules for name in table.rule_only_loops),
    )
