"""What an action is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from dialogue import Domain

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Event


class Action(Protocol):
    """Something that the bot can do. Knows nothing of the log: what it does comes out as events."""

    @property
    def name(self) -> str:
        """As it stands in `action` events."""

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """Carry the action out; return its events, in the order of the log, without the `action` event itself.

        Raises:
            ActionRejected: it does not want to run now.
            ActionFailed: it can't.
        """


Find = Callable[[str, Domain], Action]
"""Finds an action by its name, for actions that run others."""
