"""What is wrong with the slots of a domain file and with their mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from dialogue.domain import SESSION_METADATA_SLOT
from dialogue.shapes import ANY, FLAG, LIST, NAMES, NUMBER, TEXT, Shape, check_keys, kind
from dialogue.slots import SLOT_TYPES, MappingType

if TYPE_CHECKING:
    from dialogue.domain_checks import Names
    from dialogue.source import Findings
    from dialogue.yaml12 import Path

TWO_STAGE_FALLBACK: Final = "action_two_stage_fallback"

_SLOT: Final[dict[str, Shape]] = {
    "type": ANY,
    "initial_value": ANY,
    "value_reset_delay": ANY,
    "influence_conversation": FLAG,
    "mappings": ANY,
}
_OF_TYPE: Final[dict[str, dict[str, Shape]]] = {
    "categorical": {"values": LIST},
    "float": {"min_value": NUMBER, "max_value": NUMBER, "initial_value": NUMBER},
}
_MAPPING: Final = {
    "intent": NAMES,
    "not_intent": NAMES,
    "entity": TEXT,
    "role": TEXT,
    "group": TEXT,
    "action": TEXT,
    "conditions": LIST,
}
_CONDITION: Final = {"active_loop": TEXT, "requested_slot": TEXT}
_NEEDED: Final = {"from_entity": "entity", "from_intent": "value", "from_trigger_intent": "value"}
_AUTO_FILL: Final = "is no more: delete it, and let a mapping '- type: from_entity' fill the slot"


def check_slots(section: str, value: dict[str, Any], names: Names) -> Findings:
    """Find what is wrong in `slots`."""
    for name, slot in value.items():
        if not isinstance(slot, dict):
            yield (section, name), f"the slot {name!r} must be a mapping, not {kind(slot)}"
        elif name == SESSION_METADATA_SLOT:
            yield (section, name), f"every bot has the slot {name!r} already; give this one another name"
        else:
            yield from _check_type((section, name), slot, f"the slot {name!r}")
            yield from _check_mappings((section, name), slot, f"the slot {name!r}", names)


def _check_type(path: Path, slot: dict[str, Any], what: str) -> Findings:
    type_ = slot.get("type")
    if type_ in SLOT_TYPES:
        yield from _check_settings(path, slot, what)
    elif type_ == "unfeaturized":
        reason = "is no more; use 'any', or another type with 'influence_conversation: false'"
        yield (*path, "type"), f"{what} has the type 'unfeaturized', which {reason}"
    elif not (isinstance(type_, str) and "." in type_):
        at = (*path, "type") if "type" in slot else path
        yield at, f"{what} has the type {type_!r}; types are {', '.join(SLOT_TYPES)}, or a class's path"


def _check_settings(path: Path, slot: dict[str, Any], what: str) -> Findings:
    type_ = slot["type"]
    if "auto_fill" in slot:
        yield (*path, "auto_fill"), f"{what}: 'auto_fill' {_AUTO_FILL}"
    settings = {key: value for key, value in slot.items() if key != "auto_fill"}
    yield from check_keys(path, settings, _SLOT | _OF_TYPE.get(type_, {}), f"{what} of type {type_}")
    if type_ == "any" and slot.get("influence_conversation"):
        reason = "a slot of type any can't influence the conversation; leave it out, or choose another type"
        yield (*path, "influence_conversation"), f"{what}: {reason}"
    if type_ == "float":
        yield from _check_range(path, slot, what)


def _check_range(path: Path, slot: dict[str, Any], what: str) -> Findings:
    low, high = _number(slot.get("min_value"), 0.0), _number(slot.get("max_value"), 1.0)
    if low >= high:
        at = "min_value" if "min_value" in slot else "max_value"
        yield (*path, at), f"{what}: min_value {low} must be less than max_value {high}"


def _number(value: Any, default: float) -> float:
    return value if NUMBER.fits(value) else default


def _check_mappings(path: Path, slot: dict[str, Any], what: str, names: Names) -> Findings:
    mappings = slot.get("mappings")
    if not isinstance(mappings, list) or not mappings:
        at = (*path, "mappings") if "mappings" in slot else path
        yield at, f"{what} needs a list of mappings; '- type: custom' leaves it to actions"
        return
    for index, mapping in enumerate(mappings):
        at = (*path, "mappings", index)
        if isinstance(mapping, dict):
            yield from _check_mapping(at, mapping, f"{what}, mapping {index + 1}", names)
        else:
            yield at, f"{what}, mapping {index + 1}: must be a mapping with a 'type', not {kind(mapping)}"


def _check_mapping(path: Path, mapping: dict[str, Any], what: str, names: Names) -> Findings:
    type_ = mapping.get("type")
    if type_ not in get_args(MappingType):
        at = (*path, "type") if "type" in mapping else path
        yield at, f"{what}: has the type {type_!r}; types are {', '.join(get_args(MappingType))}"
    elif type_ in _NEEDED and mapping.get(_NEEDED[type_]) is None:
        yield path, f"{what}: a mapping of type {type_} needs the key '{_NEEDED[type_]}'"
    yield from check_keys(path, mapping, _MAPPING, what, closed=False)
    if isinstance(mapping.get("conditions"), list):
        yield from _check_conditions((*path, "conditions"), mapping["conditions"], what, names)


def _check_conditions(path: Path, conditions: list[Any], what: str, names: Names) -> Findings:
    for index, condition in enumerate(conditions):
        at = (*path, index)
        if not isinstance(condition, dict):
            yield at, f"{what}: a condition must be a mapping with 'active_loop', not {kind(condition)}"
            continue
        yield from check_keys(at, condition, _CONDITION, f"{what}: a condition")
        loop = condition.get("active_loop")
        if isinstance(loop, str) and loop not in names.forms and loop != TWO_STAGE_FALLBACK:
            yield (*at, "active_loop"), f"{what}: a condition names {loop!r}, which is none of the forms"
