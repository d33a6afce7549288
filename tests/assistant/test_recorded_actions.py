"""Every action of the recorded bots: run in the scene in which it was recorded, it brings about what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant.actions import action_of
from assistant.outside import ActionFailed, ActionRejected
from assistant.scene import Scene
from assistant.session_start import start_session
from assistant.slot_extraction import extract_slots
from dialogue import ACTION_LISTEN, ACTION_SESSION_START, initial
from tests.assistant.bots import PLAYABLE, Json, Scripted, dialogues_of, domain_of, event_of, normal, script_of

if TYPE_CHECKING:
    from dialogue import Domain, Event

BY_POLICIES = {"user_featurization", "loop_interrupted"}
BEGINNINGS = {"user", "action", "action_execution_rejected", *BY_POLICIES}  #: of what is no more a part of a run
FEATURIZATION: Json = {"event": "user_featurization", "use_text_for_featurization": False}


class Replay:
    """One dialogue, replayed from its recorded events."""

    def __init__(self, domain: Domain, script: Json) -> None:
        self.outside = Scripted(script)
        tracker = initial(domain)
        self.scene = Scene(sender="c", channel="collector", domain=domain, tracker=tracker, events=())
        self._ahead: list[Json] = []

    async def step(self, step: Json) -> None:
        self.outside.calls.clear()
        self._ahead = list(step.get("events", ()))
        posted = len(step["send"].get("events", ()))
        while len(self._ahead) > posted:
            await self._next()
        self._take(len(self._ahead))
        assert self.outside.calls == step.get("action_calls", [])

    async def _next(self) -> None:
        first = self._ahead[0]
        if self._starts_session():
            await self._start_session()
        elif first["event"] == "action":
            await self._act()
        elif first["event"] == "action_execution_rejected":
            await self._reject()
        elif first["event"] == "user":
            self._take(1)
            await self._extract()
        else:
            assert first["event"] in BY_POLICIES
            self._take(1)

    def _starts_session(self) -> bool:
        names = [event.get("name") for event in self._ahead[:2]]
        own = names[0] == ACTION_SESSION_START and "policy" not in self._ahead[0]
        return own or names == ["session_started_metadata", ACTION_SESSION_START]

    async def _start_session(self) -> None:
        first = self._ahead[0]
        metadata = first["value"] if first["event"] == "slot" else None
        await self._check(await start_session(self.scene, self.outside, metadata))

    async def _act(self) -> None:
        recorded = self._ahead[0]
        name = recorded.get("name") or recorded["action_text"]
        try:
            events = await action_of(name, self.scene.domain).run(self.scene, self.outside)
        except ActionFailed:
            events = []
        self._take(1)
        await self._check(events)

    async def _reject(self) -> None:
        """A rejection takes the place of the action, and of what the policies say with it."""
        recorded = self._ahead[0]
        listened = self.scene.tracker.latest_action == {"action_name": ACTION_LISTEN}
        scene = self.scene.after([event_of(FEATURIZATION)] if listened else [])
        action = action_of(recorded["name"], self.scene.domain)
        if "policy" not in recorded:
            await self._check(await action.run(scene, self.outside))
            return
        with pytest.raises(ActionRejected):
            await action.run(scene, self.outside)
        self._take(1)

    async def _extract(self) -> None:
        await self._check(await extract_slots(self.scene, self.outside))

    async def _check(self, events: list[Event]) -> None:
        """What happened is what was recorded, and nothing more was; a message among it fills slots."""
        happened = [normal(event) for event in events]
        assert happened == self._ahead[: len(events)]
        self._take(len(events))
        if any(event["event"] == "user" for event in happened):
            await self._extract()
        assert not self._ahead or self._ahead[0]["event"] in BEGINNINGS or self._starts_session()

    def _take(self, count: int) -> None:
        self.scene = self.scene.after([event_of(event) for event in self._ahead[:count]])
        del self._ahead[:count]


@pytest.mark.parametrize("bot", PLAYABLE)
async def test_actions_bring_about_what_was_recorded(bot: str) -> None:
    domain, script = domain_of(bot), script_of(bot)
    for dialogue in dialogues_of(bot):
        replay = Replay(domain, script)
        for step in dialogue:
            await replay.step(step)
