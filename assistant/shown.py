"""A conversation as other servers are shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dialogue
from dialogue import SessionStarted, begins_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.scene import Scene
    from dialogue import Event


def shown(scene: Scene) -> str:
    """The state with all events of the current session, also those that were taken back; a JSON text."""
    events = scene.events[_session(scene.events) :]
    return dialogue.document(scene.tracker, scene.sender, f"[{','.join(map(dialogue.encode, events))}]")


def _session(events: Sequence[Event]) -> int:
    """Where the current session begins: at the action that led to the last `session_started`."""
    before = range(len(events) - 1, -1, -1)
    started = next((index for index in before if isinstance(events[index], SessionStarted)), 0)
    return next((index for index in before[len(events) - 1 - started :] if begins_session(events[index])), started)
