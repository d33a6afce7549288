"""The rules of the older protocol, once more and as short as they can be: what the service is compared with.

A conversation is a list of events, read anew at each step; the bot follows its stories to the letter, by the last three
states, and says `utter_default` where they say nothing. What it does is what rasa_core 0.9 did in the recordings.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.contract.normal_form import IGNORED, Like
from tests.contract.service import OLD_BOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Json = dict[str, Any]
State = tuple[frozenset[str], frozenset[str], str | None, str | None]  #: entities, slots, intent, last action

LISTEN: Final = "action_listen"
FALLBACK: Final = "utter_default"
RESTART: Final = "action_restart"
HISTORY: Final = 3
SLOTS: Final = ("cuisine", "info", "location", "matches", "people", "price")
LISTS: Final = ("matches",)
PAUSED: Final = "Bot is currently paused and no restart was received yet."
NEEDLESS: Final = (
    "You do not need to call continue after action listen got returned for the previous continue call. You are "
    "expected to call 'parse' with the next user message."
)
FIELDS: Final = {
    "action": ("name",),
    "user": ("text", "parse_data"),
    "slot": ("name", "value"),
    "bot": ("text", "data"),
    "agent": ("text", "data"),
}
SHOWING_ALL: Final = {"ignore_restarts": "true"}
NO_MESSAGE: Final[Json] = {"entities": [], "intent": {}, "text": None}


class Conversation:
    """One conversation with the bot `remote`, from its beginning. Its events have no times."""

    def __init__(self) -> None:
        self.events: list[Json] = [_action(LISTEN)]

    def answer(self, request: Json) -> Json:
        """The answer to a request, in the normal form, keys in the order of the alphabet."""
        said: Any = request.get("json", request.get("query", {}))
        match request["method"], request["path"].rpartition("/")[2]:
            case "POST" | "GET", "parse":
                return self._parsed(said.get("query", said.get("q")))
            case "POST", "continue":
                return self._continued(said.get("executed_action"), said.get("events") or ())
            case "POST", "events":
                self.events += said
                return self._state()
            case "PUT", "tracker":
                self.events = list(said)
        return self._state(self.events if request.get("query") == SHOWING_ALL else self._since_restart)

    def goes_on_with(self, text: str) -> bool:
        """Whether some story has this message now."""
        later = Conversation()
        later.events = list(self.events)
        return later._parsed(text)["next_action"] not in (None, FALLBACK)

    def _parsed(self, text: str) -> Json:
        message = understood(text)
        is_paused = self._is_paused and message["intent"]["name"] != "restart"
        self.events += [{"event": "user", "text": text, "parse_data": message}, *_filled(message)]
        return {"info": PAUSED, "next_action": None, "tracker": self._state()} if is_paused else self._led()

    def _continued(self, action: str | None, events: Sequence[Json]) -> Json:
        if action == LISTEN:
            return {
                "info": Like(NEEDLESS, lambda text: text.startswith(NEEDLESS)),
                "next_action": None,
                "tracker": self._state(),
            }
        self.events += [] if action is None else [_action(action)]
        self.events += events
        return self._led(LISTEN if any(event["event"] == "restart" for event in events) else None)

    def _led(self, followup: str | None = None) -> Json:
        """What the bot does next; that it listens is noted at once, and seen from the next request on."""
        action, state = followup or self._predicted(), self._state()
        if action == LISTEN:
            self.events.append(_action(LISTEN))
        return {"next_action": action, "tracker": state}

    def _state(self, events: Sequence[Json] | None = None) -> Json:
        return {
            "events": None if events is None else list(map(_dumped, events)),
            "latest_event_time": "<TS>" if self._since_restart else IGNORED,
            "latest_message": _latest_message(self._applied),
            "paused": self._is_paused,
            "sender_id": "<CONV>",
            "slots": _slots(self._applied),
        }

    @property
    def _is_paused(self) -> bool:
        switches = [event["event"] for event in self._applied if event["event"] in ("pause", "resume")]
        return switches[-1:] == ["pause"]

    @property
    def _applied(self) -> list[Json]:
        """The events that count."""
        return _applied(self.events)

    @property
    def _since_restart(self) -> list[Json]:
        """The events after the last restart, also those that were taken back."""
        restarts = [at for at, event in enumerate(self.events) if event["event"] == "restart"]
        return self.events[restarts[-1] + 1 :] if restarts else self.events

    def _predicted(self) -> str:
        if (_latest_message(self._applied).get("intent") or {}).get("name") == "restart":
            return RESTART
        *_, now = states = list(_states(self._applied))
        if now[-1] == FALLBACK:
            return LISTEN
        return _memory().get(tuple(states[-HISTORY:]), FALLBACK)


def understood(text: str) -> Json:
    """A message that names its intent, and maybe entities, as in `/inform{"cuisine": "thai"}`."""
    at = text.find("{") if "{" in text else len(text)
    head = text[:at]
    name = head[1:] if head.startswith(("/", "_")) and len(head) > 1 else head
    intent = {"confidence": 1.0, "name": name.strip() if at else None}
    pairs = _pairs(text[at:]) if at else ()
    entities = [{"end": len(text), "entity": key, "start": at, "value": value} for key, value in pairs]
    return {"entities": entities, "intent": intent, "intent_ranking": [intent], "text": text}


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    found = _json(text)
    for key, value in found.items() if isinstance(found, dict) else ():
        for item in value if isinstance(value, list) else [value]:
            yield key, item


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _filled(message: Json) -> Iterator[Json]:
    """The slots that a message fills: those that are called like its entities."""
    for name in SLOTS:
        values = [entity["value"] for entity in message["entities"] if entity["entity"] == name]
        if values:
            yield {"event": "slot", "name": name, "value": values if name in LISTS else values[-1]}


def _dumped(event: Json) -> Json:
    """An event as the state shows it."""
    shown = {key: event.get(key) for key in FIELDS.get(event["event"], ())}
    return dict(sorted({"event": event["event"], "timestamp": "<TS>", **shown}.items()))


def _applied(events: Sequence[Json]) -> list[Json]:
    found: list[Json] = []
    for event in events:
        match event["event"]:
            case "restart":
                found = []
            case "undo":
                _take_back(found, "action")
            case "rewind":
                _take_back(found, "user")
                _take_back(found, "action")
            case _:
                found.append(event)
    return found


def _take_back(events: list[Json], kind: str) -> None:
    """Forget the last event of this kind and all behind it, or everything if there is none."""
    while events and events.pop()["event"] != kind:
        pass


def _latest_message(events: Sequence[Json]) -> Json:
    return next((event["parse_data"] for event in reversed(events) if event["event"] == "user"), NO_MESSAGE)


def _slots(events: Sequence[Json]) -> Json:
    found: Json = dict.fromkeys(SLOTS)
    for event in events:
        if event["event"] == "reset_slots":
            found = dict.fromkeys(SLOTS)
        elif event["event"] == "slot" and event["name"] in found:
            found[event["name"]] = event["value"]
    return found


# --- stories ----------------------------------------------------------------------------------------------------------


def _states(events: Sequence[Json]) -> Iterator[State]:
    """The state before each action, and now."""
    actions = [at for at, event in enumerate(events) if event["event"] == "action"]
    for before, at in pairwise([None, *actions, len(events)]):
        message, slots = _latest_message(events[:at]), _slots(events[:at])
        yield (
            frozenset(entity["entity"] for entity in message["entities"]),
            frozenset(name for name, value in slots.items() if (value if name in LISTS else value is not None)),
            message["intent"].get("name"),
            None if before is None else events[before]["name"],
        )


@cache
def _memory() -> dict[tuple[State, ...], str]:
    """What the stories do after each three states of theirs."""
    stories = yaml.safe_load((OLD_BOTS / "remote/data/stories.yml").read_text())["stories"]
    found: dict[tuple[State, ...], str] = {}
    for story in stories:
        events = [*(event for step in story["steps"] for event in _told(step)), _action(LISTEN)]
        states = list(_states(events))
        actions = [event["name"] for event in events if event["event"] == "action"]
        found |= {tuple(states[max(0, at - HISTORY + 1) : at + 1]): action for at, action in enumerate(actions)}
    return found


def _told(step: Json) -> Iterator[Json]:
    """The events of a story's step: a bot that was asked something listened before."""
    if "action" in step:
        yield _action(step["action"])
    for name, value in ((name, value) for slot in step.get("slot_was_set", ()) for name, value in slot.items()):
        yield {"event": "slot", "name": name, "value": value}
    if "intent" in step:
        yield _action(LISTEN)
        entities = [{"entity": name} for entity in step.get("entities", ()) for name in entity]
        yield {"event": "user", "parse_data": {"intent": {"name": step["intent"]}, "entities": entities}}


def _action(name: str) -> Json:
    return {"event": "action", "name": name}
