"""What is outside of this process, as actions use it: the action server, and whoever words the responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.outside import ActionFailed, Outside
from assistant.wording import uttered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.action_server import ActionServer
    from assistant.scene import Scene
    from assistant.wording import Wording
    from dialogue import BotUttered, Event


class Services(Outside):
    """The services of one model. Every call goes out at once: who must have written something first, has done so."""

    def __init__(self, action_server: ActionServer | None, wording: Wording) -> None:
        self._action_server = action_server
        self._wording = wording

    @property
    def words_elsewhere(self) -> bool:
        """Whether responses are worded by another server."""
        return self._wording.is_elsewhere

    async def call(self, action: str, scene: Scene) -> list[Event]:
        """Run an action on the action server. Raises as Outside says."""
        if self._action_server is None:
            raise ActionFailed(
                f"the action {action!r} needs an action server: name it under `action_endpoint` in endpoints.yml"
            )
        return await self._action_server.run(action, scene, self._wording)

    async def respond(self, name: str, scene: Scene, arguments: Mapping[str, Any] | None = None) -> BotUttered | None:
        """Word a response. Raises as Outside says."""
        message = await self._wording.word(name, scene, arguments or {})
        return None if message is None else uttered({**message, "utter_action": name})
