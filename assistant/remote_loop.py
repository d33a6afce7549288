"""The loop of clients that run the actions themselves: a message comes in, and they are told the next action.

Nothing runs here: neither the project's own actions, nor those that every bot has.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from assistant.actions import UnknownAction
from assistant.happening import happens
from assistant.outside import ActionFailed, Outside
from assistant.turn import MESSAGE, may_act
from dialogue import ACTION_LISTEN, ActionExecuted, Restarted, Tracker
from dialogue.policies.prediction import Situation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assistant.customs import Customs
    from assistant.draft import Draft
    from assistant.scene import Scene
    from assistant.turn import Predictor
    from dialogue import BotUttered, Domain, Event, UserUttered

PAUSED: Final = "Bot is currently paused and no restart was received yet."
NOT_NEEDED: Final = (
    "You do not need to call continue after action listen got returned for the previous continue call. "
    "You are expected to call 'parse' with the next user message."
)
LEFT_OUT: Final = " The events of this request were left out."
_CONTINUED: Final = "continued"  # the step of a turn that writes what the client has done


class Told(Struct, frozen=True, kw_only=True):
    """What the client is told.

    Attributes:
        next_action: that it is to run; None when there is nothing to do.
        info: why there is nothing to do.
        tracker: the conversation as it is now.
    """

    next_action: str | None
    info: str | None = None
    tracker: Tracker


class RemoteLoop:
    """Carries the client's requests out, each on its draft."""

    def __init__(self, domain: Domain, policies: Predictor, customs: Customs) -> None:
        self._domain, self._policies, self._customs = domain, policies, customs

    async def hear(self, draft: Draft, message: UserUttered) -> Told:
        """Take a message in with the slots that it fills, and say what is to be done."""
        draft.add(*self._customs.opening(draft.scene))
        draft.add(replace(message, timestamp=time.time()))
        draft.add(*await self._customs.slots(draft.scene, _NOBODY))
        draft.did(MESSAGE)
        return self._told(draft) if may_act(draft.scene) else _paused(draft.scene)

    async def go_on(self, draft: Draft, executed: str | None, events: Sequence[Event]) -> Told:
        """Write down what the client has done, and say what is to be done next.

        Raises:
            UnknownAction: the domain has no action of this name.
        """
        if executed is not None and executed not in self._domain.known_actions:
            raise UnknownAction(executed, self._domain)
        if not draft.scene.applied:
            draft.add(*self._customs.opening(draft.scene))
        if executed == ACTION_LISTEN:
            info = NOT_NEEDED + (LEFT_OUT if events else "")
            return Told(next_action=None, info=info, tracker=draft.scene.tracker)
        draft.add(*([happens(ActionExecuted, name=executed)] if executed else []), *events)
        draft.did(_CONTINUED)
        return self._told(draft, restarted=any(isinstance(event, Restarted) for event in events))

    def again(self, scene: Scene) -> Told:
        """What was told when the conversation came to this moment: for who asks for the same once more."""
        last = scene.events[-1] if scene.events else None
        if isinstance(last, ActionExecuted) and last.name == ACTION_LISTEN:
            return Told(next_action=ACTION_LISTEN, tracker=scene.tracker)
        return Told(next_action=self._predicted(scene), tracker=scene.tracker)

    def heard_again(self, scene: Scene) -> Told:
        """The same for a message that was taken in."""
        return self.again(scene) if may_act(scene) else _paused(scene)

    def _told(self, draft: Draft, *, restarted: bool = False) -> Told:
        """The next action. That the bot listens is written down at once: there is nothing in it to be done."""
        action = ACTION_LISTEN if restarted else self._predicted(draft.scene)
        if action == ACTION_LISTEN:
            draft.add(happens(ActionExecuted, name=ACTION_LISTEN))
        return Told(next_action=action, tracker=draft.scene.tracker)

    def _predicted(self, scene: Scene) -> str:
        return self._policies.predict(Situation(scene.tracker, scene.since_reset)).action


def _paused(scene: Scene) -> Told:
    return Told(next_action=None, info=PAUSED, tracker=scene.tracker)


class _Nobody(Outside):
    """Who is asked for help where the client does all."""

    async def call(self, action: str, scene: Scene) -> list[Event]:
        """Refuse."""
        raise ActionFailed(f"{action!r} is not run: the client runs the actions")

    async def respond(self, name: str, scene: Scene, arguments: Mapping[str, Any] | None = None) -> BotUttered | None:
        """Nothing is said."""
        return None


_NOBODY: Final = _Nobody()
