"""Conversations as they went in rasa_core 0.9: without sessions, and entities fill the slots of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from assistant.customs import Customs
from assistant.default_actions import ACTION_RESTART
from assistant.happening import happens
from assistant.turn import RESTART
from dialogue import ACTION_LISTEN, ACTION_SESSION_START, ActionExecuted, BotUttered, FollowupAction, SlotSet
from dialogue.policies.prediction import Prediction, Situation

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene
    from assistant.turn import Predictor
    from dialogue import Domain, Event
    from dialogue.events import Json


class Older(Customs):
    """As in rasa_core 0.9."""

    def opening(self, scene: Scene) -> list[Event]:
        """A new conversation begins with the bot listening; nothing ever begins it again but a restart."""
        return [] if scene.tracker.version else [happens(ActionExecuted, name=ACTION_LISTEN)]

    async def opened(self, scene: Scene, outside: Outside, metadata: Json | None) -> list[Event]:
        """The same."""
        return self.opening(scene)

    async def slots(self, scene: Scene, outside: Outside) -> list[Event]:
        """The slots that have the name of one of the message's entities, sorted."""
        entities = scene.tracker.latest_message.get("entities") or []
        found = [
            (name, [item.get("value") for item in entities if item.get("entity") == name], slot.type)
            for name, slot in sorted(scene.domain.filled_slots.items())
        ]
        return [
            happens(SlotSet, name=name, value=values if kind == "list" else values[-1])
            for name, values, kind in found
            if values
        ]

    def ordered(self, executed: Event, events: list[Event]) -> list[Event]:
        """What the bot says, then the action."""
        said = [event for event in events if isinstance(event, BotUttered)]
        return [*said, executed, *(event for event in events if not isinstance(event, BotUttered))]

    def predictor(self, policies: Predictor, domain: Domain) -> Predictor:
        """The policies, behind what is demanded."""
        return OlderPolicies(policies, domain)


class OlderPolicies:
    """Predicts as rasa_core 0.9: what was demanded, then what the intent `restart` demands, then the policies.

    They see a message at once, whatever the bot does, and no turn is hidden from them.
    """

    def __init__(self, policies: Predictor, domain: Domain) -> None:
        self._policies, self._domain = policies, domain

    def predict(self, situation: Situation) -> Prediction:
        """The next action. Right after a restart the bot listens, and no session begins."""
        tracker = situation.tracker
        if _is_demanded(situation):
            return self._policies.predict(situation)
        if tracker.followup_action == ACTION_SESSION_START and tracker.version == tracker.reset_version:
            return self._certain(ACTION_LISTEN)
        if (tracker.latest_message.get("intent") or {}).get("name") == RESTART:
            return self._certain(ACTION_RESTART)
        situation = Situation(replace(tracker, followup_action=None), situation.events, counts_at_once=True)
        return replace(self._policies.predict(situation), hides_rule_turn=False)

    def _certain(self, action: str) -> Prediction:
        scores = tuple(float(name == action) for name in self._domain.action_names)
        return Prediction(action=action, policy=None, confidence=1.0, scores=scores)


def _is_demanded(situation: Situation) -> bool:
    """Whether an event demands the next action: every tracker is made with such a demand, and reset with one."""
    action: Any = situation.tracker.followup_action
    demands = (event for event in situation.events if isinstance(event, FollowupAction))
    return action is not None and any(event.name == action for event in demands)
