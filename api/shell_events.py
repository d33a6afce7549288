"""An event in one line: what people want to see of it beside a conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from assistant.reminders import entities_of
from dialogue import (
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    AgentUttered,
    BotUttered,
    EntitiesAdded,
    Event,
    FollowupAction,
    LoopInterrupted,
    ReminderCancelled,
    ReminderScheduled,
    SlotSet,
    UnknownEvent,
    UserFeaturization,
    UserUttered,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

LONG: Final = 60  #: characters of a text that are shown of it
_TYPE_WIDTH: Final = len("user_featurization")


def line_of(version: int, event: Event) -> str:
    """Version, type, and what matters of an event. The line may be long."""
    detail = " ".join(part for part in _parts(event) if part)
    return f"{version:>4} {event.type:<{_TYPE_WIDTH}} {detail}".rstrip()


def value_of(value: Any) -> str:
    """A value of a slot or an entity: a text as it stands where that can't be taken for something else, else JSON."""
    if isinstance(value, str) and value and value.strip() == value and not _is_json(value):
        return value
    return as_json(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON for people: letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _is_json(text: str) -> bool:
    return text in ("true", "false", "null") or text[0] in '-0123456789"[{'


def _parts(event: Event) -> Iterable[str]:
    match event:
        case UserUttered():
            return _user(event)
        case BotUttered():
            return [str(event.metadata.get("utter_action") or _short(event.text))]
        case ActionExecuted():
            name = event.name or as_json(event.action_text)
            return [name, event.policy or "", _confidence(event.confidence)]
        case ActionExecutionRejected():
            return [str(event.name), str(event.policy or ""), _confidence(event.confidence)]
        case SlotSet():
            return [f"{event.name} = {value_of(event.value)}"]
        case EntitiesAdded():
            return map(_entity, event.entities)
        case _:
            return _rest(event)


def _rest(event: Event) -> Iterable[str]:
    match event:
        case ActiveLoop() | FollowupAction():
            return ["none" if event.name is None else str(event.name)]
        case LoopInterrupted():
            return ["by another action" if event.is_interrupted else "no more"]
        case UserFeaturization():
            return ["by its text" if event.use_text_for_featurization else "by its intent"]
        case ReminderScheduled():
            name = "" if event.name is None else f"({event.name})"
            return [str(event.intent), *map(_entity, entities_of(event.entities)), f"at {event.date_time}", name]
        case ReminderCancelled():
            return [str(part) for part in (event.intent, event.name) if part]
        case AgentUttered():
            return [_short(event.text)]
        case UnknownEvent():
            return [as_json({key: value for key, value in event.wire.items() if key not in ("event", "timestamp")})]
    return []


def _user(event: UserUttered) -> Iterable[str]:
    intent = event.parse_data.get("intent") or {}
    yield str(intent.get("name") or "no intent")
    yield _confidence(intent.get("confidence"))
    yield from map(_entity, event.parse_data.get("entities") or ())
    yield _short(event.text)  # last, where it may be cut off


def _entity(entity: Json) -> str:
    parts = [str(entity[key]) for key in ("role", "group") if entity.get(key)]
    name = f"{entity.get('entity')}" + (f"[{', '.join(parts)}]" if parts else "")
    return f"{name}={value_of(entity.get('value'))}"


def _confidence(confidence: Any) -> str:
    return f"{confidence:.2f}" if isinstance(confidence, int | float) else ""


def _short(text: Any) -> str:
    if text is None:
        return ""
    return as_json(text if not isinstance(text, str) or len(text) <= LONG else text[: LONG - 1] + "…")
