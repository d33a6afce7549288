"""The recorded bots: small projects, what was said to them, and what real Rasa made of it, event by event.

Recorded events are normal: without times, ids and nulls, a message's parse data cut to intent and entities.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assistant.outside import ActionFailed, ActionRejected
from assistant.responses import Responses
from assistant.wording import uttered
from dialogue import UserUttered, from_wire, parse_domain, to_wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.scene import Scene
    from dialogue import BotUttered, Domain, Event

Json = dict[str, Any]

BOTS: Final = Path(__file__).parent.parent / "data/bots"
MARKS: Final = ("model_id", "assistant_id")  #: what a model puts into every event's metadata
PLAYABLE: Final = sorted(
    path.parent.name for path in BOTS.glob("*/transcript.json") if json.loads(path.read_text())["dialogues"]
)


def domain_of(bot: str) -> Domain:
    """The bot's domain, with the texts that its stories say."""
    folder = BOTS / bot
    files = [folder / "domain.yml"] if (folder / "domain.yml").exists() else sorted((folder / "domain").rglob("*.yml"))
    steps = (step for dialogue in dialogues_of(bot) for step in dialogue)
    texts = (event.get("action_text") for step in steps for event in step.get("events", ()))
    return parse_domain([(file.name, file.read_text()) for file in files]).with_texts(text for text in texts if text)


def dialogues_of(bot: str) -> list[list[Json]]:
    """Each dialogue's steps: what was sent, which events followed (`events`), what the action server was asked."""
    dialogues: list[list[Json]] = json.loads((BOTS / bot / "transcript.json").read_text())["dialogues"]
    return dialogues


def script_of(bot: str) -> Json:
    """What the action server answers: for each action a list of cases."""
    file = BOTS / bot / "actions.json"
    script: Json = json.loads(file.read_text()) if file.exists() else {}
    return script


# --- recorded events --------------------------------------------------------------------------------------------------


def event_of(recorded: Json) -> Event:
    if recorded["event"] == "user":
        parsed = {"intent": recorded.get("intent") or {}, "entities": recorded.get("entities") or []}
        recorded = {**recorded, "parse_data": {**parsed, "text": recorded.get("text")}}
    return from_wire(recorded, 1.0)


def normal(event: Event) -> Json:
    """An event as it is recorded."""
    return normal_wire(to_wire(event))


def normal_wire(wire: Json) -> Json:
    """An event on the wire as it is recorded."""
    wire = {key: value for key, value in wire.items() if key not in ("timestamp", "message_id")}
    wire["metadata"] = {key: value for key, value in (wire.get("metadata") or {}).items() if key not in MARKS}
    if not wire["metadata"]:
        del wire["metadata"]
    if wire["event"] == "user":
        parsed = wire.pop("parse_data") or {}
        wire |= {"intent": parsed.get("intent"), "entities": parsed.get("entities")}
    if wire["event"] == "bot":
        wire["data"] = {key: value for key, value in (wire.get("data") or {}).items() if value}
        if not wire["data"]:
            del wire["data"]
    if wire["event"] in ("action", "action_execution_rejected", "user"):
        wire = {key: value for key, value in wire.items() if value is not None}
    if wire.get("hide_rule_turn") is False:
        del wire["hide_rule_turn"]
    return wire


# --- the action server ------------------------------------------------------------------------------------------------


class Scripted:
    """Outside of a recorded bot: the action server answers by the script, responses are worded from the domain.

    `calls` are what the server was asked, as it is recorded.
    """

    def __init__(self, script: Json) -> None:
        self._script = script
        self._responses = Responses()
        self._counts: dict[str, int] = {}
        self.calls: list[Json] = []

    async def call(self, action: str, scene: Scene) -> list[Event]:
        self._counts[action] = self._counts.get(action, 0) + 1
        self.calls.append(_call(action, scene))
        if action not in self._script:
            raise ActionFailed(f"no action {action!r}")
        case: Json = next(
            (case for case in self._script[action] if self._holds(case.get("when") or {}, action, scene)), {}
        )
        status = case.get("status", 200)
        if status == 400:
            raise ActionRejected(action)
        if status >= 400:
            raise ActionFailed(f"{action!r} answers {status}")
        reply = case.get("reply") or {}
        messages = [await self._message(response, scene) for response in reply.get("responses") or []]
        events = [from_wire(event, 1.0) for event in reply.get("events") or []]
        return [event for event in (*messages, *events) if event is not None]

    async def respond(self, name: str, scene: Scene, arguments: Mapping[str, Any] | None = None) -> BotUttered | None:
        message = await self._responses.word(name, scene, arguments or {})
        return None if message is None else uttered({**message, "utter_action": name})

    async def _message(self, response: Json, scene: Scene) -> BotUttered | None:
        if "response" in response:
            return await self.respond(response["response"], scene)
        return uttered(response)

    def _holds(self, when: Json, action: str, scene: Scene) -> bool:
        facts = {
            "intent": scene.intent,
            "text": scene.tracker.latest_message["text"],
            "loop": scene.loop,
            "count": self._counts[action],
        }
        last_slots = _last_slots(scene)
        return (
            all(facts[key] == value for key, value in when.items() if key in facts)
            and all(scene.slot(name) == value for name, value in when.get("slots", {}).items())
            and all(scene.slot(name) is not None for name in when.get("slot_set", ()))
            and all(scene.slot(name) is None for name in when.get("slot_unset", ()))
            and all(
                name in last_slots and last_slots[name] == value
                for name, value in when.get("last_event_slots", {}).items()
            )
        )


def _last_slots(scene: Scene) -> Json:
    """The slots that the last events set."""
    slots: Json = {}
    for event in reversed(scene.events):
        wire = to_wire(event)
        if wire["event"] != "slot":
            break
        slots.setdefault(wire["name"], wire["value"])
    return slots


def _call(action: str, scene: Scene) -> Json:
    tracker = scene.tracker
    since: list[Json] = []
    for event in reversed(scene.events):
        if isinstance(event, UserUttered):
            break
        since.insert(0, normal(event))
    latest = tracker.latest_action
    return {
        "action": action,
        "slots": {
            name: value
            for name, value in tracker.slots.items()
            if value is not None and name != "session_started_metadata"
        },
        "active_loop": {key: value for key, value in tracker.active_loop.items() if key != "trigger_message"},
        "latest_action_name": latest.get("action_name") or latest.get("action_text"),
        "events_since_user": since,
    }
