"""The rules of a conversation told once more, in the plainest way: all events kept, everything recomputed.

Slow and mutable; it shares nothing with the fold but the event types.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from dialogue import (
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
    UserFeaturization,
    UserUtteranceReverted,
    UserUttered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import Domain, Event

State = dict[str, Any]


def generation(events: Sequence[Event]) -> list[Event]:
    """The events after the last replacement."""
    starts = [index + 1 for index, event in enumerate(events) if isinstance(event, TrackerReplaced)]
    return list(events[starts[-1] if starts else 0 :])


def loops(events: Sequence[Event]) -> set[str]:
    return {event.name for event in generation(events) if isinstance(event, ActiveLoop) and event.name is not None}


def applied(events: Sequence[Event]) -> list[Event]:
    names = loops(events)
    kept: list[Event] = []
    for event in generation(events):
        if isinstance(event, Restarted | SessionStarted):
            kept = []
        elif isinstance(event, ActionReverted):
            _cut(kept, ActionExecuted)
        elif isinstance(event, UserUtteranceReverted):
            _cut(kept, UserUttered)
            _cut(kept, ActionExecuted)
        elif isinstance(event, ActionExecuted) and event.name in names and _repeats(kept, event.name):
            _drop_since_run(kept, event.name)
        else:
            kept.append(event)
    return kept


def _cut(kept: list[Event], kind: type[Event]) -> None:
    while kept and not isinstance(kept.pop(), kind):
        pass


def _repeats(kept: list[Event], loop: str | None) -> bool:
    following = None
    for event in reversed(kept):
        if isinstance(event, ActiveLoop) and event.name is None:
            return False
        if isinstance(event, ActionExecutionRejected) and event.name == loop:
            return False
        if isinstance(event, UserUttered) and following not in (None, loop):
            return False
        if isinstance(event, ActionExecuted):
            if event.name == loop:
                return True
            following = event.name
    return False


def _drop_since_run(kept: list[Event], loop: str | None) -> None:
    for index in reversed(range(len(kept))):
        event = kept[index]
        if isinstance(event, ActionExecuted) and event.name == loop:
            return
        if isinstance(event, ActionExecuted | UserUttered | UserFeaturization):
            del kept[index]


def state(events: Sequence[Event], domain: Domain) -> State:
    """What clients see of the state, but for its events."""
    result = _fresh(domain)
    own = generation(events)
    for index, event in enumerate(own):
        if isinstance(event, ActionReverted | UserUtteranceReverted):
            result = _fresh(domain)
            for kept in applied(own[: index + 1]):
                _apply(result, kept, domain)
        else:
            _apply(result, event, domain)
    heard = [event for event in own if isinstance(event, UserUttered)]
    result["latest_input_channel"] = heard[-1].input_channel if heard else None
    result["latest_event_time"] = own[-1].timestamp if own else None
    return result


def _fresh(domain: Domain) -> State:
    return {
        "slots": dict(domain.initial_slots),
        "latest_message": {"intent": {}, "entities": [], "text": None, "message_id": None, "metadata": {}},
        "followup_action": "action_listen",
        "paused": False,
        "active_loop": {},
        "latest_action": {},
    }


def _apply(state: State, event: Event, domain: Domain) -> None:
    loop = state["active_loop"]
    match event:
        case Restarted():
            state.update(_fresh(domain), followup_action="action_session_start")
        case SessionStarted():
            state.update(_fresh(domain))
        case UserUttered():
            state.update(latest_message=copy.deepcopy(event.parse_data), followup_action=None)
        case ActionExecuted():
            state["latest_action"] = {"action_name": event.name} if event.name else {"action_text": event.action_text}
            state["followup_action"] = None
            if loop:
                loop["is_interrupted"] = False
                loop["rejected"] = loop["rejected"] and event.name != loop["name"]
        case SlotSet() if event.name in domain.slots:
            wrapped = domain.slots[event.name].type == "list" and event.value and not isinstance(event.value, list)
            state["slots"][event.name] = [event.value] if wrapped else event.value
        case SlotSet() if domain.open_slots:
            state["slots"][event.name] = event.value
        case SlotsReset():
            state["slots"] = dict(domain.initial_slots)
        case EntitiesAdded() if state["latest_action"] == {"action_name": "action_listen"}:
            known = state["latest_message"]["entities"]
            known.extend(entity for entity in event.entities if entity not in known)
        case ActiveLoop():
            trigger = copy.deepcopy(state["latest_message"])
            begun = {"name": event.name, "is_interrupted": False, "rejected": False, "trigger_message": trigger}
            state["active_loop"] = {} if event.name is None else begun
        case LoopInterrupted() if loop:
            loop["is_interrupted"] = event.is_interrupted
        case ActionExecutionRejected() if loop and loop["name"] == event.name:
            loop["rejected"] = True
        case FollowupAction():
            state["followup_action"] = event.name
        case ConversationPaused():
            state["paused"] = True
        case ConversationResumed():
            state["paused"] = False
