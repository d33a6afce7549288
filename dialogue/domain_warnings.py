"""What stands in domain files, is no fault, and is hardly meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.domain_checks import NEWEST_VERSION, SECTIONS, version_numbers
from dialogue.shapes import name_of, settings_of
from dialogue.slots import SLOT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.domain import Domain
    from dialogue.source import Fault, Findings, Source
    from dialogue.yaml12 import Path

#: what other readers of the same file look for
_OTHERS: Final = frozenset(
    ("version", "nlu", "stories", "rules", "pipeline", "policies", "language", "recipe", "assistant_id")
)


def warnings(sources: Sequence[Source], domain: Domain) -> Iterator[Fault]:
    """Return what is hardly meant in files without faults that make this domain."""
    for source in sources:
        for path, reason in _findings(source.value or {}, domain):
            yield source.fault(path, reason)
    yield from _repeated(sources)


def _findings(document: dict[str, Any], domain: Domain) -> Findings:
    yield from _of_file(document)
    for name, slot in (document.get("slots") or {}).items():
        yield from _of_slot(("slots", name), slot, domain)
    for index, intent in enumerate(document.get("intents") or ()):
        yield from _of_intent(("intents", index), intent)
    for index, action in enumerate(document.get("actions") or ()):
        yield from _of_action(("actions", index), name_of(action) or "", domain)


def _of_file(document: dict[str, Any]) -> Findings:
    version = document.get("version")
    if version and version_numbers(version) < NEWEST_VERSION:
        yield ("version",), f'version "{version}" is older than "3.1"; the file is read as "3.1"'
    for section in document.keys() - SECTIONS.keys() - _OTHERS:
        yield (section,), f"{section!r} is no section of a domain and is ignored; sections are {', '.join(SECTIONS)}"


def _of_slot(path: Path, slot: dict[str, Any], domain: Domain) -> Findings:
    what = f"the slot {path[-1]!r}"
    if slot["type"] not in SLOT_TYPES:
        yield path, f"{what} is of a class: it holds any value, and doesn't influence the conversation"
    initial = slot.get("initial_value")
    if slot["type"] == "float" and initial is not None:
        low, high = domain.slots[str(path[-1])].low, domain.slots[str(path[-1])].high
        if not low <= initial <= high:
            yield (*path, "initial_value"), f"{what}: its initial_value {initial} is not from {low} to {high}"
    for index, mapping in enumerate(slot["mappings"]):
        yield from _of_mapping((*path, "mappings", index), mapping, f"{what}, mapping {index + 1}", domain)


def _of_mapping(path: Path, mapping: dict[str, Any], what: str, domain: Domain) -> Findings:
    entity = mapping.get("entity")
    if mapping["type"] == "from_entity" and entity not in domain.entities:
        yield (*path, "entity"), f"{what}: {entity!r} is none of the entities, so the mapping never fills the slot"
    for key in ("intent", "not_intent"):
        intent = mapping.get(key) or ()
        for name in (intent,) if isinstance(intent, str) else intent:
            if name not in domain.known_intents:
                yield (*path, key), f"{what}: {name!r} is none of the intents"
    if mapping["type"] != "from_trigger_intent":
        yield from _of_conditions(path, mapping.get("conditions") or (), what, domain)


def _of_conditions(path: Path, conditions: Iterable[dict[str, Any]], what: str, domain: Domain) -> Findings:
    slot = path[1]
    for index, condition in enumerate(conditions):
        form = domain.forms.get(condition.get("active_loop") or "")
        if form and form.required_slots and slot not in form.required_slots:
            reason = f"names the form {condition['active_loop']!r}, which doesn't ask for the slot"
            yield (*path, "conditions", index), f"{what}: a condition {reason}"


def _of_intent(path: Path, intent: Any) -> Findings:
    settings = settings_of(intent)
    use, ignore = settings.get("use_entities"), settings.get("ignore_entities")
    both = set(use) & set(ignore or ()) if isinstance(use, list) else ()
    for name in sorted(both):
        yield path, f"intents: {name_of(intent)!r} both uses and ignores {name!r}; it is ignored"


def _of_action(path: Path, name: str, domain: Domain) -> Findings:
    if not name.startswith("utter_") or name in domain.responses:
        return
    if not any(response.startswith(f"{name}/") for response in domain.responses):
        yield path, f"actions: {name!r} is to be a response, and there is none of this name"


def _repeated(sources: Sequence[Source]) -> Iterator[Fault]:
    """Names that stand in several files: of two the first counts."""
    first: dict[tuple[str, str], str] = {}
    for source in sources:
        for path, key in _names(source.value or {}):
            file = first.setdefault(key, source.name)
            if file != source.name:
                yield source.fault(path, f"{key[1]!r} stands under {key[0]} in {file} too, and that counts")


def _names(document: dict[str, Any]) -> Iterator[tuple[Path, tuple[str, str]]]:
    for section in SECTIONS.keys() & document.keys() - {"session_config", "config", "e2e_actions"}:
        value = document[section] or ()
        if isinstance(value, dict):
            yield from (((section, name), (section, name)) for name in value)
        else:
            yield from (((section, index), (section, name_of(item) or "")) for index, item in enumerate(value))
