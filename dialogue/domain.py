"""The domain: what a bot knows of, read from YAML files.

The fold needs little of it (slots, their initial values, whether there are forms); the rest is kept as it was written,
because `GET /domain` shows it.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from dialogue.json import dumps
from dialogue.yaml12 import InvalidYaml, load_with_lines
from dialogue.yaml_text import Literal, block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dialogue.yaml12 import Path

REQUESTED_SLOT = "requested_slot"
SESSION_METADATA_SLOT = "session_started_metadata"
KNOWLEDGE_BASE_ACTION = "action_query_knowledge_base"
KNOWLEDGE_BASE_SLOTS = (
    "knowledge_base_listed_objects",
    "knowledge_base_last_object",
    "knowledge_base_last_object_type",
)
SLOT_TYPES = ("text", "bool", "categorical", "float", "list", "any")
FORMAT_VERSION = "3.1"


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong in a domain file; lines count from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class InvalidDomain(ValueError):
    """Domain files hold faults; the message lists each with its file and line, `faults` are the same as values."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class Slot(msgspec.Struct, frozen=True):
    """A slot's type (one of SLOT_TYPES, or the dotted path of a class) and the value it has when nothing was set."""

    type: str
    initial_value: Any = None

    def holds(self, value: Any) -> Any:
        """Return what the slot's value becomes when `value` is set: a list slot wraps what is something and no list."""
        return [value] if self.type == "list" and value and not isinstance(value, list) else value


class Domain(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A bot's domain. Everything in it is shared: treat it as frozen.

    `slots` are in the order of the state, with those that every bot has at the end. `document` is the domain as
    `GET /domain` shows it. With `open_slots` a slot comes to be when it is first set: so is the domain without a model.
    """

    slots: dict[str, Slot]
    intents: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    session_expiration_minutes: float = 60
    carry_over_slots: bool = True
    document: dict[str, Any]
    open_slots: bool = False

    @classmethod
    def empty(cls) -> Domain:
        """The domain that is used without a model."""
        return cls(slots={SESSION_METADATA_SLOT: Slot("any")}, document=_document({}), open_slots=True)

    @cached_property
    def initial_slots(self) -> dict[str, Any]:
        """Slot values of a new conversation, in the order of the state."""
        return {name: slot.holds(slot.initial_value) for name, slot in self.slots.items()}

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over what the fold depends on: equal when the same events give the same state."""
        facts = [self.open_slots, [[name, slot.type, slot.initial_value] for name, slot in self.slots.items()]]
        return hashlib.sha256(dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def text(self) -> str:
        """The document as YAML."""
        return block(_with_literals(self.document))


def parse_domain(texts: Sequence[tuple[str, str]]) -> Domain:
    """Return the domain that these files, (name, YAML text) each, make together.

    A section that stands in several files is merged: lists are joined without what is there already, of two equal names
    the first file's wins, the last session_config wins.

    Raises InvalidDomain with every fault of every file.
    """
    files, faults = [], []
    for name, text in texts:
        try:
            file = _File(name, *load_with_lines(text, name))
        except InvalidYaml as error:
            faults.append(Fault(error.name, error.line, error.reason))
            continue
        faults += file.faults()
        files.append(file)
    if faults:
        raise InvalidDomain(faults)
    return _domain(_merged([file.value or {} for file in files]))


class _File:
    """One parsed file, and where in it everything stands."""

    def __init__(self, name: str, value: Any, lines: dict[Path, int]) -> None:
        self.name = name
        self.value = value
        self.lines = lines

    def faults(self) -> list[Fault]:
        return [Fault(self.name, self.lines.get(path, 1), reason) for path, reason in self._reasons()]

    def _reasons(self) -> Iterator[tuple[Path, str]]:
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            yield (), f"a domain is a mapping of sections, not {_kind(self.value)}"
            return
        yield from _unwritable(self.value, ())
        for section, (kind, check) in _SECTIONS.items():
            value = self.value.get(section)
            if value is None:
                continue
            if not isinstance(value, kind):
                yield (section,), f"{section} must be {_NAMES[kind]}, not {_kind(value)}"
            else:
                yield from check(section, value)


def _unwritable(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
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


_NAMES: dict[type, str] = {list: "a list", dict: "a mapping"}


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), repr(value)[:100])


def _check_names(section: str, value: list[Any]) -> Iterator[tuple[Path, str]]:
    seen = set()
    for index, item in enumerate(value):
        name = _name(item)
        if name is None:
            yield (section, index), f"{repr(item)[:100]} is neither a name nor a mapping from one name to its settings"
        elif name in seen:
            yield (section, index), f"{name!r} comes twice in {section}"
        seen.add(name)


def _name(item: Any) -> str | None:
    """The name in an item of a list: `greet`, or `greet: {settings}`."""
    if isinstance(item, dict) and len(item) == 1:
        item = next(iter(item))
    return item if isinstance(item, str) else None


def _check_slots(section: str, value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for name, slot in value.items():
        if not isinstance(slot, dict):
            yield (section, name), f"the slot {name!r} must be a mapping, not {_kind(slot)}"
            continue
        kind = slot.get("type")
        if kind not in SLOT_TYPES and not (isinstance(kind, str) and "." in kind):
            path = (section, name, "type") if "type" in slot else (section, name)
            yield path, f"the slot {name!r} has the type {kind!r}; types are {', '.join(SLOT_TYPES)}, or a class's path"
        if not isinstance(slot.get("mappings"), list):
            path = (section, name, "mappings") if "mappings" in slot else (section, name)
            yield path, f"the slot {name!r} needs a list of mappings; '- type: custom' leaves it to actions"


def _check_forms(section: str, value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for name, form in value.items():
        if not isinstance(form, dict) or not isinstance(form.get("required_slots"), list):
            yield (section, name), f"the form {name!r} must be a mapping with a list 'required_slots'"


def _check_responses(section: str, value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for name, variations in value.items():
        if variations is not None and not isinstance(variations, list):
            yield (section, name), f"the response {name!r} must be a list of variations, not {_kind(variations)}"


def _check_session(section: str, value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    minutes = value.get("session_expiration_time", 60)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float):
        yield (section, "session_expiration_time"), f"session_expiration_time must be minutes, not {_kind(minutes)}"
    carry_over = value.get("carry_over_slots_to_new_session", True)
    if not isinstance(carry_over, bool):
        path = (section, "carry_over_slots_to_new_session")
        yield path, f"carry_over_slots_to_new_session must be true or false, not {_kind(carry_over)}"


def _check_nothing(section: str, value: Any) -> Iterator[tuple[Path, str]]:
    return iter(())


_SECTIONS: dict[str, tuple[type, Callable[[str, Any], Iterator[tuple[Path, str]]]]] = {
    "intents": (list, _check_names),
    "entities": (list, _check_names),
    "slots": (dict, _check_slots),
    "responses": (dict, _check_responses),
    "actions": (list, _check_names),
    "forms": (dict, _check_forms),
    "e2e_actions": (list, _check_nothing),
    "session_config": (dict, _check_session),
}


def _merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for document in documents:
        for section, value in document.items():
            result[section] = _joined(section, result.get(section), value)
    return result


def _joined(section: str, first: Any, second: Any) -> Any:
    if isinstance(first, list) and isinstance(second, list):
        names = {_name(item) for item in first}
        return first + [item for item in second if _name(item) not in names]
    if isinstance(first, dict) and isinstance(second, dict) and section != "session_config":
        return first | {name: value for name, value in second.items() if name not in first}
    return first if second is None else second


def _domain(merged: dict[str, Any]) -> Domain:
    document = _document(merged)
    session = document["session_config"]
    forms = tuple(document.get("forms") or ())
    actions = _names(document, "actions")
    return Domain(
        slots=_slots(document.get("slots") or {}, bool(forms), KNOWLEDGE_BASE_ACTION in actions),
        intents=_names(document, "intents"),
        actions=actions,
        forms=forms,
        session_expiration_minutes=session.get("session_expiration_time", 60),
        carry_over_slots=session.get("carry_over_slots_to_new_session", True),
        document=document,
    )


def _document(merged: dict[str, Any]) -> dict[str, Any]:
    """The domain as it is shown: the version first, intents sorted, and the session's settings always there."""
    document = {"version": FORMAT_VERSION, **merged}
    document["version"] = str(document["version"] or FORMAT_VERSION)
    if isinstance(document.get("intents"), list):
        document["intents"] = sorted(document["intents"], key=lambda item: _name(item) or "")
    defaults = {"session_expiration_time": 60, "carry_over_slots_to_new_session": True}
    document["session_config"] = document.pop("session_config", None) or defaults
    if merged.get("session_config"):
        return {section: document[section] for section in ("version", *merged)}
    return document


def _with_literals(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the responses' texts of several lines as blocks, as their authors would write them."""
    responses = {
        name: [_with_literal(variation) for variation in variations or []]
        for name, variations in (document.get("responses") or {}).items()
    }
    return {**document, "responses": responses} if responses else document


def _with_literal(variation: Any) -> Any:
    text = variation.get("text") if isinstance(variation, dict) else None
    return {**variation, "text": Literal(text)} if isinstance(text, str) and "\n" in text else variation


def _names(document: dict[str, Any], section: str) -> tuple[str, ...]:
    return tuple(name for name in map(_name, document.get(section) or ()) if name is not None)


def _slots(written: dict[str, Any], has_forms: bool, has_knowledge_base: bool) -> dict[str, Slot]:
    """The file's slots, then those that forms and the knowledge base bring, last the one of every session."""
    slots = {name: Slot(slot["type"], slot.get("initial_value")) for name, slot in written.items()}
    added = [REQUESTED_SLOT] * has_forms + list(KNOWLEDGE_BASE_SLOTS) * has_knowledge_base + [SESSION_METADATA_SLOT]
    for name in added:
        slots.setdefault(name, Slot("any"))
    return slots
