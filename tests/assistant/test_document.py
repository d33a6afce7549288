"""A project in one document: what of it is trained, and that no document breaks the training."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.document import project_in, train_document
from assistant.project import InvalidModel
from assistant.training import train
from dialogue import InvalidYaml, load_yaml
from dialogue.training.files import InvalidTraining

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path as File

Path = tuple[Any, ...]

PROJECT: Final = """\
version: "3.1"
recipe: default.v1
assistant_id: one
pipeline:
- name: WhitespaceTokenizer
- name: KeywordIntentClassifier
- name: RegexEntityExtractor
- name: FallbackClassifier
  threshold: 0.3
policies:
- name: RulePolicy
- name: MemoizationPolicy
  max_history: 3
intents: [greet, ask, {bye: {use_entities: []}}]
entities: [city, {street: {roles: [home]}}]
slots:
  city: {type: text, mappings: [{type: from_entity, entity: city}]}
responses:
  utter_greet: [{text: hello}]
  utter_bye:
  - condition: [{type: slot, name: city, value: Rome}]
    text: ciao
  - text: bye
forms:
  place: {required_slots: [city]}
actions: [action_map]
session_config: {session_expiration_time: 30}
nlu:
- intent: greet
  examples: |
    - hi
    - good day from [Rome](city)
- lookup: city
  examples: |
    - Rome
rules:
- rule: greet
  condition: [{active_loop: null}]
  steps: [{intent: greet}, {action: utter_greet}]
stories:
- story: bye
  steps:
  - or: [{intent: bye}, {intent: ask, entities: [{city: Rome}]}]
  - slot_was_set: [{city: Rome}]
  - action: utter_bye
"""
_VALUE: Final = load_yaml(PROJECT, "project")


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


_ODD: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [None, 0, -1, 0.5, True, "", "x", "utter_greet", "greet", [], {}, [[]], [None], ["x", 1], {"a": None}, {"name": []}]
)
_PLACES: Final = st.sampled_from([*_paths(_VALUE)])


def _with(changes: list[tuple[Path, Any]]) -> bytes:
    """The project with other values in some places, as far as these are still there."""
    value = deepcopy(_VALUE)
    for path, new in changes:
        if path in _paths(value):
            holder = value
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = new
    return json.dumps(value).encode()


def test_all_sections_are_read(tmp_path: File) -> None:
    (tmp_path / "body").write_text(PROJECT)
    trained = train_document(tmp_path / "body", understands_elsewhere=False)
    model = trained.model
    assert (model.assistant_id, model.domain.session_expiration_minutes) == ("one", 30)
    assert model.dialogue is not None
    assert len(model.dialogue.configs) == 2
    assert len(model.nlu.components) == 4
    assert [str(warning) for warning in trained.warnings if "no section" in warning.reason] == []


def test_the_pipeline_is_not_looked_at_where_another_server_understands(tmp_path: File) -> None:
    (tmp_path / "body").write_text(PROJECT.replace("WhitespaceTokenizer", "SpacyTokenizer"))
    assert train_document(tmp_path / "body", understands_elsewhere=True).model.nlu.components == ()


def test_the_place_of_a_byte_that_is_no_utf8_is_told() -> None:
    with pytest.raises(InvalidYaml, match="body:2: the byte 0xFF is not UTF-8"):
        project_in(b"nlu:\n- \xff")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(_PLACES, _ODD), min_size=1, max_size=3))
def test_every_document_has_a_model_or_faults(changes: list[tuple[Path, Any]]) -> None:
    with suppress(InvalidTraining, InvalidModel):
        train(project_in(_with(changes)))
