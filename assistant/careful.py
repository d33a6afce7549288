"""The way out: nothing leaves this process before the log has all that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from assistant.outside import Outside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.draft import Draft
    from assistant.scene import Scene
    from dialogue import BotUttered, Event


class Services(Outside, Protocol):
    """The action server, and who words the responses."""

    @property
    def words_elsewhere(self) -> bool:
        """Whether responses are worded by another server."""


class Careful(Outside):
    """The services as the actions of one turn use them."""

    def __init__(self, services: Services, draft: Draft) -> None:
        self._services, self._draft = services, draft

    async def call(self, action: str, scene: Scene) -> list[Event]:
        """Run an action on the action server. Raises as Outside says, and what `Draft.reserve` raises."""
        await self._draft.reserve()
        return await self._services.call(action, scene)

    async def respond(self, name: str, scene: Scene, arguments: Mapping[str, Any] | None = None) -> BotUttered | None:
        """Word a response. Raises as Outside says, and what `Draft.reserve` raises."""
        if self._services.words_elsewhere:
            await self._draft.reserve()
        return await self._services.respond(name, scene, arguments)
