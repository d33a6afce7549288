"""Where a session begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialogue.events import ActionExecuted, SessionStarted, stamp
from dialogue.tracker import ACTION_LISTEN, ACTION_SESSION_START

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dialogue.events import Event


def session_start(timestamp: float, marks: Mapping[str, str]) -> tuple[Event, ...]:
    """Return the events with which a conversation's first session starts, `marks` in the metadata of each."""
    events = (
        ActionExecuted(timestamp=timestamp, metadata={}, name=ACTION_SESSION_START, confidence=1.0),
        SessionStarted(timestamp=timestamp, metadata={}),
        ActionExecuted(timestamp=timestamp, metadata={}, name=ACTION_LISTEN),
    )
    return tuple(stamp(event, marks) for event in events)


def starts_session(events: Sequence[Event]) -> bool:
    """Tell whether events begin with the start of a session: its action, and at once `session_started`."""
    return len(events) > 1 and begins_session(events[0]) and isinstance(events[1], SessionStarted)


def begins_session(event: Event) -> bool:
    """Tell whether this is the action with which a session begins."""
    return isinstance(event, ActionExecuted) and event.name == ACTION_SESSION_START
