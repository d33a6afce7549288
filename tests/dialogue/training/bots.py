"""Training from texts, and from the files of recorded bots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dialogue import InvalidDomain, load_yaml, parse_domain
from dialogue.policies.configuration import parse_policies
from dialogue.policies.training import Trained, train
from dialogue.training.expansion import expand
from dialogue.training.files import InvalidTraining, read_files
from dialogue.training.stories import Stories, read_stories
from tests.dialogue.data import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from dialogue import Domain
    from dialogue.policies.configuration import PolicyConfig
    from dialogue.training.expansion import Course

BOTS = sorted(folder.name for folder in (DATA / "bots").iterdir())
LEARNED = [name for name in BOTS if not name.startswith("err_")]

DOMAIN = """
intents: [a, b, c, d]
entities: [city, {place: {roles: [from, to]}}]
slots:
  city: {type: text, mappings: [{type: from_entity, entity: city}]}
  towns: {type: list, mappings: [{type: from_entity, entity: place, role: to}]}
  vip: {type: bool, mappings: [{type: custom}]}
  note: {type: any, mappings: [{type: custom}]}
  level: {type: categorical, values: [low, high], initial_value: low, mappings: [{type: custom}]}
forms: {f: {required_slots: [city]}}
actions: [action_x]
responses: {utter_a: [{text: a}], utter_b: [{text: b}], utter_c: [{text: c}], utter_d: [{text: d}]}
"""
RULES = {"name": "RulePolicy"}
STORIES = {"name": "MemoizationPolicy"}


def domain(text: str = DOMAIN) -> Domain:
    return parse_domain([("domain.yml", text)])


def stories(text: str) -> Stories:
    """The stories of a file data.yml."""
    files = read_files([("data.yml", text)])
    assert not files.faults
    return read_stories(files.sources)


def courses(text: str) -> tuple[Course, ...]:
    return expand(stories(text).stories, domain()).courses


def policies(*items: dict[str, Any]) -> tuple[PolicyConfig, ...]:
    return parse_policies({"policies": list(items)})


def trained(text: str, *items: dict[str, Any]) -> Trained:
    return train(domain(), stories(text), policies(*items or (STORIES, RULES)))


def faults(text: str, *items: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidTraining) as caught:
        trained(text, *items)
    return [str(fault) for fault in caught.value.faults]


def train_bot(name: str) -> tuple[Trained, tuple[PolicyConfig, ...]]:
    """Train a recorded bot, as it is run."""
    folder = DATA / "bots" / name
    configs = parse_policies(load_yaml((folder / "config.yml").read_text(), "config.yml"))
    files = read_files(_texts(folder, folder / "data"))
    assert not files.faults
    return train(parse_domain(_texts(folder, *_domain(folder))), read_stories(files.sources), configs), configs


def fault_of_bot(name: str) -> list[tuple[str, int, str]]:
    try:
        train_bot(name)
    except (InvalidTraining, InvalidDomain) as error:
        return [(fault.file, fault.line, fault.reason) for fault in error.faults]
    raise AssertionError(f"{name} has no faults")


def recorded(name: str, file: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / "bots" / name / file).read_text())
    return document


def _domain(folder: Path) -> list[Path]:
    return [path for path in (folder / "domain.yml", folder / "domain") if path.exists()]


def _texts(folder: Path, *paths: Path) -> list[tuple[str, str]]:
    """The YAML files at these paths and below, in the order of their names."""
    below = [file for path in paths for file in sorted(path.rglob("*")) if file.suffix in (".yml", ".yaml")]
    found = [path for path in paths if path.is_file()] + below
    return [(str(file.relative_to(folder)), file.read_text()) for file in found]
