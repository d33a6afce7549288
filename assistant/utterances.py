"""Actions by which the bot says something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct

from assistant.happening import happens
from assistant.outside import ActionFailed
from assistant.wording import uttered
from dialogue import Event

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene

log = structlog.get_logger("turnlog.assistant")


class Say(Struct, frozen=True):
    """Say this text, which a story gives in place of an action's name."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """One message."""
        return [uttered({"text": self.name})]


class Utter(Struct, frozen=True):
    """Say a response of the domain; afterwards let happen what has no fields of its own, such as a rewind.

    Attributes:
        response: the response's name.
        then: kinds of the events that follow.
        optional: whether the bot may be silent, because the domain need not have this response.
    """

    name: str
    response: str
    then: tuple[type[Event], ...] = ()
    optional: bool = False

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """The message, if there is one, and what follows."""
        message = await outside.respond(self.response, scene)
        if message is None and not self.optional:
            log.error("nothing to say: the domain has no such response for this moment", response=self.response)
        return [event for event in (message, *map(happens, self.then)) if event is not None]


class Retrieve(Struct, frozen=True):
    """Say the response that the NLU selected for the latest message: `utter_faq` says `utter_faq/opening_hours`."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """One message.

        Raises ActionFailed when the NLU has selected nothing.
        """
        response = _selected(scene.tracker.latest_message, self.name.removeprefix("utter_"))
        if response is None:
            raise ActionFailed(f"{self.name!r} says what the NLU selects, and the message holds no response_selector")
        return await Utter(self.name, response).run(scene, outside)


def _selected(message: dict[str, Any], intent: str) -> str | None:
    selections = message.get("response_selector")
    if not isinstance(selections, dict):
        return None
    match selections.get(intent) or selections.get("default"):
        case {"response": {"utter_action": str(response)}}:
            return response
    return None
