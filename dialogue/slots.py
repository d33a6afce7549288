"""Slots: what they hold, how dialogue policies see their values, and from what in a message they are filled."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURED_TYPES: Final = ("text", "bool", "categorical", "float", "list")
SLOT_TYPES: Final = (*FEATURED_TYPES, "any")
OTHER: Final = "__other__"
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
    influences: bool = False  #: whether policies see it; never true but for FEATURED_TYPES
    values: tuple[str, ...] = ()  #: of a categorical slot, as they are written
    low: float = 0.0  #: of a float slot
    high: float = 1.0
    mappings: tuple[SlotMapping, ...] = ()

    def holds(self, value: Any) -> Any:
        """Return what the slot's value becomes when `value` is set: a list slot wraps what is something and no list."""
        return [value] if self.type == "list" and value and not isinstance(value, list) else value

    def features(self, value: Any) -> tuple[float, ...] | None:
        """Return what policies see of a value: None when they see nothing of it, as when nothing is set."""
        if not self.influences or value is None:
            return None
        return _FEATURES[self.type](self, value)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """What a categorical slot tells apart, in lower case; the last one is everything else."""
        values = tuple(value.lower() for value in self.values)
        return values if OTHER in values else (*values, OTHER)


def _of_text(slot: Slot, value: Any) -> tuple[float, ...] | None:
    return (1.0,)


def _of_bool(slot: Slot, value: Any) -> tuple[float, ...] | None:
    truth = _truth(value)
    return None if truth is None else (1.0, float(truth))


def _truth(value: Any) -> bool | None:
    """Numbers are true when they are 1; of texts only digits, true and false mean something."""
    if isinstance(value, str):
        word = value.strip().lower()
        return float(value) == 1 if value.isdecimal() else {"true": True, "false": False}.get(word)
    return value == 1 if isinstance(value, int | float) else None


def _of_float(slot: Slot, value: Any) -> tuple[float, ...] | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (1.0, (max(slot.low, min(slot.high, number)) - slot.low) / (slot.high - slot.low))


def _of_list(slot: Slot, value: Any) -> tuple[float, ...] | None:
    return (1.0,) if value else None


def _of_categorical(slot: Slot, value: Any) -> tuple[float, ...] | None:
    text = str(value).lower()
    seen = text if text in slot.categories else OTHER
    index = slot.categories.index(seen)
    return tuple(float(position == index) for position in range(len(slot.categories)))


_FEATURES: Final[dict[str, Callable[[Slot, Any], tuple[float, ...] | None]]] = {
    "text": _of_text,
    "bool": _of_bool,
    "float": _of_float,
    "list": _of_list,
    "categorical": _of_categorical,
}
