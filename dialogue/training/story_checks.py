"""What is wrong with stories and rules in a file: every fault, each with the path to where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.shapes import ANY, FLAG, LIST, TEXT, check_keys, kind
from dialogue.training.annotations import InvalidAnnotation, parse_annotated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dialogue.shapes import Shape
    from dialogue.source import Findings
    from dialogue.yaml12 import Path

TITLES: Final = {"stories": "story", "rules": "rule"}
"""By section, the key that names each of its items."""

_STORY_KEYS: Final[dict[str, Shape]] = {"story": TEXT, "steps": LIST, "metadata": ANY}
_RULE_KEYS: Final[dict[str, Shape]] = {
    "rule": TEXT,
    "steps": LIST,
    "condition": LIST,
    "conversation_start": FLAG,
    "wait_for_user_input": FLAG,
    "metadata": ANY,
}


def story_faults(document: dict[str, Any]) -> Findings:
    """Find what is wrong with the stories and rules in the value of a file."""
    for section, title in TITLES.items():
        items = document.get(section)
        if items is None:
            continue
        if not isinstance(items, list):
            yield (section,), f"{section} must be a list, not {kind(items)}"
            continue
        for index, item in enumerate(items):
            yield from _story_faults((section, index), item, title)


def _story_faults(path: Path, item: Any, title: str) -> Findings:
    if not isinstance(item, dict) or not item.get(title):
        yield path, f"a {title} is written '- {title}: its name' with its steps below, not {kind(item)}"
        return
    is_rule = title == "rule"
    yield from check_keys(path, item, _RULE_KEYS if is_rule else _STORY_KEYS, f"a {title}")
    kinds = _RULE_STEPS if is_rule else _STEPS
    yield from _steps_faults((*path, "steps"), item.get("steps"), kinds, f"a step of a {title}")
    yield from _steps_faults((*path, "condition"), item.get("condition"), _CONDITIONS, "a condition")


def _steps_faults(path: Path, steps: Any, kinds: Sequence[str], what: str) -> Findings:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        yield from _step_faults((*path, index), step, kinds, what)


def _step_faults(path: Path, step: Any, kinds: Sequence[str], what: str) -> Findings:
    if not isinstance(step, dict):
        yield path, f"{what} is a mapping such as '- {kinds[0]}: ...', not {kind(step)}"
        return
    named = kind_of(step)
    if named is None or named not in kinds:
        found = ", ".join(map(repr, step)) or "nothing"
        yield path, f"{what} is one of {', '.join(kinds)}; here is {found}"
        return
    for key in step:
        if key not in (named, *_BESIDE[named]):
            yield (*path, key), f"{key!r} can't stand beside {named!r} in one step"
    yield from _CHECKS[named](path, step)


def kind_of(step: dict[str, Any]) -> str | None:
    """Return the key that says what a step is; None when there is none."""
    return next((key for key in _STEPS if key in step), None)


_STEPS: Final = ("intent", "user", "action", "bot", "active_loop", "checkpoint", "slot_was_set", "or", "metadata")
_RULE_STEPS: Final = ("intent", "user", "action", "active_loop", "slot_was_set", "or", "metadata")
_CONDITIONS: Final = ("active_loop", "slot_was_set")
_CHOICES: Final = ("intent", "slot_was_set")
_BESIDE: Final[dict[str, tuple[str, ...]]] = {
    "intent": ("user", "entities", "metadata"),
    "user": ("entities", "metadata"),
    "action": ("metadata",),
    "bot": ("metadata",),
    "active_loop": ("metadata",),
    "checkpoint": ("slot_was_set", "metadata"),
    "slot_was_set": ("metadata",),
    "or": ("metadata",),
    "metadata": (),
}


def _user_faults(path: Path, step: dict[str, Any]) -> Findings:
    for key in ("intent", "user"):
        if key in step:
            yield from _text_faults(path, step, key)
    if isinstance(step.get("user"), str):
        yield from _annotation_faults((*path, "user"), step["user"])
    entities = step.get("entities")
    if not isinstance(entities, list | None):
        yield (*path, "entities"), f"entities must be a list, not {kind(entities)}"
        return
    for index, entity in enumerate(entities or ()):
        yield from _entity_faults((*path, "entities", index), entity)


def _annotation_faults(path: Path, text: str) -> Findings:
    try:
        parse_annotated(text)
    except InvalidAnnotation as error:
        yield path, str(error)


def _entity_faults(path: Path, entity: Any) -> Findings:
    names = [key for key in entity if key not in ("role", "group")] if isinstance(entity, dict) else [entity]
    if len(names) != 1 or not isinstance(names[0], str):
        yield path, f"an entity is its name, or its name with a value, maybe a role and a group; not {kind(entity)}"
    elif isinstance(entity, dict):
        for key in ("role", "group"):
            if not isinstance(entity.get(key), str | None):
                yield (*path, key), f"{key} must be text, not {kind(entity[key])}"


def _name_faults(path: Path, step: dict[str, Any]) -> Findings:
    yield from _text_faults(path, step, str(kind_of(step)))


def _text_faults(path: Path, step: dict[str, Any], key: str) -> Findings:
    value = step[key]
    if not isinstance(value, str) or not value.strip():
        yield (*path, key), f"{key} must be text, not {kind(value)}"


def _loop_faults(path: Path, step: dict[str, Any]) -> Findings:
    if step["active_loop"] is not None:
        yield from _text_faults(path, step, "active_loop")


def _checkpoint_faults(path: Path, step: dict[str, Any]) -> Findings:
    yield from _text_faults(path, step, "checkpoint")
    if "slot_was_set" not in step:
        return
    yield from _slots_faults(path, step)
    for index, slot in enumerate(step["slot_was_set"] if isinstance(step["slot_was_set"], list) else ()):
        if isinstance(slot, str):
            yield (*path, "slot_was_set", index), f"at a checkpoint the slot {slot!r} needs a value: '- {slot}: value'"


def _slots_faults(path: Path, step: dict[str, Any]) -> Findings:
    slots = step["slot_was_set"]
    path = (*path, "slot_was_set")
    if not isinstance(slots, list):
        yield path, f"slot_was_set must be a list such as '- name: value', not {kind(slots)}"
        return
    for index, slot in enumerate(slots):
        if not isinstance(slot, str | dict):
            yield (*path, index), f"a slot is its name, or its name with a value; not {kind(slot)}"


def _or_faults(path: Path, step: dict[str, Any]) -> Findings:
    choices = step["or"]
    if not isinstance(choices, list) or not choices:
        yield (*path, "or"), f"or must be a list of what may happen instead of each other, not {kind(choices)}"
        return
    yield from _steps_faults((*path, "or"), choices, _CHOICES, "what may happen in an or")


def _no_faults(path: Path, step: dict[str, Any]) -> Findings:
    return iter(())


_CHECKS: Final[dict[str, Callable[[Path, dict[str, Any]], Findings]]] = {
    "intent": _user_faults,
    "user": _user_faults,
    "action": _name_faults,
    "bot": _name_faults,
    "active_loop": _loop_faults,
    "checkpoint": _checkpoint_faults,
    "slot_was_set": _slots_faults,
    "or": _or_faults,
    "metadata": _no_faults,
}
