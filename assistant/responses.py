"""Wording responses from the domain's templates."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from assistant.interpolation import InvalidTemplate, interpolated
from assistant.outside import ActionFailed
from assistant.variations import fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from assistant.scene import Scene
    from assistant.wording import Message

_INTERPOLATED: Final = frozenset({"text", "image", "custom", "buttons", "attachment", "quick_replies"})


class Responses:
    """Words responses from the scene's domain. `choose` picks one of the variations that fit a moment equally well."""

    is_elsewhere: Final = False

    def __init__(self, choose: Callable[[Sequence[Message]], Message] = random.choice) -> None:
        self._choose = choose

    async def word(self, name: str, scene: Scene, arguments: Mapping[str, Any]) -> Message | None:
        """A variation of the response with slots put in, and arguments, which come before slots of the same name.

        None when the domain has no variation for this moment.

        Raises:
            ActionFailed: braces in its texts do not match.
        """
        variations = fitting(name, scene)
        if not variations:
            return None
        try:
            return _filled(self._choose(variations), {**scene.tracker.slots, **arguments})
        except InvalidTemplate as error:
            raise ActionFailed(f"the response {name!r} can't be worded: {error}") from error


def _filled(variation: Message, variables: Mapping[str, Any]) -> Message:
    return {key: interpolated(value, variables) if key in _INTERPOLATED else value for key, value in variation.items()}
