"""What is wrong with a domain file: every fault of it, each with the path to where it stands."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from dialogue.domain_form_checks import check_forms
from dialogue.domain_response_checks import check_responses
from dialogue.domain_slot_checks import check_slots
from dialogue.shapes import FLAG, LIST, MAPPING, NUMBER, Shape, check_keys, kind, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dialogue.source import Findings, Source
    from dialogue.yaml12 import Path

NEWEST_VERSION: Final = (3, 1)
_VERSION: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})*")


class Names(Struct, frozen=True):
    """What all files of the domain together declare."""

    slots: frozenset[str]
    forms: frozenset[str]
    responses: frozenset[str]


def declared(sources: Sequence[Source]) -> Names:
    """Return the names in sections that have the right shape."""
    documents = [source.value for source in sources if isinstance(source.value, dict)]
    return Names(*(_keys(documents, section) for section in Names.__struct_fields__))


def _keys(documents: list[dict[str, Any]], section: str) -> frozenset[str]:
    written = (document.get(section) for document in documents)
    return frozenset(name for names in written if isinstance(names, dict) for name in names)


def check(document: Any, names: Names) -> Findings:
    """Find what is wrong in the value of one file."""
    if document is None:
        return
    if not isinstance(document, dict):
        yield (), f"a domain is a mapping of sections, not {kind(document)}"
        return
    yield from _unwritable(document, ())
    yield from _check_version(document)
    if document.get("templates"):
        yield ("templates",), "'templates' is of Rasa 1: rename it to 'responses'; each name holds a list of variations"
    for section, (shape, check_section) in SECTIONS.items():
        value = document.get(section)
        if value is None:
            continue
        if not shape.fits(value):
            yield (section,), f"{section} must be {shape.name}, not {kind(value)}"
        else:
            yield from check_section(section, value, names)


def _unwritable(value: Any, path: Path) -> Findings:
    """What JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"{value} is not a finite number"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unwritable(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield (*path, key), f"the key {key!r} is not text; put it in quotes"
            yield from _unwritable(item, (*path, key))


def _check_version(document: dict[str, Any]) -> Findings:
    version = document.get("version")
    if version is None:
        return
    if not isinstance(version, str):
        yield ("version",), f'version must be text, not {kind(version)}; put it in quotes: version: "3.1"'
    elif not _VERSION.fullmatch(version):
        yield ("version",), f'version {version!r} is none; the newest is "3.1"'
    elif version_numbers(version) > NEWEST_VERSION:
        yield ("version",), f'version "{version}" is newer than "3.1", the newest that is understood'


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare; `3.1.0` is `3.1`."""
    numbers = tuple(map(int, version.split(".")))
    while len(numbers) > len(NEWEST_VERSION) and not numbers[-1]:
        numbers = numbers[:-1]
    return numbers


def _check_names(section: str, value: list[Any], names: Names) -> Findings:
    seen = set()
    for index, item in enumerate(value):
        name = name_of(item)
        if name is None:
            yield (section, index), f"{repr(item)[:100]} is neither a name nor a mapping from one name to its settings"
        elif name in seen:
            yield (section, index), f"{name!r} comes twice in {section}"
        elif isinstance(item, dict):
            yield from _check_named((section, index, name), name, item[name])
        seen.add(name)


def _check_named(path: Path, name: str, settings: Any) -> Findings:
    section = str(path[0])
    shapes = _SETTINGS[section]
    what = f"{section}: {name!r}"
    if not isinstance(settings, dict):
        yield path, f"{what} must have a mapping of settings, not {kind(settings)}; without settings leave the ':' out"
    elif not settings and section != "actions":
        yield path, f"{what} has no settings; leave the ':' out"
    else:
        yield from check_keys(path, settings, shapes, what, closed=section == "actions")
        if section == "intents" and "triggers" in settings:
            reason = "is no more; write a rule that begins with the intent"
            yield (*path, "triggers"), f"{what}: 'triggers' {reason}"


def _are_names_or_flag(value: Any) -> bool:
    return isinstance(value, bool) or _are_names(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _are_labels(value: Any) -> bool:
    """Numbers are fine as names of roles and groups: many number them."""
    return isinstance(value, list) and all(isinstance(item, str | int) for item in value)


_LABELS: Final = Shape("a list of names", _are_labels)
_SETTINGS: Final[dict[str, dict[str, Shape]]] = {
    "intents": {
        "use_entities": Shape("true, false or a list of entities", _are_names_or_flag),
        "ignore_entities": Shape("a list of entities", _are_names),
    },
    "entities": {"roles": _LABELS, "groups": _LABELS, "influence_conversation": FLAG},
    "actions": {"send_domain": FLAG},
}


def _check_texts(section: str, value: list[Any], names: Names) -> Findings:
    for index, item in enumerate(value):
        if not isinstance(item, str):
            yield (section, index), f"{section} are texts, not {kind(item)}"


def _check_session(section: str, value: dict[str, Any], names: Names) -> Findings:
    minutes = value.get("session_expiration_time")
    if minutes is not None and (not NUMBER.fits(minutes) or minutes < 0):
        yield (section, "session_expiration_time"), f"session_expiration_time must be minutes, not {kind(minutes)}"
    carry_over = value.get("carry_over_slots_to_new_session", True)
    if not isinstance(carry_over, bool):
        path = (section, "carry_over_slots_to_new_session")
        yield path, f"carry_over_slots_to_new_session must be true or false, not {kind(carry_over)}"


def _check_config(section: str, value: dict[str, Any], names: Names) -> Findings:
    yield from check_keys((section,), value, {"store_entities_as_slots": FLAG}, section, closed=False)


SECTIONS: Final[dict[str, tuple[Shape, Callable[[str, Any, Names], Findings]]]] = {
    "intents": (LIST, _check_names),
    "entities": (LIST, _check_names),
    "slots": (MAPPING, check_slots),
    "responses": (MAPPING, check_responses),
    "actions": (LIST, _check_names),
    "forms": (MAPPING, check_forms),
    "e2e_actions": (LIST, _check_texts),
    "session_config": (MAPPING, _check_session),
    "config": (MAPPING, _check_config),
}
