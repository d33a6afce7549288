"""The log as the assistant's turns read and write it: through the trackers of the process."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

import dialogue
from assistant.draft import AlreadyDone, Ledger, Reading, Terms
from projections import Write, session_begin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dialogue import Event, Tracker
    from projections import Trackers, View

REMEMBERED: Final = 100_000  #: events of the conversations that turns have read last


class TrackerLedger(Ledger):
    """Remembers the events of the last turns' conversations as values, so that they are not decoded for each turn."""

    def __init__(self, trackers: Trackers, hint: Callable[[], None]) -> None:
        self._trackers, self._hint = trackers, hint
        self._known: OrderedDict[str, Reading] = OrderedDict()
        self._size = 0

    async def read(self, conversation: str) -> Reading:
        """The conversation now, with its current session."""
        view, turn_seconds = await self._trackers.for_turn(conversation)
        if view is None:
            return Reading(dialogue.initial(self._trackers.domain), (), turn_seconds)
        known = self._known.get(conversation)
        if known is not None and known.tracker.version == view.version:
            self._known.move_to_end(conversation)
            return Reading(view.tracker, known.events, turn_seconds)
        reading = Reading(view.tracker, await self._events(view), turn_seconds)
        self.keep(conversation, reading)
        return reading

    async def at(self, conversation: str, version: int) -> Reading:
        """The conversation as it was at a version that it has had, with the session of that time."""
        view = await self._trackers.at_version(conversation, version)
        assert view is not None  # the log has acknowledged that version
        return Reading(view.tracker, await self._events(view))

    async def append(self, conversation: str, events: Sequence[Event], after: Tracker, terms: Terms) -> None:
        """Append events that lead to the state `after`."""
        write = Write(
            conversation=conversation,
            events=events,
            expected=after.version - len(events),
            key=terms.key,
            fingerprint=terms.fingerprint,
            actor=terms.actor,
            request_id=terms.request_id,
            folded=after,
        )
        _, appended = await self._trackers.append(write)
        if appended.repeated:
            raise AlreadyDone(appended.base, appended.version)
        self._hint()

    def keep(self, conversation: str, reading: Reading) -> None:
        """Remember what the log has by now; what was used longest ago is forgotten."""
        first = reading.tracker.version - len(reading.events)
        reading = replace(reading, events=reading.events[max(0, _begin(reading.tracker) - first) :])
        before = self._known.pop(conversation, None)
        self._known[conversation] = reading
        self._size += len(reading.events) - (len(before.events) if before else 0)
        while self._size > REMEMBERED and len(self._known) > 1:
            self._size -= len(self._known.popitem(last=False)[1].events)

    async def _events(self, view: View) -> tuple[Event, ...]:
        after = _begin(view.tracker)
        window = await self._trackers.window(view, after)
        return tuple(event for _, event in window.events(after, view.version))


def _begin(tracker: Tracker) -> int:
    """The version after which turns see events: those of the session, and all that can still count."""
    return max(min(session_begin(tracker), tracker.reset_version), tracker.generation_version)
