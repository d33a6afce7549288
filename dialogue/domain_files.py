"""Reading a domain from its YAML files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from dialogue.domain import REQUESTED_SLOT, SESSION_METADATA_SLOT, Domain, Entity, Form, Intent
from dialogue.domain_checks import check, declared
from dialogue.domain_document import merged, shown
from dialogue.domain_warnings import warnings
from dialogue.shapes import name_of, settings_of
from dialogue.slots import FEATURED_TYPES, Slot, SlotCondition, SlotMapping
from dialogue.source import read_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dialogue.source import Fault, Source

KNOWLEDGE_BASE_ACTION: Final = "action_query_knowledge_base"
KNOWLEDGE_BASE_SLOTS: Final = (
    "knowledge_base_listed_objects",
    "knowledge_base_last_object",
    "knowledge_base_last_object_type",
)


class InvalidDomain(ValueError):
    """Domain files hold faults; the message lists each with its file and line, `faults` are the same as values."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def parse_domain(texts: Sequence[tuple[str, str]]) -> Domain:
    """Return the domain that these files, (name, YAML text) each, make together.

    A section that stands in several files is merged: lists are joined without what is there already, of two equal names
    the first file's wins, the last session_config wins that is not the usual one.

    Raises InvalidDomain with every fault of every file.
    """
    return read_domain(texts)[0]


def read_domain(texts: Sequence[tuple[str, str]]) -> tuple[Domain, list[Fault]]:
    """Return what parse_domain does, and what is no fault but hardly meant."""
    sources, unreadable = read_sources(texts)
    faults = [*unreadable, *_faults(sources)]
    if faults:
        raise InvalidDomain(_ordered(faults, [name for name, _ in texts]))
    return _assembled(sources)


def domain_of(sources: Sequence[Source]) -> tuple[Domain, list[Fault]]:
    """Return what read_domain does, for files that are read already.

    Raises InvalidDomain.
    """
    faults = _faults(sources)
    if faults:
        raise InvalidDomain(_ordered(faults, [source.name for source in sources]))
    return _assembled(sources)


def _faults(sources: Sequence[Source]) -> list[Fault]:
    names = declared(sources)
    return [source.fault(path, reason) for source in sources for path, reason in check(source.value, names)]


def _assembled(sources: Sequence[Source]) -> tuple[Domain, list[Fault]]:
    domain = _domain(merged([source.value or {} for source in sources]))
    return domain, _ordered(warnings(sources, domain), [source.name for source in sources])


def _ordered(faults: Iterable[Fault], files: Sequence[str]) -> list[Fault]:
    order = {file: index for index, file in enumerate(files)}
    return sorted(faults, key=lambda fault: (order[fault.file], fault.line))


def _domain(written: dict[str, Any]) -> Domain:
    document = shown(written)
    session = document["session_config"]
    minutes = session.get("session_expiration_time")
    forms = {name: _form(form or {}) for name, form in _section(written, "forms", {}).items()}
    actions = _section(written, "actions", [])
    slots = {name: _slot(slot) for name, slot in _section(written, "slots", {}).items()}
    intents = _section(document, "intents", [])
    return Domain(
        slots=slots | _added(bool(forms), KNOWLEDGE_BASE_ACTION in map(name_of, actions), slots),
        filled_slots=slots,
        intents=_names(intents),
        intent_settings={_name(item): _intent(settings_of(item)) for item in intents if isinstance(item, dict)},
        entities={_name(item): _entity(settings_of(item)) for item in _section(written, "entities", [])},
        forms=forms,
        responses={name: tuple(variations) for name, variations in _section(written, "responses", {}).items()},
        actions=_names(actions),
        texts=tuple(dict.fromkeys(_section(written, "e2e_actions", []))),
        sends_domain=frozenset(_name(item) for item in actions if _sends_domain(item)),
        session_expiration_minutes=60 if minutes is None else minutes,
        carry_over_slots=session.get("carry_over_slots_to_new_session", True),
        document=document,
    )


def _section(written: dict[str, Any], section: str, absent: Any) -> Any:
    value = written.get(section)
    return absent if value is None else value


def _name(item: Any) -> str:
    return cast("str", name_of(item))


def _names(items: list[Any]) -> tuple[str, ...]:
    return tuple(map(_name, items))


def _added(has_forms: bool, has_knowledge_base: bool, slots: dict[str, Slot]) -> dict[str, Slot]:
    """The slots that forms and the knowledge base bring, last the one of every session."""
    names = [REQUESTED_SLOT] * has_forms + list(KNOWLEDGE_BASE_SLOTS) * has_knowledge_base + [SESSION_METADATA_SLOT]
    return {name: Slot("any") for name in names if name not in slots}


def _slot(written: dict[str, Any]) -> Slot:
    return Slot(
        type=written["type"],
        initial_value=written.get("initial_value"),
        influences=written["type"] in FEATURED_TYPES and written.get("influence_conversation") is not False,
        values=tuple(map(str, written.get("values") or ())),
        low=_number(written.get("min_value"), 0.0),
        high=_number(written.get("max_value"), 1.0),
        mappings=tuple(map(_mapping, written["mappings"])),
    )


def _number(value: Any, default: float) -> float:
    return default if value is None else value


def _mapping(written: dict[str, Any]) -> SlotMapping:
    return SlotMapping(
        type=written["type"],
        entity=written.get("entity"),
        role=written.get("role"),
        group=written.get("group"),
        value=written.get("value"),
        intents=_several(written.get("intent")),
        not_intents=_several(written.get("not_intent")),
        action=written.get("action") if written["type"] == "custom" else None,
        conditions=tuple(
            SlotCondition(condition.get("active_loop"), condition.get("requested_slot"))
            for condition in written.get("conditions") or ()
        ),
    )


def _several(names: str | list[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _form(written: dict[str, Any]) -> Form:
    return Form(tuple(written.get("required_slots") or ()), _several(written.get("ignored_intents")))


def _entity(written: dict[str, Any]) -> Entity:
    return Entity(
        roles=tuple(map(str, written.get("roles") or ())),
        groups=tuple(map(str, written.get("groups") or ())),
        influences=written.get("influence_conversation") is not False,
    )


def _intent(written: dict[str, Any]) -> Intent:
    """`use_entities: true` is the same as without; false and null are the same as an empty list."""
    use, ignore = written.get("use_entities", True), written.get("ignore_entities")
    return Intent(None if use is True else tuple(use or ()), None if ignore is None else tuple(ignore))


def _sends_domain(item: Any) -> bool:
    """Validation actions are sent it when nothing else is said."""
    return settings_of(item).get("send_domain") is True if isinstance(item, dict) else item.startswith("validate_")
