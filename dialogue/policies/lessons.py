"""Lessons: courses of conversation as policies see them, an action after states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from dialogue.applied import applied
from dialogue.domain import RULE_EDGE
from dialogue.events import ActionExecuted, ActiveLoop, SlotSet, UserUttered
from dialogue.policies.states import SHOULD_NOT_BE_SET, State
from dialogue.training.expansion import Course

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dialogue.domain import Domain
    from dialogue.policies.states import Features
    from dialogue.training.expansion import Beat


class Example(Struct, frozen=True):
    """What is done after states."""

    states: Sequence[State]
    action: str


class Lesson(Struct, frozen=True):
    """A course, with the states before each of its actions, and the one after all."""

    course: Course
    states: tuple[State, ...]

    def examples(self) -> Iterator[Example]:
        """What can be learned: every action but the one that begins the course."""
        for index, beat in enumerate(actions(self.course.beats)):
            if not beat.is_given:
                yield Example(self.states[: index + 1], label(beat))


class Teacher:
    """Makes lessons for the bot of a domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._states: dict[State, State] = {}

    def lesson(self, course: Course, *, omits_unset: bool = False) -> Lesson:
        """Return the lesson of what counts of a course: a loop that runs again looks as if it had run once.

        With `omits_unset` slots show only when the course sets them: their initial values don't.
        """
        course = _counting(course)
        told = Told(self._domain, omits_unset=omits_unset)
        states = []
        for beat in course.beats:
            if isinstance(beat.event, ActionExecuted):
                states.append(told.state())
            told.tell(beat.event)
        states.append(told.state())
        # Equal states are one value, whose text is then made once.
        return Lesson(course, tuple(self._states.setdefault(state, state) for state in states))


def _counting(course: Course) -> Course:
    loops = {beat.event.name for beat in course.beats if isinstance(beat.event, ActiveLoop) and beat.event.name}
    if not loops:
        return course
    kept = applied(enumerate(beat.event for beat in course.beats), loops)
    return replace(course, beats=tuple(course.beats[index] for index in kept))


def distinct(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return the lessons without those that look like an earlier one."""
    seen: dict[tuple[State, ...], Lesson] = {}
    for lesson in lessons:
        seen.setdefault(lesson.states, lesson)
    return list(seen.values())


def actions(beats: Iterable[Beat]) -> Iterator[Beat]:
    """Return those that are actions."""
    return (beat for beat in beats if isinstance(beat.event, ActionExecuted))


def label(beat: Beat) -> str:
    """Return the name of an action, or the text that it says."""
    assert isinstance(beat.event, ActionExecuted)
    return beat.event.name or beat.event.action_text or ""


def in_rule(states: Sequence[State]) -> Sequence[State]:
    """Return the states after a rule's edge: what the rule asks for."""
    for index in reversed(range(len(states))):
        if states[index].action == RULE_EDGE:
            return states[index + 1 :]
    return states


class Told:
    """A conversation as a course tells it. It knows of slots and loops that must not be set, as rules have them."""

    def __init__(self, domain: Domain, *, omits_unset: bool) -> None:
        self._domain = domain
        self._user: dict[str, Any] = {}
        self._action: dict[str, Any] = {}
        self._loop: str | None = None
        self._slots: dict[str, Features] = {}
        for name, value in {} if omits_unset else domain.initial_slots.items():
            self._see_slot(name, value)

    def state(self) -> State:
        """The state now."""
        return State(slots=tuple(sorted(self._slots.items())), loop=self._loop, **self._user, **self._action)

    def tell(self, event: Any) -> None:
        """Go on to after an event."""
        _TELL[type(event)](self, event)

    def _on_action(self, event: ActionExecuted) -> None:
        self._action = {"action": event.name} if event.name else {"action_text": event.action_text}

    def _on_user(self, event: UserUttered) -> None:
        intent = event.parse_data["intent"]["name"]
        labels = self._labels(intent, event.parse_data["entities"])
        self._user = {"text": event.text} if intent is None else {"intent": intent, "entities": labels}

    def _labels(self, intent: str | None, entities: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        found = {entity["entity"] for entity in entities}
        found |= {f"{entity['entity']}#{entity[kind]}" for entity in entities for kind in _KINDS if entity[kind]}
        return tuple(sorted(found & self._domain.used_entities(intent)))

    def _on_loop(self, event: ActiveLoop) -> None:
        self._loop = event.name

    def _on_slot(self, event: SlotSet) -> None:
        self._see_slot(event.name, event.value)

    def _see_slot(self, name: str, value: Any) -> None:
        slot = self._domain.slots.get(name)
        if slot is None or not slot.influences:
            return
        value = slot.holds(value)
        features = SHOULD_NOT_BE_SET if value == SHOULD_NOT_BE_SET else slot.features(value)
        if features is None:
            self._slots.pop(name, None)
        else:
            self._slots[name] = features


_KINDS: Final = ("role", "group")
_TELL: Final[dict[type, Callable[[Told, Any], None]]] = {
    ActionExecuted: Told._on_action,
    UserUttered: Told._on_user,
    ActiveLoop: Told._on_loop,
    SlotSet: Told._on_slot,
}
