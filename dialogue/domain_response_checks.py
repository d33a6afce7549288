"""What is wrong with the responses of a domain file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.shapes import ANY, LIST, MAPPING, TEXT, Shape, check_keys, check_mappings, kind

if TYPE_CHECKING:
    from dialogue.domain_checks import Names
    from dialogue.source import Findings
    from dialogue.yaml12 import Path

_VARIATION: Final = {
    "text": TEXT,
    "image": TEXT,
    "custom": MAPPING,
    "buttons": LIST,
    "button_type": TEXT,
    "quick_replies": LIST,
    "attachment": Shape("a mapping or text", lambda value: isinstance(value, dict | str)),
    "elements": LIST,
    "channel": TEXT,
    "metadata": ANY,
    "id": TEXT,
    "condition": LIST,
}
_BUTTON: Final = {"title": TEXT, "payload": TEXT}
_CONDITION: Final = {"type": TEXT, "name": TEXT, "value": ANY}
_LISTS: Final[dict[str, dict[str, Shape]]] = {"buttons": _BUTTON, "quick_replies": _BUTTON, "elements": {}}


def check_responses(section: str, value: dict[str, Any], names: Names) -> Findings:
    """Find what is wrong in `responses`."""
    ids: dict[str, str] = {}
    for name, variations in value.items():
        path, what = (section, name), f"the response {name!r}"
        if not isinstance(variations, list) or not variations:
            found = "an empty one" if variations == [] else kind(variations)
            yield path, f"{what} must be a list of variations, not {found}"
            continue
        for index, variation in enumerate(variations):
            yield from _check_variation((*path, index), variation, what)
            yield from _check_id((*path, index), variation, what, ids)


def _check_variation(path: Path, variation: Any, what: str) -> Findings:
    if not isinstance(variation, dict):
        yield path, f"{what}: a variation must be a mapping with 'text' or 'custom', not {kind(variation)}"
        return
    yield from check_keys(path, variation, _VARIATION, what)
    if variation.get("text") is None and variation.get("custom") is None:
        yield path, f"{what}: a variation needs 'text' or 'custom'; the text may be empty: \"\""
    for key, shapes in _LISTS.items():
        if isinstance(variation.get(key), list):
            yield from check_mappings((*path, key), variation[key], shapes, f"{what}: each of {key}", closed=False)
    if isinstance(variation.get("condition"), list):
        yield from _check_conditions((*path, "condition"), variation["condition"], what)


def _check_conditions(path: Path, conditions: list[Any], what: str) -> Findings:
    yield from check_mappings(path, conditions, _CONDITION, f"{what}: a condition", closed=True)
    for index, condition in enumerate(conditions):
        if isinstance(condition, dict) and not _is_whole(condition):
            yield (*path, index), f"{what}: a condition needs 'type: slot', the slot's 'name' and a 'value'"


def _is_whole(condition: dict[str, Any]) -> bool:
    return condition.get("type") == "slot" and condition.get("name") is not None and "value" in condition


def _check_id(path: Path, variation: Any, what: str, ids: dict[str, str]) -> Findings:
    id_ = variation.get("id") if isinstance(variation, dict) else None
    if not isinstance(id_, str) or not id_:
        return
    if id_ in ids:
        yield (*path, "id"), f"{what}: the id {id_!r} is that of {ids[id_]} already"
    ids.setdefault(id_, what)
