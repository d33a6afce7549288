"""The actions that every bot has, and how a session starts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from assistant.happening import happens
from assistant.slot_extraction import ACTION_EXTRACT_SLOTS, extract_slots
from assistant.utterances import Utter
from assistant.wording import uttered
from dialogue import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActiveLoop,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUtteranceReverted,
)
from dialogue.domain import REQUESTED_SLOT

if TYPE_CHECKING:
    from assistant.action import Action
    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event

ACTION_RESTART: Final = "action_restart"
ACTION_BACK: Final = "action_back"
ACTION_DEFAULT_FALLBACK: Final = "action_default_fallback"
ACTION_DEACTIVATE_LOOP: Final = "action_deactivate_loop"
ACTION_ASK_AFFIRMATION: Final = "action_default_ask_affirmation"
ACTION_ASK_REPHRASE: Final = "action_default_ask_rephrase"
ACTION_REVERT_FALLBACK: Final = "action_revert_fallback_events"
ACTION_UNLIKELY_INTENT: Final = "action_unlikely_intent"
RULE_SNIPPET: Final = "..."

NLU_FALLBACK: Final = "nlu_fallback"
OUT_OF_SCOPE: Final = "out_of_scope"


class Nothing(Struct, frozen=True):
    """An action that only stands in the log."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """Nothing happens."""
        return []


class StartSession(Struct, frozen=True):
    """Begin a new session; take along the slots that were set in the one before, if the domain says so."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """The session's start, the slots, and that the bot listens."""
        return new_session(scene)


def new_session(scene: Scene) -> list[Event]:
    """The events that follow the action with which a session starts, where a project has none of its own for it."""
    carried = [event for event in scene.applied if isinstance(event, SlotSet)] if scene.domain.carry_over_slots else []
    again = [replace(event, timestamp=time.time()) for event in carried]
    return [happens(SessionStarted), *again, happens(ActionExecuted, name=ACTION_LISTEN)]


class DeactivateLoop(Struct, frozen=True):
    """Leave the active loop."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """No loop, and no slot that is asked for."""
        return [happens(ActiveLoop), happens(SlotSet, name=REQUESTED_SLOT, value=None)]


class AskAffirmation(Struct, frozen=True):
    """Ask whether the intent was understood rightly."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """A question with two buttons."""
        intent = _likeliest_intent(scene)
        buttons = [{"title": "Yes", "payload": f"/{intent}"}, {"title": "No", "payload": f"/{OUT_OF_SCOPE}"}]
        return [uttered({"text": f"Did you mean '{intent}'?", "buttons": buttons, "utter_action": self.name})]


def _likeliest_intent(scene: Scene) -> str | None:
    """The latest message's intent, or that which a fallback has pushed aside."""
    ranking = scene.tracker.latest_message.get("intent_ranking") or []
    if scene.intent == NLU_FALLBACK and len(ranking) > 1:
        return cast("str | None", ranking[1].get("name"))
    return scene.intent


class ExtractSlots(Struct, frozen=True):
    """Fill slots from the latest message; it runs so with every message, here it was asked for by name."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """The slots, and what custom actions say."""
        return await extract_slots(scene, outside)


def _by_name(*actions: Action) -> dict[str, Action]:
    return {action.name: action for action in actions}


DEFAULT_ACTIONS: Final = _by_name(
    Nothing(ACTION_LISTEN),
    Utter(ACTION_RESTART, "utter_restart", (Restarted,), optional=True),
    StartSession(ACTION_SESSION_START),
    Utter(ACTION_DEFAULT_FALLBACK, "utter_default", (UserUtteranceReverted,), optional=True),
    DeactivateLoop(ACTION_DEACTIVATE_LOOP),
    Nothing(ACTION_REVERT_FALLBACK),
    AskAffirmation(ACTION_ASK_AFFIRMATION),
    Utter(ACTION_ASK_REPHRASE, "utter_ask_rephrase", optional=True),
    Nothing(ACTION_UNLIKELY_INTENT),
    Utter(ACTION_BACK, "utter_back", (UserUtteranceReverted, UserUtteranceReverted), optional=True),
    Nothing(RULE_SNIPPET),
    ExtractSlots(ACTION_EXTRACT_SLOTS),
)
"""All but the two-stage fallback, which runs others of them."""
