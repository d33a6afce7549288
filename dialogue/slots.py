"""Slots: what they hold, how dialogue policies see their values, and from what in a message they are filled."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

SLOT_TYPES: Final = ("text", "bool", "categorical", "float", "list", "any")
MappingType = Literal["from_entity", "from_intent", "from_trigger_intent", "from_text", "custom"]


class SlotCondition(Struct, frozen=True):
    """When a mapping counts: inside a loop (None: outside of every loop), and there while a slot is asked for."""

    active_loop: str | None
    requested_slot: str | None = None


class SlotMapping(Struct, frozen=True, kw_only=True):
    """One way in which a slot is filled from a message. Which fields mean something depends on the type."""

    type: MappingType
    entity: str | None = None
    role: str | None = None
    group: str | None = None
    value: Any = None
    intents: tuple[str, ...] = ()
    not_intents: tuple[str, ...] = ()
    action: str | None = None  #: of the action server, for custom mappings
    conditions: tuple[SlotCondition, ...] = ()


class Slot(Struct, frozen=True, dict=True):
    """A slot's type (one of SLOT_TYPES, or the dotted path of a class) and the value it has when nothing was set."""

    type: str
    initial_value: Any = None
    influences: bool = False  #: whether policies see it
    values: tuple[str, ...] = ()  #: of a categorical slot, as they are written
    low: float = 0.0  #: of a float slot
    high: float = 1.0
    mappings: tuple[SlotMapping, ...] = ()

    def holds(self, value: Any) -> Any:
        """Return what the slot's value becomes when `value` is set: a list slot wraps what is something and no list."""
        return [value] if self.type == "list" and value and not isinstance(value, list) else value

    def features(self, value: Any) -> tuple[float, ...] | None:
        """Return what policies see of a value: None when they see nothing of it, as when nothing is set."""
        raise NotImplementedError
