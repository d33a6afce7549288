"""Scenes to act in, made from a domain and from events in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.scene import Scene
from dialogue import ACTION_LISTEN, from_wire, initial, parse_domain

if TYPE_CHECKING:
    from dialogue import Domain

Json = dict[str, Any]


def domain_from(text: str) -> Domain:
    return parse_domain([("domain.yml", text)])


def scene_of(domain: Domain, *events: Json) -> Scene:
    """A conversation of these events. The times of all are 1.0."""
    scene = Scene(sender="c", channel="collector", domain=domain, tracker=initial(domain), events=())
    return scene.after([from_wire(event, 1.0) for event in events])


def said(intent: str | None, *entities: Json, text: str | None = None, **parse_data: Any) -> Json:
    parsed = {"intent": {"name": intent}, "entities": list(entities), "text": text, **parse_data}
    return {"event": "user", "text": text, "parse_data": parsed}


def found(entity: str, value: Any, role: str | None = None, group: str | None = None) -> Json:
    return {"entity": entity, "value": value, "role": role, "group": group}


def action(name: str) -> Json:
    return {"event": "action", "name": name}


def slot(name: str, value: Any) -> Json:
    return {"event": "slot", "name": name, "value": value}


def loop(name: str | None) -> Json:
    return {"event": "active_loop", "name": name}


def rejected(name: str) -> Json:
    return {"event": "action_execution_rejected", "name": name}


def bot(text: str, **metadata: Any) -> Json:
    """As `normal` shows it."""
    return {"event": "bot", "text": text} | ({"metadata": metadata} if metadata else {})


LISTEN = action(ACTION_LISTEN)
REWIND: Json = {"event": "rewind"}
