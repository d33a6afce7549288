"""The courses of conversation that stories and rules stand for: every way through their blocks, as events."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Struct

from dialogue.events import ActionExecuted, ActiveLoop, Event, SlotSet, UserUttered
from dialogue.policies.states import SHOULD_NOT_BE_SET
from dialogue.source import Fault
from dialogue.tracker import ACTION_LISTEN
from dialogue.training.blocks import START, blocks
from dialogue.training.files import InvalidTraining
from dialogue.training.stories import ActionStep, LoopStep, Mention, Place, SlotStep, UserStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.domain import Domain
    from dialogue.slots import Slot
    from dialogue.training.blocks import Block, Checkpoint, Entrance, PlainStep
    from dialogue.training.stories import Story

MAX_RETURNS: Final = 2
"""So often a course goes back to a block that it came from: what stands in a circle happens at most three times."""

MAX_COURSES: Final = 100_000


class Beat(Struct, frozen=True):
    """One thing that happens in a course, and the step that says so.

    `is_given`: an action that begins the course, so that nothing before it tells that it comes.
    """

    event: Event
    place: Place
    is_given: bool = False


class Course(Struct, frozen=True):
    """One course that a conversation can take. Its name is that of its stories, joined by ` > `."""

    name: str
    is_rule: bool
    beats: tuple[Beat, ...]


class Expansion(Struct, frozen=True):
    """Every course of a bot's stories and rules, in their order, and what is odd about them."""

    courses: tuple[Course, ...]
    warnings: tuple[Fault, ...]


def expand(stories: Sequence[Story], domain: Domain) -> Expansion:
    """Return the courses that these stories and rules stand for.

    Raises InvalidTraining when there are more than MAX_COURSES.
    """
    numbers = count(START + 1)
    parts = [_Part(block, domain) for story in stories for block in blocks(story, numbers)]
    ways = _Ways(parts)
    courses = []
    for course in ways.courses(domain):
        courses.append(course)
        if len(courses) > MAX_COURSES:
            raise InvalidTraining([_too_many(course)])
    return Expansion(tuple(courses), (*_slot_warnings(stories, domain), *ways.warnings()))


def _too_many(course: Course) -> Fault:
    reason = f"checkpoints and ors make more than {MAX_COURSES:,} different stories; here is one: {course.name!r}"
    return Fault(course.beats[0].place.file, course.beats[0].place.line, reason)


# --- ways through the blocks ------------------------------------------------------------------------------------------


class _Part:
    """A block with what happens in it."""

    def __init__(self, block: Block, domain: Domain) -> None:
        self.block = block
        self.beats = tuple(_beats(block, domain))


class _Way:
    """A way that has come as far as a block."""

    def __init__(self, part: int, before: _Way | None, returns: int) -> None:
        self.part = part
        self.before = before
        self.returns = returns

    def parts(self) -> list[int]:
        way: _Way | None = self
        result = []
        while way:
            result.append(way.part)
            way = way.before
        return result[::-1]


class _Ways:
    """The ways from block to block."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        self._doors: defaultdict[Checkpoint, list[tuple[int, Entrance]]] = defaultdict(list)
        for index, part in enumerate(parts):
            for entrance in part.block.entrances:
                self._doors[entrance.checkpoint].append((index, entrance))
        self._next = [self._after(part) for part in parts]
        self._returns = _returns(self._next)
        self._reached: set[int] = set()

    def courses(self, domain: Domain) -> Iterator[Course]:
        starting = dict.fromkeys(index for index, _ in self._doors[START])
        stack = [_Way(index, None, 0) for index in reversed(starting)]
        while stack:
            way = stack.pop()
            self._reached.add(way.part)
            if self._ends(self._parts[way.part]):
                yield self._course(way)
            stack += list(self._onward(way, domain))[::-1]

    def warnings(self) -> Iterator[Fault]:
        """Checkpoints that lead nowhere, or that nothing leads to; known when all courses were gone through."""
        reached = {exit_ for index in self._reached for exit_ in self._parts[index].block.exits}
        for part in self._parts:
            for entrance in part.block.entrances:
                if isinstance(entrance.checkpoint, str) and entrance.checkpoint not in reached:
                    yield _unsatisfied("start", entrance.checkpoint, part.block)
            for exit_ in part.block.exits:
                if isinstance(exit_, str) and exit_ not in self._doors:
                    yield _unsatisfied("end", exit_, part.block)

    def _after(self, part: _Part) -> dict[int, list[Entrance]]:
        """The blocks that can come next, each with the entrances that lead into it."""
        result: dict[int, list[Entrance]] = {}
        for exit_ in part.block.exits:
            for index, entrance in self._doors.get(exit_, ()):
                result.setdefault(index, []).append(entrance)
        return result

    def _ends(self, part: _Part) -> bool:
        exits = part.block.exits
        return not exits or any(exit_ not in self._doors for exit_ in exits)

    def _onward(self, way: _Way, domain: Domain) -> Iterator[_Way]:
        for index, entrances in self._next[way.part].items():
            returns = way.returns + ((way.part, index) in self._returns)
            if returns <= MAX_RETURNS and any(self._opens(entrance, way, domain) for entrance in entrances):
                yield _Way(index, way, returns)

    def _opens(self, entrance: Entrance, way: _Way, domain: Domain) -> bool:
        if not entrance.slots:
            return True
        values = domain.initial_slots | _slots_set(self._beats(way), domain)
        return all(values.get(slot.name) == slot.value for slot in entrance.slots)

    def _course(self, way: _Way) -> Course:
        stories = [self._parts[index].block.story for index in way.parts()]
        names = " > ".join(dict.fromkeys(story.name for story in stories))
        return Course(names, stories[0].is_rule, tuple(self._beats(way)))

    def _beats(self, way: _Way) -> Iterator[Beat]:
        return (beat for index in way.parts() for beat in self._parts[index].beats)


def _returns(following: Sequence[Iterable[int]]) -> set[tuple[int, int]]:
    """The steps (from, to) that lead back to a block which led here; without them there is no circle."""
    result: set[tuple[int, int]] = set()
    on_way: dict[int, Iterator[int]] = {}
    done: set[int] = set()
    for first in range(len(following)):
        if first not in done:
            on_way[first] = iter(following[first])
        while on_way:
            here, onward = next(reversed(on_way.items()))
            there = next(onward, None)
            if there is None:
                done.add(here)
                del on_way[here]
            elif there in on_way:
                result.add((here, there))
            elif there not in done:
                on_way[there] = iter(following[there])
    return result


def _slots_set(beats: Iterable[Beat], domain: Domain) -> dict[str, Any]:
    events = [beat.event for beat in beats if isinstance(beat.event, SlotSet)]
    known = [event for event in events if isinstance(event, SlotSet) and event.name in domain.slots]
    return {event.name: domain.slots[event.name].holds(event.value) for event in known}


def _unsatisfied(side: str, checkpoint: str, block: Block) -> Fault:
    other = {"start": "end", "end": "start"}[side]
    reason = (
        f"Unsatisfied {side} checkpoint '{checkpoint}' in block '{block.story.name}'. "
        f"Remove this checkpoint or add story blocks that {other} with this checkpoint."
    )
    return Fault(block.story.place.file, block.story.place.line, reason)


# --- what happens in a block ------------------------------------------------------------------------------------------


def _beats(block: Block, domain: Domain) -> Iterator[Beat]:
    """What happens, with what stories leave out: that the bot listens, and what entities do to slots."""
    given = _given(block)
    last: Event | None = None
    for index, step in enumerate(block.steps):
        if isinstance(step, UserStep) and not _is_listen(last):
            yield Beat(_listen(), step.place)
        for event in _events(step, block.story.is_rule, domain):
            yield Beat(event, step.place, index == given)
            last = event
    if not block.exits and not _is_listen(last):
        yield Beat(_listen(), block.steps[-1].place)


def _given(block: Block) -> int | None:
    """The index of the action that begins a conversation, if one does."""
    first = next((index for index, step in enumerate(block.steps) if isinstance(step, UserStep | ActionStep)), 0)
    return first if block.starts and isinstance(block.steps[first], ActionStep) else None


def _listen() -> ActionExecuted:
    return ActionExecuted(timestamp=0, metadata={}, name=ACTION_LISTEN)


def _is_listen(event: Event | None) -> bool:
    return isinstance(event, ActionExecuted) and event.name == ACTION_LISTEN


def _events(step: PlainStep, is_rule: bool, domain: Domain) -> Iterator[Event]:
    nothing = SHOULD_NOT_BE_SET if is_rule else None
    if isinstance(step, UserStep):
        yield _user(step)
        yield from _slots_of_entities(step.entities, domain)
    elif isinstance(step, ActionStep):
        yield ActionExecuted(timestamp=0, metadata={}, name=step.name, action_text=step.text)
    elif isinstance(step, LoopStep):
        yield ActiveLoop(timestamp=0, metadata={}, name=nothing if step.name is None else step.name)
    else:
        value = _usual_value(domain.slots.get(step.name)) if step.value is UNSET else step.value
        yield SlotSet(timestamp=0, metadata={}, name=step.name, value=nothing if value is None else value)


def _user(step: UserStep) -> UserUttered:
    entities = [
        {"entity": mention.entity, "value": mention.value, "role": mention.role, "group": mention.group}
        for mention in step.entities
    ]
    parse_data = {"intent": {"name": step.intent, "confidence": 1.0}, "entities": entities}
    return UserUttered(timestamp=0, metadata={}, text=step.text, parse_data=parse_data)


def _usual_value(slot: Slot | None) -> Any:
    """What a slot has of which a story only says that it was set."""
    usual: dict[str, Any] = {"text": "filled", "list": ["filled"]}
    return usual.get(slot.type) if slot else None


def _slots_of_entities(mentions: Sequence[Mention], domain: Domain) -> Iterator[SlotSet]:
    """Entities fill slots as in a conversation, but whatever the intent is, and never for one loop alone."""
    for name, slot in domain.slots.items():
        values = [mention.value for kind in _kinds(slot) for mention in mentions if _kind(mention) == kind]
        if values:
            value = values if slot.type == "list" else values[-1]
            yield SlotSet(timestamp=0, metadata={}, name=name, value=value)


def _kinds(slot: Slot) -> Iterator[tuple[str | None, str | None, str | None]]:
    for mapping in slot.mappings:
        inside = bool(mapping.conditions) and mapping.conditions[0].active_loop is not None
        if mapping.type == "from_entity" and not inside:
            yield mapping.entity, mapping.role, mapping.group


def _kind(mention: Mention) -> tuple[str | None, str | None, str | None]:
    return mention.entity, mention.role, mention.group


# --- what is odd about slots ------------------------------------------------------------------------------------------


def _slot_warnings(stories: Sequence[Story], domain: Domain) -> Iterator[Fault]:
    for story in stories:
        for step in _slot_steps(story):
            reason = _odd(step, story.is_rule, domain.slots.get(step.name))
            if reason:
                yield Fault(step.place.file, step.place.line, reason)


def _slot_steps(story: Story) -> Iterator[SlotStep]:
    for step in (*story.condition, *story.steps):
        inner = getattr(step, "choices", None) or getattr(step, "slots", None) or (step,)
        yield from (one for one in inner if isinstance(one, SlotStep))


def _odd(step: SlotStep, is_rule: bool, slot: Slot | None) -> str | None:
    if slot is None:
        return f"the slot {step.name!r} is not in the domain: the step has no effect"
    value = _usual_value(slot) if step.value is UNSET else step.value
    if not slot.influences:
        return None
    if step.value is UNSET and value is None:
        return f"the {slot.type} slot {step.name!r} is named without a value, which counts as null here; give it one"
    if slot.type == "list" and value is None and is_rule:
        return f"null for the list slot {step.name!r} in a rule means the opposite, as in Rasa: that it must be set"
    if value is not None and slot.type in ("bool", "float") and slot.features(value) is None:
        return f"{value!r} is no value for the {slot.type} slot {step.name!r}: it counts as not set"
    return None
