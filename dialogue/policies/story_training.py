"""What stories teach: in which situations which action comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialogue.policies.learning import StoryTable
from dialogue.policies.states import story_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dialogue.policies.lessons import Lesson


def learn_stories(lessons: Iterable[Lesson], max_history: int | None) -> StoryTable:
    """Return what a policy remembers that looks back on so many states (None: on all)."""
    examples = (example for lesson in lessons for example in lesson.examples())
    return StoryTable(
        learned((story_key(example.states[-(max_history or 0) :]), example.action) for example in examples)
    )


def learned(examples: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the action of each key; a key that was seen with several actions says nothing."""
    lookup: dict[str, str] = {}
    doubtful = set()
    for key, action in examples:
        if lookup.setdefault(key, action) != action:
            doubtful.add(key)
    return {key: action for key, action in lookup.items() if key not in doubtful}
