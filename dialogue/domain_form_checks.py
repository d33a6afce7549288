"""What is wrong with the forms of a domain file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.domain import DEFAULT_ACTIONS
from dialogue.shapes import ANY, LIST, MAPPING, NAMES, check_keys, kind

if TYPE_CHECKING:
    from dialogue.domain_checks import Names
    from dialogue.source import Findings
    from dialogue.yaml12 import Path

_FORM: Final = {"required_slots": ANY, "ignored_intents": NAMES}
_MOVE: Final = "move its mappings to the slot under 'slots', where they are since Rasa 3"


def check_forms(section: str, value: dict[str, Any], names: Names) -> Findings:
    """Find what is wrong in `forms`; a form without anything asks for nothing."""
    for name, form in value.items():
        path, what = (section, name), f"the form {name!r}"
        if name in DEFAULT_ACTIONS or name in names.responses:
            yield path, f"{what} has the name of a {'response' if name in names.responses else 'default action'}"
        if isinstance(form, dict):
            yield from _check_form(path, form, what, names)
        elif form is not None:
            yield path, f"{what} must be a mapping with a list 'required_slots', not {kind(form)}"


def _check_form(path: Path, form: dict[str, Any], what: str, names: Names) -> Findings:
    old = [key for key, value in form.items() if key not in _FORM and isinstance(value, list)]
    for slot in old:
        yield (*path, slot), f"{what}: name the slot {slot!r} under 'required_slots', and {_MOVE}"
    yield from check_keys(path, {key: value for key, value in form.items() if key not in old}, _FORM, what)
    if "required_slots" in form:
        yield from _check_required((*path, "required_slots"), form["required_slots"], what, names)
    elif "ignored_intents" in form:
        yield path, f"{what} has 'ignored_intents', so it needs a list 'required_slots' too"


def _check_required(path: Path, slots: Any, what: str, names: Names) -> Findings:
    if MAPPING.fits(slots) and slots:
        yield path, f"{what}: required_slots must be a list of slots' names; {_MOVE}"
    elif not LIST.fits(slots) and slots != {}:
        yield path, f"{what}: required_slots must be a list of slots, not {kind(slots)}"
    else:
        for index, slot in enumerate(slots):
            if not isinstance(slot, str) or slot not in names.slots:
                yield (*path, index), f"{what} asks for {kind(slot)}, which is none of the slots"
