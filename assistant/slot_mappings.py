"""What one slot mapping says about a message: whether it counts now, and which value it gives the slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dialogue.domain import REQUESTED_SLOT, Form

if TYPE_CHECKING:
    from assistant.scene import Scene
    from dialogue.slots import SlotCondition, SlotMapping


def counts(mapping: SlotMapping, slot: str, scene: Scene) -> bool:
    """Tell whether this mapping of this slot is looked at for the latest message."""
    return (
        _is_sound(mapping, scene)
        and _fits_intent(mapping, scene)
        and _fits_conditions(mapping, slot, scene)
        and not _is_ambiguous(mapping, slot, scene)
    )


def values(mapping: SlotMapping, scene: Scene) -> list[Any]:
    """What the mapping finds in the latest message; nothing for a custom one, which is left to actions."""
    match mapping.type:
        case "from_entity":
            return _entity_values(mapping, scene)
        case "from_text":
            return [scene.tracker.latest_message.get("text")]
        case "from_intent":
            return [mapping.value]
        case "from_trigger_intent":
            return [mapping.value] if _is_in_its_loop(mapping, scene) else []
        case "custom":
            return []


def _is_sound(mapping: SlotMapping, scene: Scene) -> bool:
    """Whether the domain knows the entity, or the intents, that it names."""
    if mapping.type == "from_entity":
        return mapping.entity in scene.domain.entities
    return mapping.type != "from_intent" or scene.domain.known_intents.issuperset(mapping.intents)


def _fits_intent(mapping: SlotMapping, scene: Scene) -> bool:
    if mapping.intents:
        return scene.intent in mapping.intents
    return scene.intent not in (*mapping.not_intents, *_ignored_intents(mapping, scene))


def _ignored_intents(mapping: SlotMapping, scene: Scene) -> tuple[str, ...]:
    """Those that the active form does not take anything from."""
    return _form(scene).ignored_intents if _is_in_its_loop(mapping, scene) else ()


def _form(scene: Scene) -> Form:
    """The active form; one without slots when there is none, or when another loop is active."""
    return scene.domain.forms.get(scene.loop or "", Form())


def _is_in_its_loop(mapping: SlotMapping, scene: Scene) -> bool:
    if scene.loop is None:
        return False
    return not mapping.conditions or any(condition.active_loop == scene.loop for condition in mapping.conditions)


def _fits_conditions(mapping: SlotMapping, slot: str, scene: Scene) -> bool:
    if mapping.type == "from_trigger_intent" or not mapping.conditions:
        return True
    if scene.tracker.active_loop.get("rejected") and scene.slot(REQUESTED_SLOT) == slot:
        return False
    return any(_holds(condition, scene) for condition in mapping.conditions)


def _holds(condition: SlotCondition, scene: Scene) -> bool:
    if condition.active_loop != scene.loop:
        return False
    asked = condition.requested_slot
    return condition.active_loop is None or not asked or asked == scene.slot(REQUESTED_SLOT)


def _is_ambiguous(mapping: SlotMapping, slot: str, scene: Scene) -> bool:
    """Whether an entity could as well be meant for another slot of the active form. Then the one asked for gets it."""
    required = _form(scene).required_slots
    if mapping.type != "from_entity" or slot not in required or slot == scene.slot(REQUESTED_SLOT):
        return False
    return any(mapping in scene.domain.slots[other].mappings for other in required if other != slot)


def _entity_values(mapping: SlotMapping, scene: Scene) -> list[Any]:
    wanted = (mapping.entity, mapping.role, mapping.group)
    entities = scene.tracker.latest_message.get("entities") or []
    return [
        entity.get("value")
        for entity in entities
        if (entity.get("entity"), entity.get("role"), entity.get("group")) == wanted
    ]
