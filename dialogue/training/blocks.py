"""Blocks: what stands in a story between two checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from dialogue.domain import RULE_EDGE
from dialogue.training.stories import (
    ActionStep,
    CheckpointStep,
    LoopStep,
    OrStep,
    SlotStep,
    Step,
    Story,
    UserStep,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Checkpoint = str | int
"""A checkpoint's name, or the number of one that nobody wrote: stories fork and join there for an `or`."""

START: Final = 0
"""Where every conversation starts."""

PlainStep = UserStep | ActionStep | SlotStep | LoopStep


class Entrance(Struct, frozen=True):
    """A checkpoint where a block begins, for conversations whose slots have these values."""

    checkpoint: Checkpoint
    slots: tuple[SlotStep, ...] = ()


class Block(Struct, frozen=True):
    """A part of a story or rule without forks. Without `exits` the story ends with it."""

    story: Story
    entrances: tuple[Entrance, ...]
    steps: tuple[PlainStep, ...]
    exits: tuple[Checkpoint, ...]

    @property
    def starts(self) -> bool:
        """Whether conversations start with it."""
        return any(entrance.checkpoint == START for entrance in self.entrances)


def blocks(story: Story, numbers: Iterator[int]) -> list[Block]:
    """Return the blocks of a story or rule; `numbers` are for the checkpoints of its ors."""
    cutting = _Cutting(story, numbers)
    for step in _all_steps(story):
        cutting.add(step)
    return cutting.blocks()


def _all_steps(story: Story) -> Iterator[Step]:
    """The steps, those of a rule between its edges, where other parts of a conversation may be."""
    if not story.is_rule:
        yield from story.steps
        return
    edge = ActionStep(place=story.place, name=RULE_EDGE, text=None)
    yield from story.condition
    if not story.starts_conversation:
        yield edge
    yield from story.steps
    if not story.waits:
        yield edge


class _Draft:
    """A block while steps are added to it; with exits it is done."""

    def __init__(self, entrances: Iterable[Entrance], steps: Iterable[PlainStep] = ()) -> None:
        self.entrances = tuple(entrances)
        self.steps = list(steps)
        self.exits: list[Checkpoint] = []

    def leaving(self, checkpoint: Checkpoint, *steps: PlainStep) -> _Draft:
        """A copy that goes on with these steps to a checkpoint."""
        copy = _Draft(self.entrances, [*self.steps, *steps])
        copy.exits.append(checkpoint)
        return copy


class _Cutting:
    """Cuts a story into blocks, step by step."""

    def __init__(self, story: Story, numbers: Iterator[int]) -> None:
        self._story = story
        self._numbers = numbers
        self._entrances: list[Entrance] = []
        self._done: list[_Draft] = []
        self._open: list[_Draft] = []

    def add(self, step: Step) -> None:
        if isinstance(step, CheckpointStep):
            self._pass(step)
        elif isinstance(step, OrStep) and len(step.choices) > 1:
            self._fork(step.choices)
        else:
            self._append(step.choices[0] if isinstance(step, OrStep) else step)

    def blocks(self) -> list[Block]:
        drafts = [*self._done, *self._open]
        return [Block(self._story, draft.entrances, tuple(draft.steps), self._exits(draft)) for draft in drafts]

    def _exits(self, draft: _Draft) -> tuple[Checkpoint, ...]:
        """Nothing begins where an or at the very end would join: the story ends there."""
        is_last = draft in self._open
        return tuple(exit_ for exit_ in draft.exits if not (is_last and isinstance(exit_, int)))

    def _pass(self, step: CheckpointStep) -> None:
        if self._open:
            for draft in self._open:
                draft.exits.append(step.name)
        else:
            self._entrances.append(Entrance(step.name, step.slots))

    def _append(self, step: PlainStep) -> None:
        for draft in self._unfinished():
            draft.steps.append(step)

    def _fork(self, choices: Sequence[PlainStep]) -> None:
        joint = next(self._numbers)
        self._open = [draft.leaving(joint, choice) for draft in self._unfinished() for choice in choices]

    def _unfinished(self) -> list[_Draft]:
        if not self._open:
            self._open = [_Draft(self._entrances or [Entrance(START)])]
        elif self._open[0].exits:
            self._done += self._open
            exits = dict.fromkeys(exit_ for draft in self._open for exit_ in draft.exits)
            self._open = [_Draft(map(Entrance, exits))]
        return self._open
