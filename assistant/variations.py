"""Which variations of a response may be said at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assistant.scene import Scene
    from assistant.wording import Message


def fitting(name: str, scene: Scene) -> Sequence[Message]:
    """The variations of a response from which one is to be chosen; none when nothing is written for this moment.

    Those for the scene's channel come before those for any, and among each of both those whose conditions hold before
    those without conditions. What is written for another channel does not count.
    """
    slots = scene.tracker.slots
    written = scene.domain.responses.get(name, ())
    conditional = [each for each in written if each.get("condition") is not None and _holds(each["condition"], slots)]
    default = [each for each in written if each.get("condition") is None]
    for channel in (scene.channel, None):
        for group in (conditional, default):
            if found := [each for each in group if each.get("channel") == channel]:
                return found
    return ()


def _holds(conditions: Sequence[Mapping[str, Any]], slots: Mapping[str, Any]) -> bool:
    return all(_equal(slots.get(condition["name"]), condition["value"]) for condition in conditions)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return bool(value == wanted)
