"""Domains as Rasa 0, 1 and 2 kept them in their archives, brought into the form of Rasa 3."""

from __future__ import annotations

import re
from typing import Any, Final

from dialogue.shapes import name_of

Json = dict[str, Any]

_SLOT_CLASS: Final = re.compile(r"rasa(?:_core|\.core|\.shared\.core)\.slots\.(?P<kind>\w+)Slot")
_TYPES: Final = {"boolean": "bool", "unfeaturized": "any"}
_LEFT_TO_ACTIONS: Final = ({"type": "custom"},)


def renewed(document: Any) -> Any:
    """Return a domain's document with slots, responses and forms as they are written since Rasa 3.

    What fills a slot from a message is not in an old domain: that is left to actions. Anything that is as it is today,
    or faulty, stays as it is.
    """
    if not isinstance(document, dict):
        return document
    new = _with_responses(document)
    for section, renew in (("slots", _slot), ("responses", _variations), ("forms", _form)):
        if isinstance(new.get(section), dict):
            new[section] = {name: renew(value) for name, value in new[section].items()}
    if isinstance(new.get("forms"), list):
        new["forms"] = {name: {} for name in map(name_of, new["forms"]) if name is not None}
    return new


def _with_responses(document: Json) -> Json:
    """Until Rasa 2 they were called templates."""
    old, responses = document.get("templates"), document.get("responses") or {}
    if not (isinstance(old, dict) and isinstance(responses, dict)):
        return dict(document)
    return {**{key: value for key, value in document.items() if key != "templates"}, "responses": old | responses}


def _slot(slot: Any) -> Any:
    if not isinstance(slot, dict) or "mappings" in slot:
        return slot
    kept = {key: value for key, value in slot.items() if key != "auto_fill"}
    return {**kept, "type": _slot_type(slot.get("type")), "mappings": list(_LEFT_TO_ACTIONS)}


def _slot_type(written: Any) -> Any:
    match = _SLOT_CLASS.fullmatch(written) if isinstance(written, str) else None
    kind = match["kind"].lower() if match else written
    return _TYPES.get(kind, kind) if isinstance(kind, str) else kind


def _variations(variations: Any) -> Any:
    if not isinstance(variations, list):
        return variations
    return [{"text": variation} if isinstance(variation, str) else variation for variation in variations]


def _form(form: Any) -> Any:
    """Since Rasa 3 a form lists its slots; before, it held their mappings, at first without `required_slots` above."""
    if not isinstance(form, dict):
        return form
    ignored = {key: value for key, value in form.items() if key == "ignored_intents"}
    slots = form.get("required_slots", {key: value for key, value in form.items() if key not in ignored})
    return {**ignored, "required_slots": list(slots) if isinstance(slots, dict) else slots}
