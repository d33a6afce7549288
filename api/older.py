"""Bodies of rasa_core 0.9: what its clients send, and the states, events, messages and errors that they are told."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from api.endpoint import json_response
from api.errors import ApiError, TooManyEvents
from api.requests import MAX_EVENTS
from assistant.messages import whole_message
from dialogue import (
    ActionExecuted,
    AgentUttered,
    BotUttered,
    InvalidEvent,
    InvalidJson,
    ReminderScheduled,
    SlotSet,
    UserUttered,
    from_wire,
    loads,
)
from dialogue.domain import REQUESTED_SLOT, SESSION_METADATA_SLOT
from dialogue.json import dumps_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sanic import HTTPResponse

    from api.service import Service
    from dialogue import Domain, Event, Tracker

Json = dict[str, Any]

MARK: Final = "-0.9"  #: in the ETags of bodies that look otherwise than today's
_SILENT: Final = ("export", "pause", "reset_slots", "restart", "resume", "rewind", "undo")
_ADDED: Final = ("message_id", "metadata", "text_tokens")  # to the parse data, by later ages
_CONTENTS: Final = ("attachment", "buttons", "custom", "elements", "image", "quick_replies")
_SECONDS: Final = len("2030-01-02T03:04:05")


class OlderError(ApiError):
    """A request of 0.9's protocol that is wrong; the body is that of its time, and one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)

    def body(self) -> str:
        """An object with `error`."""
        return dumps_sorted({"error": self.message}) + "\n"


def answer(body: Any, headers: dict[str, str] | None = None) -> HTTPResponse:
    """An answer: JSON in ASCII, keys sorted, in one line with its end."""
    return json_response(dumps_sorted(body) + "\n", headers=headers)


def etag(service: Service, version: int) -> str:
    """The entity tag of a conversation as 0.9 shows it."""
    return f'{service.etag(version)[:-1]}{MARK}"'


# --- what clients send ------------------------------------------------------------------------------------------------


def body_of(data: bytes) -> Any:
    """The JSON value of a body, whatever its content type is, in UTF-8, UTF-16 or UTF-32.

    Raises:
        OlderError: it is none.
    """
    try:
        return loads(data.decode(json.detect_encoding(data)).encode())
    except (InvalidJson, UnicodeError) as error:
        raise OlderError(f"The body is not JSON: {error}") from None


def events_of(given: Any) -> list[Event]:
    """The events in a list. What does not name its event at all is dropped, as ever.

    Raises:
        OlderError: it is no list, or something names an event and is none.
        TooManyEvents: there are more than MAX_EVENTS.
    """
    try:
        named = [item for item in given if "event" in item]
    except TypeError:
        raise OlderError(f"Events must be a list of objects, not {json.dumps(given)[:100]}") from None
    if len(named) > MAX_EVENTS:
        raise TooManyEvents(MAX_EVENTS, len(named))
    now = time.time()
    return [_event(item, now) for item in named]


def _event(item: Any, now: float) -> Event:
    try:
        event = from_wire(_with_value(item), now)
    except InvalidEvent as error:
        raise OlderError(f"This is no event: {error.message}") from None
    if isinstance(event, UserUttered):
        return _as_understood(event, item.get("parse_data"))
    if isinstance(event, ReminderScheduled) and item.get("action") is not None:
        return replace(event, metadata={**event.metadata, "action": item["action"]})
    return event


def _with_value(item: Any) -> Any:
    """The item; a slot that is set to nothing at all is emptied."""
    return {"value": None, **item} if isinstance(item, dict) and item["event"] == SlotSet.type else item


def _as_understood(event: UserUttered, parse_data: Any) -> UserUttered:
    """The message with its parse data as the client has given them."""
    if not parse_data or not {"intent", "entities"} <= parse_data.keys():
        raise OlderError("The parse_data of a user event must hold 'intent' and 'entities'.")
    return event if "text" in parse_data else replace(event, parse_data=_without(event.parse_data, ("text",)))


def _without(value: Json, keys: tuple[str, ...]) -> Json:
    return {key: item for key, item in value.items() if key not in keys}


# --- what they are told -----------------------------------------------------------------------------------------------


def state(tracker: Tracker, conversation: str, domain: Domain, events: Iterable[Event] | None = None) -> Json:
    """A conversation's state; without `events` they are null."""
    return {
        "sender_id": conversation,
        "slots": {name: value for name, value in tracker.slots.items() if _is_shown(name, domain)},
        "latest_message": _without(tracker.latest_message, _ADDED),
        "latest_event_time": tracker.latest_event_time,
        "paused": tracker.paused,
        "events": None if events is None else [shown for event in events if (shown := _shown(event))],
    }


def _is_shown(slot: str, domain: Domain) -> bool:
    return slot in domain.filled_slots or slot not in (REQUESTED_SLOT, SESSION_METADATA_SLOT)


def _shown(event: Event) -> Json | None:
    """An event as 0.9 has it; None for one that it does not know."""
    fields = _fields(event)
    return None if fields is None else {"event": event.type, "timestamp": event.timestamp, **fields}


def _fields(event: Event) -> Json | None:
    match event:
        case UserUttered():
            return {"text": event.text, "parse_data": _without(event.parse_data, _ADDED)}
        case ActionExecuted():
            return {"name": event.name}
        case SlotSet():
            return {"name": event.name, "value": event.value}
        case BotUttered():
            return {"text": event.text, "data": _contents(event.data)}
        case AgentUttered():
            return {"text": event.text, "data": event.data}
        case ReminderScheduled():
            return _reminder(event)
    return {} if event.type in _SILENT else None


def _contents(data: Any) -> Any:
    """What a message has beside its text, null when that is nothing; an image is an attachment."""
    if not isinstance(data, dict):
        return data
    said = {key: value for key, value in data.items() if value is not None or key not in _CONTENTS}
    if said.get("image") is not None and said.get("image") == said.get("attachment"):
        del said["image"]
    return said or None


def _reminder(event: ReminderScheduled) -> Json:
    return {
        "action": event.metadata.get("action"),
        "date_time": event.date_time[:_SECONDS],
        "name": event.name,
        "kill_on_user_msg": event.kill_on_user_msg,
    }


# --- messages ---------------------------------------------------------------------------------------------------------


def messages_of(event: BotUttered, recipient: str) -> Iterator[Json]:
    """The messages that one event makes, in the order in which they are sent; none when it says nothing.

    Elements stand for the text; what there is to choose is called `data`.
    """
    said = whole_message(event)
    for message in _parts(said):
        yield {"recipient_id": recipient, **message}


def _parts(said: Json) -> Iterator[Json]:
    choices = said.get("quick_replies") or said.get("buttons")
    if elements := [element for element in said.get("elements") or () if isinstance(element, dict)]:
        yield from map(_element, elements)
    elif choices:
        yield {"text": said.get("text"), "data": choices}
    elif text := said.get("text"):
        yield from ({"text": paragraph} for paragraph in str(text).split("\n\n"))
    if custom := said.get("custom"):
        yield {"custom": custom}
    if attachment := said.get("image") or said.get("attachment"):
        yield {"text": f"Image: {attachment}"}


def _element(element: Json) -> Json:
    text = f"{element.get('title', '')} : {element.get('subtitle', '')}"
    return {"text": text, "data": element.get("buttons", [])}
