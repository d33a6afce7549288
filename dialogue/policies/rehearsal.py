"""Rehearsals: rules and stories are played against what the rules have taught, to see whether these say the same."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dialogue.domain import RULE_EDGE
from dialogue.events import ActionExecuted, ActionExecutionRejected, SlotSet, UserUttered
from dialogue.policies.history import History, by_intent
from dialogue.policies.learning import DEFAULT_INTENT_SOURCE, LISTEN_IN_LOOP, LOOP_SOURCE, RuleTable
from dialogue.policies.lessons import in_rule, label
from dialogue.policies.rules import DEFAULT_ACTIONS, RulePolicy
from dialogue.policies.states import State, key
from dialogue.source import Fault
from dialogue.tracker import ACTION_LISTEN, evolve, initial
from dialogue.training.stories import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dialogue.domain import Domain
    from dialogue.events import Event
    from dialogue.policies.configuration import RulesConfig
    from dialogue.policies.lessons import Lesson
    from dialogue.policies.rules import Decision
    from dialogue.training.expansion import Beat


class Findings(Struct, frozen=True):
    """What rehearsals have shown: the table, now complete, and where rules and stories contradict each other."""

    table: RuleTable
    faults: tuple[Fault, ...]


def rehearse(
    rules: Sequence[Lesson], stories: Sequence[Lesson], table: RuleTable, config: RulesConfig, domain: Domain
) -> Findings:
    """Play all lessons against the rules. The lessons show all slots, initial values too."""
    stage = _Stage(table, config, domain)
    of_rules = [trial for lesson in rules for trial in stage.trials(lesson)]
    for trial in of_rules:
        stage.note(trial)
    faults = [fault for lesson in stories for trial in stage.trials(lesson) for fault in stage.story_faults(trial)]
    faults += [stage.contradiction(trial) for trial in of_rules if trial.predicted != trial.wanted]
    return Findings(replace(stage.table, rules_not_in_stories=stage.not_in_stories()), tuple(faults))


class _Past(History, frozen=True, kw_only=True):
    """A history whose states are known already."""

    known: tuple[State, ...]

    @cached_property
    def states(self) -> list[State]:
        return by_intent(list(self.known))

    @property
    def loop(self) -> str | None:
        # Asked for at every action: a search through all actions' names would take most of the time.
        name = self.tracker.active_loop.get("name")
        return name if name is None or name in self.domain.forms else super().loop


class _Trial(Struct, frozen=True, kw_only=True):
    """An action that a rule or story wants, and the one that the rules demand, by their `source`."""

    lesson: str
    is_rule: bool
    place: Place
    wanted: str
    predicted: str | None
    source: str


class _Stage:
    """The rules, and what is found out about them."""

    def __init__(self, table: RuleTable, config: RulesConfig, domain: Domain) -> None:
        self.table = table
        self._config = config
        self._domain = domain
        self._policy = RulePolicy(config, table)
        self._rules: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        self._in_stories: set[str] = set()

    def trials(self, lesson: Lesson) -> Iterator[_Trial]:
        """Play a lesson, and try every action of it that something tells of beforehand."""
        tracker = initial(self._domain)
        recent: list[Event] = []
        seen, is_told = 0, False
        for beat in lesson.course.beats:
            if isinstance(beat.event, ActionExecuted):
                seen += 1
                if is_told and not beat.is_given and label(beat) != RULE_EDGE:
                    past = _Past(self._domain, tracker, tuple(recent), known=lesson.states[:seen])
                    past, decision = self._decision(past, label(beat))
                    tracker = past.tracker
                    yield self._trial(lesson, beat, past, decision)
                is_told = label(beat) != RULE_EDGE
            if not isinstance(beat.event, SlotSet):
                tracker = evolve(tracker, beat.event, self._domain)
                recent = [beat.event] if isinstance(beat.event, UserUttered) else [*recent, beat.event]

    def _decision(self, past: _Past, wanted: str) -> tuple[_Past, Decision]:
        """What the rules demand; where that is the loop and something else happens, the loop has refused to run."""
        decision = self._policy.decision(past)
        if past.loop is None or decision.action != past.loop or decision.action == wanted:
            return past, decision
        rejection = ActionExecutionRejected(timestamp=0, metadata={}, name=past.loop)
        past = replace(past, tracker=evolve(past.tracker, rejection, self._domain))
        return past, self._policy.decision(past)

    def _trial(self, lesson: Lesson, beat: Beat, past: _Past, decision: Decision) -> _Trial:
        is_rule = lesson.course.is_rule
        return _Trial(
            lesson=lesson.course.name,
            is_rule=is_rule,
            place=beat.place,
            wanted=label(beat),
            predicted=self._fallback if is_rule and decision.action is None else decision.action,
            source=decision.source or key(in_rule(past.states)),
        )

    @property
    def _fallback(self) -> str:
        config = self._config
        return config.core_fallback_action_name if config.enable_fallback_prediction else self._domain.action_names[0]

    def note(self, trial: _Trial) -> None:
        """Remember which rule it was that a source stands for, and what the rule wants there."""
        assert trial.predicted is not None
        built_in = trial.source.startswith((DEFAULT_INTENT_SOURCE, LOOP_SOURCE))
        named = (trial.source, trial.predicted) if built_in else (trial.lesson, trial.wanted)
        self._rules[trial.source][named] = None

    def story_faults(self, trial: _Trial) -> list[Fault]:
        """A story says the same as the rules, or they say nothing, or it contradicts them."""
        if trial.predicted is None:
            return []
        if trial.predicted == trial.wanted:
            self._in_stories.add(trial.source)
            return []
        if self._is_beginning(trial):
            self._forget(trial.source)
            return []
        return [self.contradiction(trial)]

    def _is_beginning(self, trial: _Trial) -> bool:
        """Whether a rule only listens after its first action, where another rule goes on otherwise: stories may too."""
        rules = self.table.rules
        if trial.predicted != ACTION_LISTEN or trial.source not in rules or trial.source.count('"prev_action"') > 1:
            return False
        return any(rule.startswith(trial.source[:-1]) and rule != trial.source for rule in rules)

    def _forget(self, source: str) -> None:
        self.table = replace(self.table, rules={text: act for text, act in self.table.rules.items() if text != source})
        self._policy = RulePolicy(self._config, self.table)

    def contradiction(self, trial: _Trial) -> Fault:
        others = dict.fromkeys(name for name, wanted in self._rules[trial.source] if wanted != trial.wanted)
        demanded = "" if trial.predicted == self._fallback else f" which predicted action '{trial.predicted}'"
        reason = (
            f"the prediction of the action '{trial.wanted}' in {'rule' if trial.is_rule else 'story'} '{trial.lesson}' "
            f"is contradicting with rule(s) '{', '.join(others)}'{demanded}."
        )
        return Fault(trial.place.file, trial.place.line, reason)

    def not_in_stories(self) -> tuple[str, ...]:
        """What may decide, by rules or by what is built in, without any story doing the same."""
        loops = {f"{LOOP_SOURCE}{form}{end}" for form in self._domain.forms for end in ("", LISTEN_IN_LOOP)}
        intents = {f"{DEFAULT_INTENT_SOURCE}{intent}" for intent in DEFAULT_ACTIONS}
        return tuple(sorted((self._rules.keys() | loops | intents) - self._in_stories))
