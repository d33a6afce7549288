"""What an action sees: a conversation at one moment. A value: what the action does comes out as events."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

import dialogue
from dialogue import Domain, Event, Tracker

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scene(Struct, frozen=True, kw_only=True, dict=True):
    """A conversation with the events of its current session, in the order of the log (also those taken back).

    Attributes:
        sender: the conversation's id.
        channel: name of the output channel, by which responses are chosen; `collector` where answers are gathered.
    """

    sender: str
    channel: str
    domain: Domain
    tracker: Tracker
    events: tuple[Event, ...]

    def after(self, events: Sequence[Event]) -> Scene:
        """The scene after these events."""
        if not events:
            return self
        tracker = dialogue.fold(self.tracker, events, self.domain, self.since_reset)
        return replace(self, tracker=tracker, events=(*self.events, *events))

    @property
    def since_reset(self) -> tuple[Event, ...]:
        """The events after the last restart or session start: only these can still count."""
        before = self.tracker.version - len(self.events)
        return self.events[max(0, self.tracker.reset_version - before) :]

    @cached_property
    def applied(self) -> list[Event]:
        """The events that count: without what was taken back, and repeated runs of a loop taken as one."""
        events = self.since_reset
        return [events[index] for index in dialogue.applied(enumerate(events), self.tracker.loop_names)]

    def document(self, verbosity: str) -> str:
        """The state as JSON text, with its session's events: NONE, APPLIED, AFTER_RESTART or ALL of them."""
        if verbosity == "NONE":
            return dialogue.document(self.tracker, self.sender, None)
        shown = {"APPLIED": lambda: self.applied, "AFTER_RESTART": self._after_restart}.get(verbosity)
        texts = map(dialogue.encode, shown() if shown else self.events)
        return dialogue.document(self.tracker, self.sender, f"[{','.join(texts)}]")

    def _after_restart(self) -> Sequence[Event]:
        before = self.tracker.version - len(self.events)
        return self.events[max(0, self.tracker.restart_version - before) :]

    @property
    def intent(self) -> str | None:
        """The latest message's intent."""
        name = (self.tracker.latest_message.get("intent") or {}).get("name")
        return name if isinstance(name, str) else None

    @property
    def loop(self) -> str | None:
        """The active loop."""
        name = self.tracker.active_loop.get("name")
        return name if isinstance(name, str) else None

    def slot(self, name: str) -> Any:
        """A slot's value, None when there is no such slot."""
        return self.tracker.slots.get(name)
