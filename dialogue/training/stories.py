"""Stories and rules, as people write them in YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from dialogue.source import Fault
from dialogue.training.annotations import parse_annotated
from dialogue.training.files import InvalidTraining
from dialogue.training.story_checks import TITLES, kind_of, story_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dialogue.source import Source
    from dialogue.yaml12 import Path


class Place(Struct, frozen=True):
    """Where something is written; lines count from 1."""

    file: str
    line: int


class Mention(Struct, frozen=True, kw_only=True):
    """An entity in a user's message."""

    entity: str
    value: Any = ""
    role: str | None = None
    group: str | None = None


class UserStep(Struct, frozen=True, kw_only=True):
    """The user says something: of this intent, or word for word this text. With both, the intent counts."""

    place: Place
    intent: str | None
    text: str | None
    entities: tuple[Mention, ...] = ()


class ActionStep(Struct, frozen=True, kw_only=True):
    """The bot does something: an action of this name, or it says this text word for word."""

    place: Place
    name: str | None
    text: str | None


class SlotStep(Struct, frozen=True, kw_only=True):
    """A slot was set; UNSET stands for any value."""

    place: Place
    name: str
    value: Any


class LoopStep(Struct, frozen=True, kw_only=True):
    """A loop is active from here on, or (None) none is."""

    place: Place
    name: str | None


class CheckpointStep(Struct, frozen=True, kw_only=True):
    """A point where stories are joined; at the beginning of one, only those go on whose slots have these values."""

    place: Place
    name: str
    slots: tuple[SlotStep, ...] = ()


class OrStep(Struct, frozen=True, kw_only=True):
    """One of several things happens; the story goes on alike after each."""

    place: Place
    choices: tuple[UserStep | SlotStep, ...]


Step = UserStep | ActionStep | SlotStep | LoopStep | CheckpointStep | OrStep


class Story(Struct, frozen=True, kw_only=True):
    """A story, or a rule: that is a story which holds wherever its condition holds.

    `starts_conversation` and `waits` (whether the bot listens at the end) mean something for rules only.
    """

    place: Place
    name: str
    steps: tuple[Step, ...]
    is_rule: bool = False
    condition: tuple[SlotStep | LoopStep, ...] = ()
    starts_conversation: bool = False
    waits: bool = True


class Stories(Struct, frozen=True):
    """All stories and rules of a bot in the order of the files, and what is odd about them."""

    stories: tuple[Story, ...]
    warnings: tuple[Fault, ...] = ()


def read_stories(sources: Sequence[Source]) -> Stories:
    """Return the stories and rules of these files; other sections of theirs are not looked at.

    Raises InvalidTraining with every fault.
    """
    faults = [source.fault(path, reason) for source in sources for path, reason in story_faults(source.value)]
    if faults:
        raise InvalidTraining(faults)
    readers = [_Reader(source) for source in sources]
    stories = tuple(story for reader in readers for story in reader.stories())
    return Stories(stories, tuple(warning for reader in readers for warning in reader.warnings))


class _Reader:
    """Reads one file that has no faults."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.warnings: list[Fault] = []

    def stories(self) -> Iterator[Story]:
        for section, title in TITLES.items():
            for index, item in enumerate(self._source.value.get(section) or ()):
                if item.get("steps"):
                    yield self._story((section, index), item, title)
                else:
                    self._warn((section, index), f"the {title} {item[title]!r} is skipped: it has no steps")

    def _story(self, path: Path, item: dict[str, Any], title: str) -> Story:
        return Story(
            place=self._place(path),
            name=item[title],
            steps=tuple(self._steps((*path, "steps"), item["steps"])),
            is_rule=title == "rule",
            condition=tuple(self._condition((*path, "condition"), item.get("condition") or ())),
            starts_conversation=item.get("conversation_start") or False,
            waits=item.get("wait_for_user_input") is not False,
        )

    def _steps(self, path: Path, steps: Sequence[dict[str, Any]]) -> Iterator[Step]:
        for index, step in enumerate(steps):
            yield from self._step((*path, index), step)

    def _step(self, path: Path, step: dict[str, Any]) -> Iterator[Step]:
        place = self._place(path)
        match kind_of(step):
            case "intent" | "user":
                yield self._user(path, step)
            case "action":
                yield ActionStep(place=place, name=step["action"].strip(), text=None)
            case "bot":
                yield ActionStep(place=place, name=None, text=step["bot"])
            case "active_loop":
                yield LoopStep(place=place, name=step["active_loop"])
            case "checkpoint":
                slots = tuple(self._slots((*path, "slot_was_set"), step.get("slot_was_set", ())))
                yield CheckpointStep(place=place, name=step["checkpoint"], slots=slots)
            case "slot_was_set":
                yield from self._slots((*path, "slot_was_set"), step["slot_was_set"])
            case "or":
                choices = self._steps((*path, "or"), step["or"])
                yield OrStep(place=place, choices=tuple(one for one in choices if isinstance(one, UserStep | SlotStep)))

    def _condition(self, path: Path, steps: Sequence[dict[str, Any]]) -> Iterator[SlotStep | LoopStep]:
        return (step for step in self._steps(path, steps) if isinstance(step, SlotStep | LoopStep))

    def _user(self, path: Path, step: dict[str, Any]) -> UserStep:
        intent = self._intent((*path, "intent"), step["intent"].strip()) if "intent" in step else None
        if "user" not in step:
            entities = tuple(map(_mention, step.get("entities") or ()))
            return UserStep(place=self._place(path), intent=intent, text=None, entities=entities)
        marked = parse_annotated(step["user"].strip())
        entities = tuple(
            Mention(entity=found.entity, value=found.value, role=found.role, group=found.group)
            for found in marked.entities
        )
        return UserStep(place=self._place(path), intent=intent, text=marked.text, entities=entities)

    def _intent(self, path: Path, name: str) -> str:
        if name.startswith("/"):
            self._warn(path, f"the intent {name!r} is written without the slash in front")
            name = name[1:]
        base, slash, _ = name.partition("/")
        if slash:
            self._warn(path, f"of the retrieval intent {name!r} only {base!r} counts in stories and rules")
        return base

    def _slots(self, path: Path, slots: Sequence[str | dict[str, Any]]) -> Iterator[SlotStep]:
        for index, slot in enumerate(slots):
            place = self._place((*path, index))
            written = slot if isinstance(slot, dict) else {slot: UNSET}
            for name, value in written.items():
                yield SlotStep(place=place, name=str(name), value=value)

    def _place(self, path: Path) -> Place:
        return Place(self._source.name, self._source.lines[path])

    def _warn(self, path: Path, reason: str) -> None:
        self.warnings.append(self._source.fault(path, reason))


def _mention(entity: str | dict[str, Any]) -> Mention:
    if isinstance(entity, str):
        return Mention(entity=entity)
    name = next(key for key in entity if key not in ("role", "group"))
    return Mention(entity=name, value=entity[name], role=entity.get("role"), group=entity.get("group"))
