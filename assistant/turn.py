"""The turn of a conversation: from a message to the action that waits for the next one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from msgspec.structs import replace

from assistant.actions import action_of
from assistant.customs import PRESENT
from assistant.happening import happens
from assistant.outside import ActionFailed, ActionRejected
from dialogue import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActionExecutionRejected,
    LoopInterrupted,
    UserFeaturization,
    UserUttered,
)
from dialogue.policies.prediction import Prediction, Situation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.customs import Customs
    from assistant.draft import Draft
    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Domain, Event
    from dialogue.events import Json

log = structlog.get_logger("turnlog.assistant")

MESSAGE: Final = "message"  #: the step of a turn that takes the message in
EXECUTION: Final = "execution"  #: the step of a turn that only runs an action
RESTART: Final = "restart"
_LAST: Final = (ACTION_LISTEN, ACTION_SESSION_START)  # with these a turn ends


class Predictor(Protocol):
    """Who says which action comes next."""

    def predict(self, situation: Situation) -> Prediction:
        """The next action."""


class TurnTaker:
    """Carries turns out, each on its draft, with what it needs from outside. Does nothing by itself."""

    def __init__(self, domain: Domain, policies: Predictor | None, limit: int, customs: Customs = PRESENT) -> None:
        self._domain, self._policies, self._limit, self._customs = domain, policies, limit, customs

    async def answer(
        self, draft: Draft, outside: Outside, message: UserUttered, session_metadata: Json | None = None
    ) -> None:
        """Take a message in, and act until the bot listens again."""
        await self.take_in(draft, outside, message, session_metadata)
        await self._act(draft, outside)

    async def take_in(
        self, draft: Draft, outside: Outside, message: UserUttered, session_metadata: Json | None = None
    ) -> None:
        """Add a message and the slots that it fills, in a new session, with its metadata, where one is due."""
        if draft.has_written(MESSAGE):
            return
        await self.begin_session(draft, outside, session_metadata)
        draft.add(replace(message, timestamp=time.time()))
        draft.did(MESSAGE)
        await self._fill_slots(draft, outside)

    async def begin_session(self, draft: Draft, outside: Outside, metadata: Json | None = None) -> None:
        """Start a session if the conversation has none, or its last message is too long ago."""
        if opening := await self._customs.opened(draft.scene, outside, metadata):
            draft.add(*opening)
            await draft.settle()

    async def execute(self, draft: Draft, outside: Outside, name: str, policy: str | None, confidence: float) -> None:
        """Run one action as if it had been predicted. Raises UnknownAction."""
        action_of(name, self._domain)
        await self.begin_session(draft, outside)
        scores = (0.0,) * len(self._domain.action_names)
        is_text = name in self._domain.texts
        prediction = Prediction(action=name, is_text=is_text, policy=policy, confidence=confidence, scores=scores)
        await self._carry_out(draft, outside, prediction, step=EXECUTION)

    async def _act(self, draft: Draft, outside: Outside) -> None:
        if self._policies is None:
            return
        for number in range(self._limit + 1):
            if not may_act(draft.scene):
                return
            if number == self._limit or _actions_since_listening(draft.scene.events) >= self._limit:
                _give_up(draft, self._limit)
                return
            prediction = self._policies.predict(Situation(draft.scene.tracker, draft.scene.since_reset))
            if prediction.uses_text:
                await self._fill_slots(draft, outside)
            await self._carry_out(draft, outside, prediction)
            if prediction.action in _LAST:
                return

    async def _carry_out(self, draft: Draft, outside: Outside, prediction: Prediction, step: str | None = None) -> None:
        before = _prediction_events(prediction)
        try:
            events = await action_of(prediction.action, self._domain).run(draft.scene.after(before), outside)
        except ActionRejected:
            draft.add(_rejection(prediction))
        except ActionFailed as error:
            log.error("an action failed", conversation=draft.scene.sender, reason=str(error))
            draft.add(*before, _executed(prediction))
        else:
            refused = any(isinstance(event, ActionExecutionRejected) for event in events)
            draft.add(*(events if refused else [*before, *self._customs.ordered(_executed(prediction), events)]))
            if any(isinstance(event, UserUttered) for event in events):
                await self._fill_slots(draft, outside)
        if step is not None:
            draft.did(step)
        await draft.settle()

    async def _fill_slots(self, draft: Draft, outside: Outside) -> None:
        draft.add(*await self._customs.slots(draft.scene, outside))
        await draft.settle()


def may_act(scene: Scene) -> bool:
    """Whether the bot may act at all: it is not paused, or it is asked to begin anew."""
    return not scene.tracker.paused or scene.intent == RESTART


def _actions_since_listening(events: Sequence[Event]) -> int:
    count = 0
    for event in reversed(events):
        if isinstance(event, ActionExecuted):
            if event.name in _LAST:
                break
            count += 1
    return count


def _give_up(draft: Draft, limit: int) -> None:
    """Listen again. Without that nothing would ever answer in this conversation: Rasa leaves it so."""
    log.warning(
        "the bot listens again after too many actions in a row",
        conversation=draft.scene.sender,
        limit=limit,
        last=draft.scene.tracker.latest_action.get("action_name"),
    )
    draft.add(happens(ActionExecuted, name=ACTION_LISTEN))


def _prediction_events(prediction: Prediction) -> list[Event]:
    events: list[Event] = []
    if prediction.interrupts_loop:
        events.append(happens(LoopInterrupted, is_interrupted=True))
    if prediction.uses_text is not None:
        events.append(happens(UserFeaturization, use_text_for_featurization=prediction.uses_text))
    return events


def _executed(prediction: Prediction) -> Event:
    return happens(
        ActionExecuted,
        name=None if prediction.is_text else prediction.action,
        action_text=prediction.action if prediction.is_text else None,
        policy=prediction.policy,
        confidence=prediction.confidence,
        hide_rule_turn=prediction.hides_rule_turn,
    )


def _rejection(prediction: Prediction) -> Event:
    return happens(
        ActionExecutionRejected, name=prediction.action, policy=prediction.policy, confidence=prediction.confidence
    )
