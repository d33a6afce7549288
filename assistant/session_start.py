"""Starting a session before anything else is done with a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from assistant.actions import action_of
from assistant.happening import happens
from assistant.outside import ActionFailed, ActionRejected
from dialogue import ACTION_SESSION_START, ActionExecuted, ActionExecutionRejected, SlotSet
from dialogue.domain import SESSION_METADATA_SLOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event

log = structlog.get_logger("turnlog.assistant")


async def start_session(scene: Scene, outside: Outside, metadata: Mapping[str, Any] | None = None) -> list[Event]:
    """Return the events with which a new session of this conversation starts, the `action` event among them.

    `metadata` came with the request; if there is any, it comes first, in a slot of its own.
    A project's own `action_session_start` that fails leaves the `action` event alone.
    """
    given: list[Event] = [happens(SlotSet, name=SESSION_METADATA_SLOT, value=dict(metadata))] if metadata else []
    try:
        events = await action_of(ACTION_SESSION_START, scene.domain).run(scene.after(given), outside)
    except ActionRejected:
        return [*given, happens(ActionExecutionRejected, name=ACTION_SESSION_START, confidence=1.0)]
    except ActionFailed as error:
        log.error("the session starts without what its action would do", reason=str(error))
        events = []
    return [*given, happens(ActionExecuted, name=ACTION_SESSION_START, confidence=1.0), *events]
