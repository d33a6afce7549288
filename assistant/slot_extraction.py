"""Filling slots from a message, by the mappings in the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from assistant.happening import happens
from assistant.outside import ActionFailed, ActionRejected
from assistant.slot_mappings import counts, values
from dialogue import BotUttered, SlotSet

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event
    from dialogue.slots import Slot

ACTION_EXTRACT_SLOTS: Final = "action_extract_slots"
ACTION_VALIDATE_SLOT_MAPPINGS: Final = "action_validate_slot_mappings"

log = structlog.get_logger("turnlog.assistant")


async def extract_slots(scene: Scene, outside: Outside) -> list[Event]:
    """Return what follows from the latest message at once: what custom actions say, then the slots that it fills.

    An action that can't be run fills nothing: the message counts without it.
    """
    found = await _extracted(scene, outside)
    slots = [event for event in found if isinstance(event, SlotSet)]
    return [event for event in found if not isinstance(event, SlotSet)] + await _validated(slots, scene, outside)


async def _extracted(scene: Scene, outside: Outside) -> list[Event]:
    events: list[Event] = []
    called: set[str] = set()
    for name, slot in scene.domain.filled_slots.items():
        for mapping in slot.mappings:
            if not counts(mapping, name, scene):
                continue
            if mapping.action is not None and mapping.action not in called:
                called.add(mapping.action)
                events += await _called(mapping.action, scene, outside)
            elif value := _value(name, slot, values(mapping, scene), scene):
                events.append(value)
                break
    return events


def _value(name: str, slot: Slot, found: list[Any], scene: Scene) -> SlotSet | None:
    """The slot's new value, if a mapping found one. It may have found that there is none, and so empties the slot."""
    if not found:
        return None
    value = found if slot.type == "list" else found[-1]
    return None if value is None and scene.slot(name) is None else happens(SlotSet, name=name, value=value)


async def _validated(slots: list[SlotSet], scene: Scene, outside: Outside) -> list[Event]:
    """The slots as the project's own validation wants them; those that it does not mention stay as they are."""
    if ACTION_VALIDATE_SLOT_MAPPINGS not in scene.domain.actions:
        return [*slots]
    validated = await _called(ACTION_VALIDATE_SLOT_MAPPINGS, scene.after(slots), outside)
    mentioned = {event.name for event in validated if isinstance(event, SlotSet)}
    return [*validated, *(slot for slot in slots if slot.name not in mentioned)]


async def _called(action: str, scene: Scene, outside: Outside) -> list[Event]:
    """What an action of the server says and sets."""
    try:
        events = await outside.call(action, scene)
    except (ActionFailed, ActionRejected) as error:
        log.warning("slots are extracted without an action", action=action, reason=str(error))
        return []
    others = sorted({event.type for event in events if not isinstance(event, SlotSet | BotUttered)})
    if others:
        log.info("an action that extracts slots can't bring about other events", action=action, dropped=others)
    return [event for event in events if isinstance(event, SlotSet | BotUttered)]
