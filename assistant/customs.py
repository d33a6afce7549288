"""How conversations go: how they open, what fills their slots, and in which order a turn is written down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from assistant.default_actions import new_session
from assistant.happening import happens
from assistant.session_start import start_session
from assistant.slot_extraction import extract_slots
from dialogue import ACTION_SESSION_START, ActionExecuted

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene
    from assistant.turn import Predictor
    from dialogue import Domain, Event
    from dialogue.events import Json


class Customs(Protocol):
    """What differs between the ages of Rasa."""

    def opening(self, scene: Scene) -> list[Event]:
        """The events that come before the next message where the project's own actions do not run; often none."""

    async def opened(self, scene: Scene, outside: Outside, metadata: Json | None) -> list[Event]:
        """The events that come before the next message; `metadata` came with it."""

    async def slots(self, scene: Scene, outside: Outside) -> list[Event]:
        """What follows from the latest message at once."""

    def ordered(self, executed: Event, events: list[Event]) -> list[Event]:
        """What is written down of an action that was `executed` and has brought about these `events`."""

    def predictor(self, policies: Predictor, domain: Domain) -> Predictor:
        """Who says which action comes next, where the policies say this."""


class Present(Customs):
    """As in Rasa 3: a conversation has sessions, and mappings say what fills a slot."""

    def opening(self, scene: Scene) -> list[Event]:
        """The start of a session, if one is due."""
        if not needs_session(scene, time.time()):
            return []
        return [happens(ActionExecuted, name=ACTION_SESSION_START, confidence=1.0), *new_session(scene)]

    async def opened(self, scene: Scene, outside: Outside, metadata: Json | None) -> list[Event]:
        """The start of a session, if one is due."""
        return await start_session(scene, outside, metadata) if needs_session(scene, time.time()) else []

    async def slots(self, scene: Scene, outside: Outside) -> list[Event]:
        """What custom actions say, and the slots."""
        return await extract_slots(scene, outside)

    def ordered(self, executed: Event, events: list[Event]) -> list[Event]:
        """The action first."""
        return [executed, *events]

    def predictor(self, policies: Predictor, domain: Domain) -> Predictor:
        """The policies."""
        return policies


PRESENT: Final = Present()


def needs_session(scene: Scene, now: float) -> bool:
    """Whether the next message begins a session: nothing counts so far, or the last message is too long ago."""
    if not scene.applied:
        return True
    last, minutes = scene.tracker.last_user_timestamp, scene.domain.session_expiration_minutes
    return last is not None and minutes > 0 and now - last > minutes * 60
