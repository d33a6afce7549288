"""The NLG server: it words the responses of a project that writes them elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

import dialogue
from assistant.http import CallFailed
from assistant.outside import ActionFailed
from assistant.shown import shown
from assistant.variations import fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assistant.endpoint import Endpoint
    from assistant.http import Answer, Client
    from assistant.scene import Scene
    from assistant.wording import Message

Json = dict[str, Any]


class _Answer(msgspec.Struct):
    """What an answer may hold; its other keys are not looked at."""

    text: str | None = None
    id: str | None = None
    buttons: list[Json] | None = None
    elements: list[Json] | None = None
    attachment: Json | None = None
    image: str | None = None
    custom: Json = {}


class NlgServer:
    """Asks a server for every response, also for those that the domain does not have."""

    is_elsewhere: Final = True

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self._client = client
        self._endpoint = endpoint

    async def word(self, name: str, scene: Scene, arguments: Mapping[str, Any]) -> Message:
        """What the server answers, which it words by itself: nothing is put in here.

        Raises:
            ActionFailed: there was no answer, or it can't be used.
        """
        try:
            answer = await self._client.post(self._endpoint, _request(name, scene, arguments).encode())
        except CallFailed as error:
            raise self._failed(name, error.reason) from error
        if answer.status >= 400:
            raise self._failed(name, f"it answered with status {answer.status}")
        try:
            return _message(answer)
        except (dialogue.InvalidJson, msgspec.ValidationError) as error:
            raise self._failed(name, f"its answer can't be used: {error}") from error

    def _failed(self, name: str, reason: str) -> ActionFailed:
        return ActionFailed(f"the response {name!r} failed at the NLG server {self._endpoint.public_url}: {reason}")


def _request(name: str, scene: Scene, arguments: Mapping[str, Any]) -> str:
    head = {"response": name, "id": _variation_id(name, scene), "arguments": dict(arguments)}
    channel = dialogue.dumps({"channel": {"name": scene.channel}})
    return f'{dialogue.dumps(head)[:-1]},"tracker":{shown(scene)},{channel[1:]}'


def _variation_id(name: str, scene: Scene) -> str | None:
    """The id of the first variation that the domain has for this moment."""
    return next((each.get("id") for each in fitting(name, scene)), None)


def _message(answer: Answer) -> Message:
    message = answer.json()
    if not isinstance(message, dict):
        raise dialogue.InvalidJson("it is not an object")
    msgspec.convert({key: message[key] for key in _Answer.__struct_fields__ if key in message}, _Answer)
    return message
