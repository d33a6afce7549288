"""What the bot says: messages, as they are written in a domain, and the events that they become."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from dialogue import BotUttered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.scene import Scene

Message = dict[str, Any]
"""A response's variation, or an answer of the same form: `text`, `buttons`, `image`, ... Shared: do not change it."""

_DATA: Final = ("elements", "quick_replies", "buttons", "attachment", "image", "custom")


class Wording(Protocol):
    """Who puts responses into words."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether another server does it."""

    async def word(self, name: str, scene: Scene, arguments: Mapping[str, Any]) -> Message | None:
        """The response of this name at this moment; None when there is none.

        Raises:
            ActionFailed: it can't be worded.
        """


def uttered(message: Message) -> BotUttered:
    """The event by which a message is said. An image is an attachment too, unless there is another one."""
    data = {key: message.get(key) for key in _DATA}
    data["attachment"] = data["attachment"] or data["image"]
    rest = {key: value for key, value in message.items() if key != "text" and key not in data}
    return BotUttered(timestamp=time.time(), metadata=rest, text=message.get("text"), data=data)
