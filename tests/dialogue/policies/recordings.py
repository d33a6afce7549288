"""Recorded bots, and every prediction that was recorded of them, with the events that led to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dialogue import (
    ActionExecuted,
    ActionExecutionRejected,
    Event,
    LoopInterrupted,
    UserFeaturization,
    UserUttered,
    fold,
    from_wire,
    initial,
    load_yaml,
    parse_domain,
)
from dialogue.policies.configuration import RulesConfig, parse_policies
from dialogue.policies.ensemble import Policies
from dialogue.policies.learning import RuleTable, StoryTable
from dialogue.policies.prediction import Situation
from tests.dialogue.data import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dialogue import Domain
    from dialogue.policies.configuration import PolicyConfig
    from dialogue.policies.prediction import Prediction

BOTS = sorted(
    file.parent.name for file in (DATA / "bots").glob("*/lookup.json") if not file.parent.name.startswith("err_")
)


class Recorded(Struct, frozen=True):
    """A prediction: the events before it, and what was recorded of it."""

    before: tuple[Event, ...]
    facts: dict[str, Any]


class Bot:
    """A bot with the tables that it has learned."""

    def __init__(self, name: str) -> None:
        folder = DATA / "bots" / name
        configs = parse_policies(load_yaml((folder / "config.yml").read_text(), "config.yml"))
        self.tables = _tables(configs, json.loads((folder / "lookup.json").read_text()))
        self.domain = _with_texts(parse_domain(_domain_files(folder)), self.tables)
        self.policies = Policies(self.domain, configs, self.tables)
        self.dialogues = json.loads((folder / "transcript.json").read_text())["dialogues"]

    def predict(self, events: Sequence[Event]) -> Prediction:
        tracker = fold(initial(self.domain), events, self.domain, [])
        return self.policies.predict(Situation(tracker, events))

    def predictions(self) -> Iterator[Recorded]:
        for steps in self.dialogues:
            yield from _predictions(steps)

    def shown(self, prediction: Prediction) -> list[list[Any]]:
        """The greatest scores as they were recorded."""
        scores = zip(prediction.scores, self.domain.action_names, strict=True)
        greatest = sorted((-score, name) for score, name in scores if score)[:5]
        return [[name, -score] for score, name in greatest]


def facts(prediction: Prediction) -> dict[str, Any]:
    """What events tell of a prediction."""
    return {
        "name": prediction.action,
        "policy": prediction.policy,
        "confidence": round(prediction.confidence, 4),
        "hides": prediction.hides_rule_turn,
        "interrupts": prediction.interrupts_loop,
        "uses_text": prediction.uses_text,
    }


def _predictions(steps: list[dict[str, Any]]) -> Iterator[Recorded]:
    events: list[Event] = []
    for step in steps:
        if "predict" in step:
            yield Recorded(tuple(events), step["predict"])
        predicts = "execute" not in step["send"] and "events" not in step["send"]
        for event in map(_event, step.get("events", ())):
            if predicts and isinstance(event, ActionExecuted | ActionExecutionRejected) and event.policy:
                yield _recorded(events, event)
            events.append(event)


def _recorded(events: Sequence[Event], event: ActionExecuted | ActionExecutionRejected) -> Recorded:
    length = len(events)
    while isinstance(events[length - 1], UserFeaturization | LoopInterrupted):
        length -= 1
    with_it = events[length:]
    found = {"policy": event.policy, "confidence": event.confidence}
    if isinstance(event, ActionExecutionRejected):
        return Recorded(tuple(events[:length]), {"name": event.name, **found})
    texts = [item.use_text_for_featurization for item in with_it if isinstance(item, UserFeaturization)]
    found |= {
        "name": event.name or event.action_text,
        "hides": event.hide_rule_turn,
        "interrupts": any(isinstance(item, LoopInterrupted) for item in with_it),
        "uses_text": texts[0] if texts else None,
    }
    return Recorded(tuple(events[:length]), found)


def _event(wire: dict[str, Any]) -> Event:
    if wire["event"] != "user":
        return from_wire(wire, now=1.0)
    text = wire.get("text")
    parse_data = {"text": text, "intent": wire.get("intent") or {}, "entities": wire.get("entities") or []}
    return UserUttered(timestamp=1.0, metadata={}, text=text, parse_data=parse_data)


def _domain_files(folder: Path) -> list[tuple[str, str]]:
    files = [folder / "domain.yml"] if (folder / "domain.yml").exists() else sorted((folder / "domain").rglob("*.yml"))
    return [(str(file.relative_to(folder)), file.read_text()) for file in files]


def _tables(configs: Sequence[PolicyConfig], lookup: dict[str, Any]) -> list[RuleTable | StoryTable]:
    return [
        _rule_table(lookup["RulePolicy"])
        if isinstance(config, RulesConfig)
        else StoryTable(lookup[f"{config.name}{index}"])
        for index, config in enumerate(configs)
    ]


def _rule_table(found: dict[str, Any]) -> RuleTable:
    return RuleTable(
        rules=found["rules"],
        rule_only_slots=tuple(found["rule_only_slots"]),
        rule_only_loops=tuple(found["rule_only_loops"]),
        unhappy=found["rules_for_loop_unhappy_path"],
        rules_not_in_stories=tuple(found["rules_not_in_stories"]),
    )


def _with_texts(domain: Domain, tables: Sequence[RuleTable | StoryTable]) -> Domain:
    """The domain with what the bot says word for word: only stories tell that."""
    stories = [table for table in tables if isinstance(table, StoryTable)]
    actions = {action for table in stories for action in table.lookup.values()}
    return domain.with_texts(sorted(actions - set(domain.action_names)))
