"""The events of a conversation, and the one codec that knows their JSON.

An event is a frozen value. From outside it comes as a JSON object whose `event` names its type; extra keys are dropped.
Its own JSON has `event` and `timestamp` first; `metadata` only when there is some, but always for what was said.
"""

from __future__ import annotations

import sys
import uuid
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from dateutil import parser as dates
from dateutil import tz
from msgspec import UNSET, UnsetType

from dialogue.faults import InvalidEvent, explained, short
from dialogue.json import dumps, loads, loads_slowly, refuse_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

SCHEMA_VERSION = 1
"""The version of the JSON that `encode` writes; it counts on when a stored event's meaning changes."""

Json = dict[str, Any]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What all events have. `type` is the name on the wire; `timestamp` is in seconds since 1970, as it was given."""

    type: ClassVar[str]
    shows_metadata: ClassVar[bool] = False
    omits_null: ClassVar[bool] = False

    timestamp: int | float
    metadata: Json


class UserUttered(Event, frozen=True, kw_only=True):
    """The user said something; `parse_data` is what the NLU made of it, with text, id, intent and entities."""

    type: ClassVar[str] = "user"
    shows_metadata: ClassVar[bool] = True

    text: str | None = None
    parse_data: Json = {}
    input_channel: str | None = None
    message_id: str | None = None


class BotUttered(Event, frozen=True, kw_only=True):
    """The bot said something. Clients put anything into `text` and `data`, and it is kept."""

    type: ClassVar[str] = "bot"
    shows_metadata: ClassVar[bool] = True

    text: Any = None
    data: Any = None


class ActionExecuted(Event, frozen=True, kw_only=True):
    """An action ran, or (with `action_text`) the bot's answer was predicted as text."""

    type: ClassVar[str] = "action"

    name: str | None = None
    policy: str | None = None
    confidence: int | float | None = None
    action_text: str | None = None
    hide_rule_turn: bool = False


class SlotSet(Event, frozen=True, kw_only=True):
    """A slot got a value, of any JSON type whatever the slot's type is."""

    type: ClassVar[str] = "slot"

    name: str
    value: Any


class EntitiesAdded(Event, frozen=True, kw_only=True):
    """Entities were found later, and belong to the latest message."""

    type: ClassVar[str] = "entities"

    entities: list[Json]


class UserFeaturization(Event, frozen=True, kw_only=True):
    """Whether the latest message counts by its text rather than by its intent."""

    type: ClassVar[str] = "user_featurization"

    use_text_for_featurization: Any = None


class ReminderScheduled(Event, frozen=True, kw_only=True):
    """An intent shall be triggered at `date_time`, an ISO 8601 text."""

    type: ClassVar[str] = "reminder"

    intent: Any = None
    date_time: Any = None
    entities: Any = None
    name: Any = None
    kill_on_user_msg: Any = True


class ReminderCancelled(Event, frozen=True, kw_only=True):
    """Reminders that match what is given shall not be triggered. Rasa loses the fields; we show those that are set."""

    type: ClassVar[str] = "cancel_reminder"
    omits_null: ClassVar[bool] = True

    name: Any = None
    intent: Any = None
    entities: Any = None


class StoryExported(Event, frozen=True, kw_only=True):
    """Somebody asked for the story in a file. It is recorded and never written: a client does not name our files."""

    type: ClassVar[str] = "export"
    omits_null: ClassVar[bool] = True

    path: Any = None


class FollowupAction(Event, frozen=True, kw_only=True):
    """The next action is given, not predicted."""

    type: ClassVar[str] = "followup"

    name: Any = None


class ActiveLoop(Event, frozen=True, kw_only=True):
    """A loop (a form) began, or with no name ended. Old clients call it `form`."""

    type: ClassVar[str] = "active_loop"

    name: Any = None


class LoopInterrupted(Event, frozen=True, kw_only=True):
    """The active loop was left for a moment, or not. Old clients send it as `form_validation`."""

    type: ClassVar[str] = "loop_interrupted"

    is_interrupted: Any = False


class ActionExecutionRejected(Event, frozen=True, kw_only=True):
    """An action refused to run."""

    type: ClassVar[str] = "action_execution_rejected"

    name: Any = None
    policy: Any = None
    confidence: Any = None


class AgentUttered(Event, frozen=True, kw_only=True):
    """A human agent said something."""

    type: ClassVar[str] = "agent"

    text: Any = None
    data: Any = None


class SlotsReset(Event, frozen=True, kw_only=True):
    """All slots are back at their initial values."""

    type: ClassVar[str] = "reset_slots"


class Restarted(Event, frozen=True, kw_only=True):
    """The conversation begins anew."""

    type: ClassVar[str] = "restart"


class SessionStarted(Event, frozen=True, kw_only=True):
    """A session begins."""

    type: ClassVar[str] = "session_started"


class ConversationPaused(Event, frozen=True, kw_only=True):
    """The bot stops to answer."""

    type: ClassVar[str] = "pause"


class ConversationResumed(Event, frozen=True, kw_only=True):
    """The bot answers again."""

    type: ClassVar[str] = "resume"


class UserUtteranceReverted(Event, frozen=True, kw_only=True):
    """The last message of the user, and all that followed, is taken back."""

    type: ClassVar[str] = "rewind"


class ActionReverted(Event, frozen=True, kw_only=True):
    """The last action, and all that followed, is taken back."""

    type: ClassVar[str] = "undo"


class TrackerReplaced(Event, frozen=True, kw_only=True):
    """A client replaced the whole conversation; what follows is a new generation. Ours; not accepted from outside."""

    type: ClassVar[str] = "tracker_replaced"


class UnknownEvent(Event, frozen=True, kw_only=True):
    """A stored event whose type this version does not know: kept, skipped by the fold, shown as it is."""

    type: str  # type: ignore[misc]  # here alone the name differs from value to value
    wire: Json


_POSTABLE: tuple[type[Event], ...] = (
    UserUttered,
    BotUttered,
    ActionExecuted,
    SlotSet,
    EntitiesAdded,
    UserFeaturization,
    ReminderScheduled,
    ReminderCancelled,
    StoryExported,
    FollowupAction,
    ActiveLoop,
    LoopInterrupted,
    ActionExecutionRejected,
    AgentUttered,
    SlotsReset,
    Restarted,
    SessionStarted,
    ConversationPaused,
    ConversationResumed,
    UserUtteranceReverted,
    ActionReverted,
)


def _shape(tag: str, event: type[Event], fields: tuple[msgspec.structs.FieldInfo, ...]) -> Any:
    """What an event looks like from outside: as its class, but time and metadata may be missing or null."""
    return msgspec.defstruct(
        f"Posted_{tag}",
        [
            ("timestamp", int | float | None, None),
            ("metadata", dict[str, Any] | None, None),
            *((field.name, field.type, _default(field)) for field in fields),
        ],
        tag_field="event",
        tag=tag,
        kw_only=True,
        namespace={"event_class": event},
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field() if field.required else msgspec.field(default=field.default)


def _own_fields(event: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return tuple(field for field in msgspec.structs.fields(event) if field.name not in ("timestamp", "metadata"))


class _LegacyValidation(msgspec.Struct):
    validate: Any = True


_SHAPES: dict[str, Any] = {event.type: _shape(event.type, event, _own_fields(event)) for event in _POSTABLE} | {
    "form": _shape("form", ActiveLoop, _own_fields(ActiveLoop)),
    "form_validation": _shape("form_validation", LoopInterrupted, _own_fields(_LegacyValidation)),
}
_POSTED: Any = reduce(or_, _SHAPES.values())
_POSTED_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[_POSTED] | _POSTED)
_STORED_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    event.type: msgspec.json.Decoder(_SHAPES[event.type]) for event in _POSTABLE
}


class _Intent(msgspec.Struct):
    name: str | UnsetType | None = UNSET
    confidence: int | float | UnsetType = UNSET


class _Entity(msgspec.Struct):
    entity: str
    value: Any
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    confidence: int | float | UnsetType = UNSET
    extractor: str | UnsetType | None = UNSET
    role: str | UnsetType | None = UNSET
    group: str | UnsetType | None = UNSET


class _ParseData(msgspec.Struct):
    text: str | UnsetType | None = UNSET
    intent: _Intent | UnsetType = UNSET
    intent_ranking: list[_Intent] | UnsetType = UNSET
    entities: list[_Entity] | UnsetType = UNSET
    response_selector: Json | UnsetType = UNSET


def decode_posted(body: bytes, now: float) -> list[Event]:
    """Return the events of an HTTP body: one JSON object, or a list of them.

    An event without a time gets `now`. What stands under keys that no event has is dropped, unread.

    Raises InvalidJson for what is not JSON, InvalidEvent for the first object that is no event.
    """
    refuse_depth(body)
    try:
        posted = _POSTED_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The shapes refuse more than JSON does, and lone surrogates; the slow way decides, and can say what is wrong.
        return _decode_slowly(body, now)
    if not isinstance(posted, list):
        return [_built(posted, now)]
    return [_at(index, _built, shape, now) for index, shape in enumerate(posted)]


def from_wire(item: Any, now: float) -> Event:
    """Return the event that one parsed JSON value is, by the rules of `decode_posted`. Raises InvalidEvent."""
    if not isinstance(item, dict):
        raise InvalidEvent(f"{short(item)} is not of type 'object'")
    if "event" not in item:
        raise InvalidEvent("'event' is a required property")
    name = item["event"]
    shape = _SHAPES.get(name) if isinstance(name, str) else None
    if shape is None:
        raise InvalidEvent(f"{short(item)} is not valid under any of the given schemas", ["event"])
    return _built(_shaped(item, shape), now)


def _decode_slowly(body: bytes, now: float) -> list[Event]:
    value = loads_slowly(body)
    if not isinstance(value, list):
        return [from_wire(value, now)]
    return [_at(index, from_wire, item, now) for index, item in enumerate(value)]


def _at(index: int, build: Callable[[Any, float], Event], item: Any, now: float) -> Event:
    try:
        return build(item, now)
    except InvalidEvent as error:
        raise error.under(index) from None


def _shaped(item: Json, shape: Any) -> Any:
    # Only the known keys: msgspec cannot look at a key that is no UTF-8.
    known = {name: item[name] for name in ("event", *shape.__struct_fields__) if name in item}
    try:
        return msgspec.convert(known, shape)
    except msgspec.ValidationError as error:
        fault = explained(error, item)
        if fault.path[:1] in (["timestamp"], ["metadata"]):
            raise fault from None
        message = f"{short(item)} is not valid under any of the given schemas: {fault.message}"
        raise InvalidEvent(message, fault.path) from None


# --- from a shape to an event -----------------------------------------------------------------------------------------


def _built(shape: Any, now: float) -> Event:
    fields = msgspec.structs.asdict(shape)
    timestamp = fields["timestamp"] or now
    if not -sys.float_info.max <= timestamp <= sys.float_info.max:
        raise InvalidEvent(f"{short(timestamp)} is not a finite number", ["timestamp"])
    fields["timestamp"] = timestamp
    fields["metadata"] = fields["metadata"] or {}
    finish = _FINISH.get(type(shape))
    if finish is not None:
        finish(fields)
    event: Event = shape.event_class(**fields)
    return event


def _finish_user(fields: Json) -> None:
    given = fields["parse_data"]
    _check(given, _ParseData, "parse_data")
    fields["parse_data"] = {
        "intent": {},
        "entities": [],
        "text": fields["text"],
        "message_id": fields["message_id"],
        "metadata": fields["metadata"],
        **given,
    }


def _finish_bot(fields: Json) -> None:
    fields["data"] = fields["data"] or {}


def _finish_action(fields: Json) -> None:
    if fields["name"] is None and fields["action_text"] is None:
        raise InvalidEvent("an action needs 'name' or 'action_text', and both are missing", ["name"])


def _finish_entities(fields: Json) -> None:
    _check(fields["entities"], list[_Entity], "entities")


def _finish_reminder(fields: Json) -> None:
    fields["date_time"] = _iso_date(fields["date_time"])
    if fields["name"] is None:
        fields["name"] = str(uuid.uuid1())


def _finish_validation(fields: Json) -> None:
    fields["is_interrupted"] = not fields.pop("validate")


_FINISH: dict[type, Callable[[Json], None]] = {
    _SHAPES["user"]: _finish_user,
    _SHAPES["bot"]: _finish_bot,
    _SHAPES["action"]: _finish_action,
    _SHAPES["entities"]: _finish_entities,
    _SHAPES["reminder"]: _finish_reminder,
    _SHAPES["form_validation"]: _finish_validation,
}


def _check(value: Any, shape: Any, key: str) -> None:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise explained(error, value).under(key) from None
    except UnicodeEncodeError:
        _check(_without_odd_keys(value, _CHECKED_LEVELS), shape, key)


_CHECKED_LEVELS = 3


def _without_odd_keys(value: Any, levels: int) -> Any:
    """A copy without keys that hold lone surrogates: no rule speaks of such a key, and msgspec cannot look at it."""
    if levels == 0:
        return value
    if isinstance(value, dict):
        return {key: _without_odd_keys(item, levels - 1) for key, item in value.items() if key.isprintable()}
    if isinstance(value, list):
        return [_without_odd_keys(item, levels - 1) for item in value]
    return value


_LONGEST_DATE = 100


def _iso_date(text: Any) -> str:
    """The ISO 8601 form of any date that dateutil understands; without an offset it stays without."""
    if not isinstance(text, str) or len(text) > _LONGEST_DATE:
        raise InvalidEvent(f"{short(text)} is not a date and time", ["date_time"])
    try:
        return dates.parse(text, tzinfos=_fixed_offset).isoformat()
    except (ValueError, OverflowError):
        raise InvalidEvent(f"{short(text)} is not a date and time", ["date_time"]) from None


def _fixed_offset(name: str | None, offset: int | None) -> tzinfo | None:
    """Only offsets in numbers count: names of zones would mean something else on every machine."""
    return None if offset is None else tz.tzoffset(None, offset)


# --- out --------------------------------------------------------------------------------------------------------------


def to_wire(event: Event) -> Json:
    """Return an event's JSON object, its keys in Rasa's order. The values are the event's own: treat them as frozen."""
    if isinstance(event, UnknownEvent):
        return event.wire
    wire = {"event": event.type, **msgspec.structs.asdict(event)}
    if not event.metadata:
        del wire["metadata"]
        if event.shows_metadata:
            wire["metadata"] = {}
    if event.omits_null:
        return {name: value for name, value in wire.items() if value is not None}
    return wire


def encode(event: Event) -> str:
    """Return an event's canonical JSON text, the one that is stored, shown and published."""
    return dumps(to_wire(event))


def decode_stored(type: str, schema_version: int, body: str) -> Event:  # noqa: A002 - the column's name
    """Return the event that `encode` wrote; one of a type that is not known here as an UnknownEvent.

    Raises InvalidEvent for a body that does not fit its type, or one written by a later version of this program.
    """
    if schema_version > SCHEMA_VERSION:
        raise InvalidEvent(f"schema version {schema_version} of a {short(type)} event; known here: {SCHEMA_VERSION}")
    decoder = _STORED_DECODERS.get(type)
    if decoder is None:
        return _stored_other(type, _object(type, loads(body.encode())))
    try:
        shape = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        shape = _shaped(_object(type, loads_slowly(body.encode())), _SHAPES[type])
    fields = msgspec.structs.asdict(shape)
    fields["metadata"] = fields["metadata"] or {}
    event: Event = shape.event_class(**fields)
    return event


def _object(name: str, wire: Any) -> Json:
    if not isinstance(wire, dict):
        raise InvalidEvent(f"the body of a {short(name)} event is no object")
    return wire


def _stored_other(name: str, wire: Json) -> Event:
    timestamp, metadata = wire.get("timestamp", 0), wire.get("metadata", {})
    if name == TrackerReplaced.type:
        return TrackerReplaced(timestamp=timestamp, metadata=metadata)
    return UnknownEvent(timestamp=timestamp, metadata=metadata, type=name, wire=wire)


def stamp(event: Event, marks: Mapping[str, str]) -> Event:
    """Return the event with those of `marks` in its metadata that are not there yet (which model, which assistant).

    A user's parse data keeps the metadata that the message came with.
    """
    if isinstance(event, UnknownEvent) or marks.keys() <= event.metadata.keys():
        return event
    return msgspec.structs.replace(event, metadata={**event.metadata, **marks, **event.metadata})  # its own come first
