"""The `callback` channel's way out: each message is posted to an address of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from assistant.channels.output import Output, Said
from assistant.http import CallFailed
from assistant.messages import messages_of
from dialogue.json import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from assistant.endpoint import Endpoint
    from assistant.http import Client

log = structlog.get_logger("turnlog.callback")

NAME: Final = "callback"


class Callback(Output):
    """Posts to one endpoint. `failed` is called for each message that did not arrive."""

    def __init__(self, client: Client, endpoint: Endpoint, failed: Callable[[], None]) -> None:
        self._client, self._endpoint, self._failed = client, endpoint, failed

    @property
    def name(self) -> str:
        """As in credentials.yml."""
        return NAME

    @property
    def is_remote(self) -> bool:
        """Messages arrive in the order of the turns."""
        return True

    async def send(self, said: Said) -> None:
        """Post one message after the other."""
        for event in said.events:
            for message in messages_of(event, said.conversation):
                await self._post(said.conversation, dumps(message).encode())

    async def _post(self, conversation: str, body: bytes) -> None:
        try:
            answer = await self._client.post(self._endpoint, body)
        except CallFailed as error:
            self._fail(conversation, str(error))
            return
        if answer.status >= 400:
            self._fail(conversation, f"{self._endpoint.public_url}: it answers {answer.status}")

    def _fail(self, conversation: str, reason: str) -> None:
        log.error("a message could not be delivered", channel=NAME, conversation=conversation, reason=reason)
        self._failed()
