"""Forms: loops that ask for slots until all that they require are filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from assistant.action import Find
from assistant.happening import happens
from assistant.outside import ActionRejected
from assistant.slot_extraction import extract_slots
from dialogue import (
    ACTION_LISTEN,
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    SlotSet,
    UserUttered,
)
from dialogue.domain import REQUESTED_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event


class FormRun(Struct, frozen=True):
    """One run of a form: look at what the message filled, then ask for the next slot, or end.

    Attributes:
        name: the form's.
        find: finds the action that asks for a slot.
    """

    name: str
    find: Find

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """What the run brings about, from the form's begin to its end if it has both in this run.

        Raises:
            ActionRejected: a slot was asked for, and the message fills none; or an action that the form needs rejects.
            ActionFailed: an action that the form needs can't be run.
        """
        events = [] if scene.loop == self.name else await self._activated(scene, outside)
        if not _is_ended(events):
            events += await self._continued(scene, outside, events)
        return [*events, happens(ActiveLoop)] if _is_ended(events) else events

    # --- begin --------------------------------------------------------------------------------------------------------

    async def _activated(self, scene: Scene, outside: Outside) -> list[Event]:
        """The form's begin. The message counts once more, because mappings may wait for the form."""
        begin = happens(ActiveLoop, name=self.name)
        inside = scene.after([begin])
        extracted = [event for event in await extract_slots(inside, outside) if isinstance(event, SlotSet)]
        filled = inside.after(extracted)
        values = {slot: filled.slot(slot) for slot in self._required(scene) if filled.slot(slot) is not None}
        validated = await self._validated(filled, outside, values, None)
        mentioned = {event.name for event in validated if isinstance(event, SlotSet)}
        return [begin, *validated, *(slot for slot in extracted if slot.name not in mentioned)]

    # --- the message's slots ------------------------------------------------------------------------------------------

    async def _continued(self, scene: Scene, outside: Outside, before: Sequence[Event]) -> list[Event]:
        """What follows when the form is active: the message's slots are validated, and the next one is asked for."""
        events = await self._looked_at(scene, outside) if all(isinstance(event, ActiveLoop) for event in before) else []
        if _is_rejected(events):
            return events
        return [*events, *await self._asked(scene, outside, [*before, *events])]

    async def _looked_at(self, scene: Scene, outside: Outside) -> list[Event]:
        asked = self._requested(scene)
        if not self._takes_message(scene):
            return await self._validated(scene, outside, {}, asked)
        values = _slots_of_message(scene, {*self._required(scene), asked})
        events = await self._validated(scene, outside, values, asked)
        if asked and not values and not _is_rejected(events) and not any(map(_sets_slot, events)):
            raise ActionRejected(self.name)
        return events

    def _takes_message(self, scene: Scene) -> bool:
        """Whether the message is one for the form: not when it comes back from something else that was said."""
        loop = scene.tracker.active_loop
        listened = scene.tracker.latest_action.get("action_name") == ACTION_LISTEN
        return not loop or (listened and not loop["is_interrupted"])

    async def _validated(
        self, scene: Scene, outside: Outside, values: Mapping[str, Any], asked: str | None
    ) -> list[Event]:
        """What the project's own validation makes of these slots. It is called even if there are none."""
        action = f"validate_{self.name}"
        if action not in scene.domain.action_names:
            return []
        slots = [happens(SlotSet, name=name, value=value) for name, value in values.items()]
        return await outside.call(action, self._under_way(scene, asked, slots))

    # --- the question -------------------------------------------------------------------------------------------------

    async def _asked(self, scene: Scene, outside: Outside, so_far: Sequence[Event]) -> list[Event]:
        """The question for the slot that validation chose, or for the first one that is empty."""
        if _is_ended(so_far):
            return [happens(SlotSet, name=REQUESTED_SLOT, value=None)]
        now = self._under_way(scene, self._requested(scene), so_far)
        if chosen := next(_requests(so_far), None):
            return await self._question(chosen, now, outside)
        slot = next((name for name in self._required(scene) if now.slot(name) is None), None)
        question = [] if slot is None else await self._question(slot, now, outside)
        return [happens(SlotSet, name=REQUESTED_SLOT, value=slot), *question]

    async def _question(self, slot: str, scene: Scene, outside: Outside) -> list[Event]:
        names = (f"{kind}_ask_{which}" for which in (f"{self.name}_{slot}", slot) for kind in ("action", "utter"))
        for name in names:
            if name in scene.domain.action_names:
                return await self.find(name, scene.domain).run(scene, outside)
        return []

    # --- what it looks at ---------------------------------------------------------------------------------------------

    def _required(self, scene: Scene) -> tuple[str, ...]:
        return scene.domain.forms[self.name].required_slots

    def _requested(self, scene: Scene) -> str | None:
        """The slot that this form asked for; another form's question does not count."""
        slot = scene.slot(REQUESTED_SLOT)
        return slot if scene.loop == self.name and isinstance(slot, str) else None

    def _under_way(self, scene: Scene, asked: str | None, so_far: Sequence[Event]) -> Scene:
        """What the form's own actions see: the form stands before all that is new, so that they can tell it apart."""
        request = happens(SlotSet, name=REQUESTED_SLOT, value=asked)
        return scene.after([request, happens(ActionExecuted, name=self.name), *so_far])


def _slots_of_message(scene: Scene, wanted: set[str | None]) -> dict[str, Any]:
    """What was set since the latest message, each slot as it was set last."""
    since: list[SlotSet] = []
    for event in reversed(scene.events):
        if isinstance(event, UserUttered):
            break
        if isinstance(event, SlotSet) and event.name in wanted:
            since.append(event)
    return {event.name: event.value for event in reversed(since)}


def _requests(events: Sequence[Event]) -> Iterator[Any]:
    return (event.value for event in events if isinstance(event, SlotSet) and event.name == REQUESTED_SLOT)


def _is_ended(events: Sequence[Event]) -> bool:
    """Whether the last word on the slot that is asked for, or on the loop, is that there is none."""
    if _is_rejected(events):
        return False
    loops = [event.name for event in events if isinstance(event, ActiveLoop)]
    return None in ([*_requests(events)][-1:] + loops[-1:])


def _is_rejected(events: Sequence[Event]) -> bool:
    return any(isinstance(event, ActionExecutionRejected) for event in events)


def _sets_slot(event: Event) -> bool:
    return isinstance(event, SlotSet) and event.name != REQUESTED_SLOT
