"""The action server: where a project's own actions run."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

import dialogue
from assistant.compatibility import RASA_VERSION
from assistant.http import CallFailed
from assistant.outside import ActionFailed, ActionRejected
from assistant.shown import shown
from assistant.wording import uttered

if TYPE_CHECKING:
    from assistant.endpoint import Endpoint
    from assistant.http import Answer, Client
    from assistant.scene import Scene
    from assistant.wording import Message, Wording
    from dialogue import BotUttered, Domain, Event

Json = dict[str, Any]

_VALIDATES: Final = "validate_"  # actions that always look at the domain
_LONGEST_COMPLAINT: Final = 300


class ActionServer:
    """An action server that works for one domain.

    With `compresses` requests are deflated. If the endpoint has `enable_selective_domain`, only actions whose names
    begin with `validate_`, and those that the domain marks so, are sent the domain.
    """

    def __init__(self, client: Client, endpoint: Endpoint, domain: Domain, *, compresses: bool = False) -> None:
        self._client = client
        self._endpoint = endpoint
        self._domain = domain
        self._domain_text = dialogue.dumps(domain.document)
        self._is_selective = bool(endpoint.extra.get("enable_selective_domain"))
        self._compresses = compresses

    async def run(self, action: str, scene: Scene, wording: Wording) -> list[Event]:
        """Run an action. Returns what the bot says first, worded by `wording` where it answers with names of responses.

        Raises:
            ActionRejected: it does not want to run now.
            ActionFailed: there was no answer, or it can't be used, or a response can't be worded.
        """
        answer = await self._ask(action, scene)
        events, responses = self._read(action, answer)
        said = [await _said(response, scene, wording) for response in responses]
        now = time.time()  # in the log they come behind what was said, whatever time the server gives them
        return [event for event in said if event is not None] + [replace(event, timestamp=now) for event in events]

    async def _ask(self, action: str, scene: Scene) -> Answer:
        body = self._request(action, scene).encode()
        headers = {}
        if self._compresses:
            body, headers = zlib.compress(body), {"Content-Encoding": "deflate"}
        try:
            return await self._client.post(self._endpoint, body, headers=headers)
        except CallFailed as error:
            raise self._failed(action, error.reason) from error

    def _request(self, action: str, scene: Scene) -> str:
        name, sender, domain = dialogue.dumps(action), dialogue.dumps(scene.sender), ""
        if self._sends_domain(action):
            domain = f',"domain":{self._domain_text}'
        head = f'"next_action":{name},"sender_id":{sender},"tracker":{shown(scene)},"version":"{RASA_VERSION}"'
        return f"{{{head}{domain}}}"

    def _sends_domain(self, action: str) -> bool:
        return not self._is_selective or action in self._domain.sends_domain or action.startswith(_VALIDATES)

    def _read(self, action: str, answer: Answer) -> tuple[list[Event], list[Json]]:
        if answer.status == 400:
            raise self._rejected(action, answer)
        if answer.status >= 400:
            raise self._failed(action, f"it answered with status {answer.status}{_complaint(answer)}")
        try:
            return _parsed(answer)
        except (dialogue.InvalidJson, _InvalidAnswer) as error:
            raise self._failed(action, f"its answer can't be used: {error}") from error

    def _rejected(self, action: str, answer: Answer) -> ActionRejected | ActionFailed:
        match _json_or_none(answer):
            case {"action_name": str(name)}:
                return ActionRejected(name)
        return self._failed(action, "it answered with status 400, but not with the name of an action that was rejected")

    def _failed(self, action: str, reason: str) -> ActionFailed:
        return ActionFailed(f"the action {action!r} failed at the action server {self._endpoint.public_url}: {reason}")


class _InvalidAnswer(ValueError):
    """An answer is JSON, but not of the form that answers have."""


def _parsed(answer: Answer) -> tuple[list[Event], list[Json]]:
    value = answer.json()
    if not isinstance(value, dict):
        raise _InvalidAnswer("it is not an object")
    now = time.time()
    events = [_event(index, item, now) for index, item in enumerate(_list(value, "events"))]
    return events, [_response(index, item) for index, item in enumerate(_list(value, "responses"))]


def _list(value: Json, key: str) -> list[Any]:
    items = value.get(key, [])
    if not isinstance(items, list):
        raise _InvalidAnswer(f"{key} is not a list")
    return items


def _event(index: int, item: Any, now: float) -> Event:
    try:
        return dialogue.from_wire(item, now)
    except dialogue.InvalidEvent as error:
        raise _InvalidAnswer(f"events[{index}]: {error}") from None


def _response(index: int, item: Any) -> Json:
    match item:
        case {"response": name} if not isinstance(name, str | None):
            raise _InvalidAnswer(f"responses[{index}].response is not a name")
        case {"buttons": buttons} if buttons and not isinstance(buttons, list):
            raise _InvalidAnswer(f"responses[{index}].buttons is not a list")
        case dict():
            return item
    raise _InvalidAnswer(f"responses[{index}] is not an object")


async def _said(response: Json, scene: Scene, wording: Wording) -> BotUttered | None:
    """What an item of `responses` makes the bot say: with a name, that response with the other keys added to it.

    None when there is no such response at this moment.
    """
    given = {key: value for key, value in response.items() if key != "response"}
    name = response.get("response")
    if name is None:
        return uttered(_with({}, given))
    message = await wording.word(name, scene, given)
    return uttered(_with({**message, "utter_action": name}, given)) if message else None


def _with(message: Message, given: Json) -> Message:
    """The message with all that is not empty; buttons come behind those that it has."""
    more = {key: value for key, value in given.items() if value}
    if "buttons" in more:
        more["buttons"] = [*(message.get("buttons") or ()), *more["buttons"]]
    return {**message, **more}


def _complaint(answer: Answer) -> str:
    match _json_or_none(answer):
        case {"error": str(error)}:
            return f": {error[:_LONGEST_COMPLAINT]}"
    return ""


def _json_or_none(answer: Answer) -> Any:
    try:
        return answer.json()
    except dialogue.InvalidJson:
        return None
