"""The two-stage fallback: ask whether the message was understood, then ask to say it otherwise, then give up."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from assistant.action import Find
from assistant.default_actions import (
    ACTION_ASK_AFFIRMATION,
    ACTION_ASK_REPHRASE,
    ACTION_DEFAULT_FALLBACK,
    NLU_FALLBACK,
    OUT_OF_SCOPE,
)
from assistant.happening import happens
from dialogue import (
    ACTION_LISTEN,
    ActionExecuted,
    ActiveLoop,
    Restarted,
    SessionStarted,
    UserUtteranceReverted,
    UserUttered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event

ACTION_TWO_STAGE_FALLBACK: Final = "action_two_stage_fallback"


class TwoStageFallback(Struct, frozen=True):
    """One run of the loop. It ends with a message that was understood, or with the second one that was not.

    Attributes:
        find: finds the actions that ask, and the one that gives up.
    """

    find: Find

    @property
    def name(self) -> str:
        """There is only one."""
        return ACTION_TWO_STAGE_FALLBACK

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """A question; or the loop's end, and the fallback or the message anew, as if it had been the first."""
        begins = scene.loop != self.name
        events: list[Event] = [happens(ActiveLoop, name=self.name)] if begins else []
        failed = _has_failed(scene)
        if not failed and not _is_clear(scene):
            affirms = begins or scene.intent == NLU_FALLBACK
            return events + await self._run(ACTION_ASK_AFFIRMATION if affirms else ACTION_ASK_REPHRASE, scene, outside)
        events.append(happens(ActiveLoop))
        return events + (await self._run(ACTION_DEFAULT_FALLBACK, scene, outside) if failed else _said_anew(scene))

    async def _run(self, action: str, scene: Scene, outside: Outside) -> list[Event]:
        return await self.find(action, scene.domain).run(scene, outside)


def _is_clear(scene: Scene) -> bool:
    return scene.intent not in (NLU_FALLBACK, OUT_OF_SCOPE)


def _has_failed(scene: Scene) -> bool:
    """Whether the last messages say so, newest first: two not understood, or one denied, reworded and denied again."""
    latest = list(islice(_intents(scene), 3))
    return latest[:2] == [NLU_FALLBACK] * 2 or latest == [OUT_OF_SCOPE, NLU_FALLBACK, OUT_OF_SCOPE]


def _intents(scene: Scene) -> Iterator[str | None]:
    """Of this session's messages, newest first. One that was taken back counts, its rewind comes before."""
    for event in reversed(scene.events):
        if isinstance(event, Restarted | SessionStarted):
            return
        if isinstance(event, UserUtteranceReverted):
            yield None
        elif isinstance(event, UserUttered):
            yield (event.parse_data.get("intent") or {}).get("name")


def _said_anew(scene: Scene) -> list[Event]:
    """The latest message in place of the first one, and for certain: it was the answer to a question."""
    user = next((event for event in reversed(scene.applied) if isinstance(event, UserUttered)), None)
    heard: list[Event] = [happens(UserUtteranceReverted), happens(ActionExecuted, name=ACTION_LISTEN)]
    if user is None:
        return heard
    message = scene.tracker.latest_message
    certain = {**message, "intent": {**(message.get("intent") or {}), "confidence": 1.0}}
    return [*heard, replace(user, timestamp=time.time(), parse_data=certain)]
