"""What actions need from outside of the conversation: the action server, and whoever words the responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.scene import Scene
    from dialogue import BotUttered, Event

Json = dict[str, Any]


class ActionRejected(Exception):
    """An action refuses to run now (the action server answered 400, or a form found nothing in the message)."""

    def __init__(self, action: str) -> None:
        super().__init__(f"the action {action!r} was rejected")
        self.action = action


class ActionFailed(Exception):
    """An action could not be run, or its answer can't be used. The message says which, where it was tried, and why."""


class Outside(Protocol):
    """Given to actions. Who implements it lets nothing out before the log has all that was so far."""

    async def call(self, action: str, scene: Scene) -> list[Event]:
        """Run an action on the action server. Returns its events: what the bot says first, then the others.

        Raises:
            ActionRejected: it answered so.
            ActionFailed: it can't be reached, or its answer can't be used; also when none is configured.
        """

    async def respond(self, name: str, scene: Scene, arguments: Mapping[str, Any] | None = None) -> BotUttered | None:
        """The response of this name (`utter_...`), worded from templates or by the NLG server; None when there is none.

        Raises:
            ActionFailed: it can't be worded.
        """
