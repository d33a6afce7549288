"""The tracker: a conversation's state, folded from its events.

Events take effect one after the other in the order of the log. A restart or a session start resets the state. When
something is taken back, the state is reset, and those events that still count take effect again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from dialogue.applied import applied
from dialogue.events import (
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    ConversationPaused,
    ConversationResumed,
    EntitiesAdded,
    FollowupAction,
    LoopInterrupted,
    Restarted,
    SessionStarted,
    SlotSet,
    SlotsReset,
    TrackerReplaced,
    UserUtteranceReverted,
    UserUttered,
)
from dialogue.json import dumps_quickly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dialogue.domain import Domain
    from dialogue.events import Event, Json

FOLD_VERSION = 1
"""Counts on whenever the same events give another state: a snapshot of another fold is of no use."""

ACTION_LISTEN = "action_listen"
ACTION_SESSION_START = "action_session_start"

_NO_MESSAGE: Json = {"intent": {}, "entities": [], "text": None, "message_id": None, "metadata": {}}


class Tracker(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation's state at a version: small, whole, without its events. Its values are shared: do not change them.

    Versions count the events of a conversation from 1, over all generations; 0 stands for none.
    """

    version: int
    slots: dict[str, Any]
    latest_message: dict[str, Any]
    """The parse data of the last user message that counts, with the entities that were added to it."""
    latest_event_time: int | float | None
    followup_action: Any
    paused: bool
    latest_input_channel: str | None
    """Of the last user message in this generation, whether it still counts or not."""
    active_loop: dict[str, Any]
    latest_action: dict[str, Any]

    generation_version: int
    """Of the event that began this generation by replacing the one before."""
    session_version: int
    """Of the last `action_session_start` in this generation."""
    session_started_version: int
    restart_version: int
    reset_version: int
    """Of the last restart or session start: only later events can still count."""
    max_timestamp: int | float | None
    """The largest of this generation."""
    loop_names: tuple[str, ...]
    """Every loop that was active in this generation, in order of appearance."""
    last_user_timestamp: int | float | None
    """Of the last user message that counts."""


def initial(domain: Domain) -> Tracker:
    """Return the tracker of a conversation without events."""
    return _fresh(domain, 0)


def needs_history(event: Event) -> bool:
    """Tell whether an event takes back others, so that the state after it depends on more than the state before."""
    return isinstance(event, ActionReverted | UserUtteranceReverted)


def evolve(tracker: Tracker, event: Event, domain: Domain) -> Tracker:
    """Return the tracker after one more event. Raises ValueError for one that needs history: `fold` takes those."""
    if type(event) in _REVERTS:
        raise ValueError(f"a {event.type!r} event takes back others; fold it with the history since the last reset")
    return _folded(tracker, (event,), domain)


def fold(tracker: Tracker, events: Iterable[Event], domain: Domain, history: Sequence[Event]) -> Tracker:
    """Return the tracker after these events.

    `history` are the events after `tracker.reset_version` up to `tracker.version`. They are looked at only when
    `events` take something back; otherwise the history may be empty.
    """
    tail = list(events)
    end = _after_last_revert(tail)
    if end:
        before, tail = tail[:end], tail[end:]
        tracker = _replayed(_folded(tracker, before, domain), [*history, *before], domain)
    return _folded(tracker, tail, domain)


def until(events: Iterable[Event], timestamp: float) -> int:
    """Return how many events make the state at a time: all before the first one that is later than it."""
    count = 0
    for event in events:
        if event.timestamp > timestamp:
            break
        count += 1
    return count


def document(tracker: Tracker, sender_id: str, events: str | None) -> str:
    """Return the state as the JSON text that clients get, in ASCII.

    `events` is the text of a JSON array of events and goes in as it is; None shows no events.
    """
    action = tracker.latest_action
    head = {
        "sender_id": sender_id,
        "slots": tracker.slots,
        "latest_message": tracker.latest_message,
        "latest_event_time": tracker.latest_event_time,
        "followup_action": tracker.followup_action,
        "paused": tracker.paused,
    }
    tail = {
        "latest_input_channel": tracker.latest_input_channel,
        "active_loop": tracker.active_loop,
        "latest_action": action,
        "latest_action_name": action.get("action_name") or action.get("action_text"),
    }
    shown = "null" if events is None else events
    return f'{dumps_quickly(head)[:-1]},"events":{shown},{dumps_quickly(tail)[1:]}'


# --- one event --------------------------------------------------------------------------------------------------------


class _Run:
    """One run of the fold. What it adds to, it copies once and then changes: nobody else has seen its copy.

    A copy for each event would make a list of events cost the square of its length.
    """

    def __init__(self) -> None:
        self._slots: Json | None = None
        self._entities: list[Json] | None = None
        self._known: set[Any] | None = None
        self._kept: tuple[Json, list[Json], int] | None = None
        self._loops: dict[str, None] | None = None

    def slots(self, tracker: Tracker) -> Json:
        """The tracker's slots, to be changed."""
        if tracker.slots is not self._slots:
            self._slots = dict(tracker.slots)
        return self._slots

    def with_entities(self, message: Json, more: Sequence[Json]) -> Json:
        """The message with those entities too that it does not have yet."""
        entities: list[Json] = message.get("entities") or []
        if entities is not self._entities:
            entities, self._known = list(entities), None
            self._entities = entities
        for entity in more:
            if not self._holds(entities, entity):
                entities.append(entity)
        return {**message, "entities": entities}

    def _holds(self, entities: list[Json], entity: Json) -> bool:
        if self._known is None:
            if len(entities) < _FEW:
                return entity in entities
            self._known = set(map(_hashable, entities))
        key = _hashable(entity)
        if key in self._known:
            return True
        self._known.add(key)
        return False

    def as_it_is(self, message: Json) -> Json:
        """The message, to be kept: entities that are added later do not show in it."""
        entities: list[Json] | None = message.get("entities")
        if not entities or entities is not self._entities:
            return message
        self._kept = {**message}, entities, len(entities)
        return self._kept[0]

    def add_loop(self, tracker: Tracker, name: str) -> None:
        if self._loops is None:
            self._loops = dict.fromkeys(tracker.loop_names)
        self._loops[name] = None

    def begin_generation(self) -> None:
        self._loops = None

    def end(self, tracker: Tracker) -> Tracker:
        """The tracker with the loops that were added, and with a kept message as it was: only the last one is left."""
        if self._kept is not None:
            message, entities, length = self._kept
            message["entities"] = entities[:length]
        if self._loops is None or len(self._loops) == len(tracker.loop_names):
            return tracker
        return replace(tracker, loop_names=tuple(self._loops))


_FEW = 100
"""So many entities are compared one by one."""


def _hashable(value: Any) -> Any:
    """Equal for equal JSON values, and only for them."""
    if isinstance(value, dict):
        return frozenset(zip(value, map(_hashable, value.values()), strict=True))
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return value


def _next(tracker: Tracker, event: Event, domain: Domain, run: _Run) -> Tracker:
    if type(event) is TrackerReplaced:
        run.begin_generation()
        return _fresh(domain, tracker.version + 1)
    effect = _EFFECTS.get(type(event))
    changes = effect(tracker, event, domain, run) if effect else {}
    latest = tracker.max_timestamp
    return replace(
        tracker,
        version=tracker.version + 1,
        latest_event_time=event.timestamp,
        max_timestamp=event.timestamp if latest is None or event.timestamp > latest else latest,
        **changes,
    )


def _folded(tracker: Tracker, events: Iterable[Event], domain: Domain) -> Tracker:
    run = _Run()
    for event in events:
        tracker = _next(tracker, event, domain, run)
    return run.end(tracker)


def _fresh(domain: Domain, version: int) -> Tracker:
    return Tracker(
        version=version,
        latest_event_time=None,
        latest_input_channel=None,
        generation_version=version,
        session_version=0,
        session_started_version=0,
        restart_version=0,
        reset_version=version,
        max_timestamp=None,
        loop_names=(),
        **_reset(domain),
    )


def _reset(domain: Domain) -> Json:
    return {
        "slots": domain.initial_slots,
        "latest_message": _NO_MESSAGE,
        "followup_action": ACTION_LISTEN,
        "paused": False,
        "active_loop": {},
        "latest_action": {},
        "last_user_timestamp": None,
    }


# --- taking back ------------------------------------------------------------------------------------------------------

_REVERTS = (ActionReverted, UserUtteranceReverted)


def _after_last_revert(events: Sequence[Event]) -> int:
    return next((index + 1 for index in reversed(range(len(events))) if type(events[index]) in _REVERTS), 0)


def _replayed(tracker: Tracker, events: Sequence[Event], domain: Domain) -> Tracker:
    """The tracker with the state that those events make which still count. What only grows stays as it is."""
    reset = _reset(domain)
    state, run = replace(tracker, **reset), _Run()
    for index in applied(enumerate(events), tracker.loop_names):
        effect = _EFFECTS.get(type(events[index]))
        if effect:
            state = replace(state, **effect(state, events[index], domain, run))
    state = run.end(state)
    return replace(tracker, **{field: getattr(state, field) for field in reset})


# --- effects: which fields of the tracker an event changes ------------------------------------------------------------


def _on_user(tracker: Tracker, event: UserUttered, domain: Domain, run: _Run) -> Json:
    return {
        "latest_message": event.parse_data,
        "latest_input_channel": event.input_channel,
        "followup_action": None,
        "last_user_timestamp": event.timestamp,
    }


def _on_action(tracker: Tracker, event: ActionExecuted, domain: Domain, run: _Run) -> Json:
    changes: Json = {
        "latest_action": {"action_name": event.name} if event.name else {"action_text": event.action_text},
        "followup_action": None,
    }
    loop = tracker.active_loop
    if loop:
        rejected = loop["rejected"] and event.name != loop["name"]
        changes["active_loop"] = {**loop, "is_interrupted": False, "rejected": rejected}
    if event.name == ACTION_SESSION_START:
        changes["session_version"] = tracker.version + 1
    return changes


def _on_slot(tracker: Tracker, event: SlotSet, domain: Domain, run: _Run) -> Json:
    slot = domain.slots.get(event.name)
    if slot is None and not domain.open_slots:
        return {}
    slots = run.slots(tracker)
    slots[event.name] = slot.holds(event.value) if slot else event.value
    return {"slots": slots}


def _on_entities(tracker: Tracker, event: EntitiesAdded, domain: Domain, run: _Run) -> Json:
    if tracker.latest_action.get("action_name") != ACTION_LISTEN:
        return {}
    return {"latest_message": run.with_entities(tracker.latest_message, event.entities)}


def _on_active_loop(tracker: Tracker, event: ActiveLoop, domain: Domain, run: _Run) -> Json:
    if event.name is None:
        return {"active_loop": {}}
    loop = {
        "name": event.name,
        "is_interrupted": False,
        "rejected": False,
        "trigger_message": run.as_it_is(tracker.latest_message),
    }
    if isinstance(event.name, str):
        run.add_loop(tracker, event.name)
    return {"active_loop": loop}


def _on_interrupted(tracker: Tracker, event: LoopInterrupted, domain: Domain, run: _Run) -> Json:
    loop = tracker.active_loop
    return {"active_loop": {**loop, "is_interrupted": event.is_interrupted}} if loop else {}


def _on_rejected(tracker: Tracker, event: ActionExecutionRejected, domain: Domain, run: _Run) -> Json:
    loop = tracker.active_loop
    return {"active_loop": {**loop, "rejected": True}} if loop and loop["name"] == event.name else {}


def _on_restart(tracker: Tracker, event: Restarted, domain: Domain, run: _Run) -> Json:
    version = tracker.version + 1
    return {
        **_reset(domain),
        "followup_action": ACTION_SESSION_START,
        "restart_version": version,
        "reset_version": version,
    }


def _on_session(tracker: Tracker, event: SessionStarted, domain: Domain, run: _Run) -> Json:
    version = tracker.version + 1
    return {**_reset(domain), "session_started_version": version, "reset_version": version}


def _on_slots_reset(tracker: Tracker, event: SlotsReset, domain: Domain, run: _Run) -> Json:
    return {"slots": domain.initial_slots}


def _on_followup(tracker: Tracker, event: FollowupAction, domain: Domain, run: _Run) -> Json:
    return {"followup_action": event.name}


def _on_pause(tracker: Tracker, event: ConversationPaused, domain: Domain, run: _Run) -> Json:
    return {"paused": True}


def _on_resume(tracker: Tracker, event: ConversationResumed, domain: Domain, run: _Run) -> Json:
    return {"paused": False}


_EFFECTS: dict[type[Event], Callable[[Tracker, Any, Domain, _Run], Json]] = {
    UserUttered: _on_user,
    ActionExecuted: _on_action,
    SlotSet: _on_slot,
    EntitiesAdded: _on_entities,
    ActiveLoop: _on_active_loop,
    LoopInterrupted: _on_interrupted,
    ActionExecutionRejected: _on_rejected,
    Restarted: _on_restart,
    SessionStarted: _on_session,
    SlotsReset: _on_slots_reset,
    FollowupAction: _on_followup,
    ConversationPaused: _on_pause,
    ConversationResumed: _on_resume,
}
