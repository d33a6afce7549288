"""Training: from a bot's domain, stories, rules and policies to what the policies know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dialogue.domain import Domain
from dialogue.policies.checks import (
    incomplete_rules,
    long_rules,
    policy_faults,
    policy_warnings,
    stranding_rules,
    unknown_actions,
    unknown_intents,
    unknown_loops,
)
from dialogue.policies.configuration import MemoizationConfig, PolicyConfig, RulesConfig
from dialogue.policies.learning import RuleTable, StoryTable
from dialogue.policies.lessons import Teacher, distinct
from dialogue.policies.rehearsal import rehearse
from dialogue.policies.rule_training import learn_rules
from dialogue.policies.story_training import learn_stories
from dialogue.source import Fault
from dialogue.training.expansion import expand
from dialogue.training.files import InvalidTraining
from dialogue.training.stories import ActionStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.training.expansion import Course
    from dialogue.training.stories import Stories, Story


class Trained(Struct, frozen=True):
    """What a bot has learned.

    Attributes:
        domain: the bot's, with what it says word for word in stories.
        tables: for each policy what it knows, in their order.
        warnings: of the stories, the rules and the policies; all that may not be meant so.
    """

    domain: Domain
    tables: tuple[RuleTable | StoryTable, ...]
    warnings: tuple[Fault, ...]


def train(
    domain: Domain, stories: Stories, configs: Sequence[PolicyConfig], config_file: str = "config.yml"
) -> Trained:
    """Return what these policies learn; `config_file` is where they were written.

    Raises InvalidTraining with every fault of the first kind that is found: names and policies that don't fit, then
    rules that can't be learned, then rules and stories that contradict each other.
    """
    domain = domain.with_texts(_texts(stories.stories))
    faults = [Fault(config_file, 1, reason) for reason in policy_faults(configs, domain)]
    _refuse([*unknown_actions(stories.stories, domain), *faults])
    expansion = expand(stories.stories, domain)
    school = _School(expansion.courses, domain)
    tables = tuple(school.table(config) for config in configs)
    _refuse(school.faults)
    warnings = (
        *stories.warnings,
        *unknown_intents(stories.stories, domain),
        *unknown_loops(stories.stories, domain),
        *expansion.warnings,
        *stranding_rules(school.rules, school.stories),
        *(Fault(config_file, 1, reason) for reason in policy_warnings(configs, stories.stories)),
    )
    return Trained(domain, tables, warnings)


def _texts(stories: Iterable[Story]) -> Iterator[str]:
    for story in stories:
        for step in story.steps:
            if isinstance(step, ActionStep) and step.text is not None:
                yield step.text


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidTraining(list(dict.fromkeys(faults)))


class _School:
    """The lessons of a bot, and what its policies learn from them."""

    def __init__(self, courses: Sequence[Course], domain: Domain) -> None:
        teacher = Teacher(domain)
        self._domain = domain
        self.stories = distinct(teacher.lesson(course) for course in courses if not course.is_rule)
        self.rules = distinct(teacher.lesson(course, omits_unset=True) for course in courses if course.is_rule)
        self._full_rules = [teacher.lesson(lesson.course) for lesson in self.rules]
        self.faults: list[Fault] = []

    def table(self, config: PolicyConfig) -> RuleTable | StoryTable:
        """What a policy learns."""
        if isinstance(config, MemoizationConfig):
            return learn_stories(self.stories, config.max_history)
        table = learn_rules(self.rules, self.stories, compares=config.check_for_contradictions)
        faults = [*self._rule_faults(config)]
        if faults or not config.check_for_contradictions:
            self.faults += faults
            return table
        findings = rehearse(self._full_rules, self.stories, table, config, self._domain)
        self.faults += findings.faults
        return findings.table

    def _rule_faults(self, config: RulesConfig) -> Iterator[Fault]:
        if config.restrict_rules:
            yield from long_rules(self._full_rules)
        if config.check_for_contradictions:
            yield from incomplete_rules(self._full_rules, self._domain)
