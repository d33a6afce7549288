"""Understanding by an NLU server: one of today, or one of the time when Rasa's NLU was a program of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

import dialogue
from assistant.http import CallFailed
from assistant.nlu.components import NO_INTENT
from assistant.nlu.explicit import explicit

if TYPE_CHECKING:
    from assistant.endpoint import Endpoint
    from assistant.http import Answer, Client
    from dialogue import Domain

Json = dict[str, Any]

log = structlog.get_logger("turnlog.nlu")

NOT_UNDERSTOOD: Final[Json] = {"intent": {"name": "", "confidence": 0.0}, "entities": [], "text": ""}


class _Unusable(Exception):
    """The server's answer does not say what a text means."""


class _Intent(Struct):
    name: str | None = None
    confidence: float | None = None


class _Entity(Struct):
    entity: str
    role: str | None = None
    group: str | None = None


class _Meaning(Struct):
    """What is read of an answer."""

    intent: _Intent | None = None
    entities: list[_Entity] | None = None
    intent_ranking: list[_Intent] | None = None
    response_selector: dict[str, Any] | None = None


class NluServer:
    """Asks a server what a text means, unless the text names its intent itself.

    With an `old_model`, `project/model` or `model`, the server is asked as Rasa NLU was, by GET.
    """

    def __init__(self, client: Client, endpoint: Endpoint, domain: Domain, old_model: str | None = None) -> None:
        self._client, self._endpoint, self._domain, self._old_model = client, endpoint, domain, old_model

    async def parse(self, text: str, conversation: str) -> Json:
        """The parse data of a text. A server that is away, or answers something else, has not understood it."""
        known = explicit(text.strip(), self._domain)
        if known is not None:
            return known
        try:
            return {"text": text, **_parsed(await self._ask(text, conversation))}
        except (CallFailed, dialogue.InvalidJson, _Unusable) as error:
            log.error("a message was not understood", nlu=self._endpoint.public_url, reason=str(error))
            return NOT_UNDERSTOOD

    async def _ask(self, text: str, conversation: str) -> Answer:
        if self._old_model is not None:
            return await self._ask_old(text, self._old_model)
        token = self._endpoint.token.value if self._endpoint.token else None
        body = dialogue.dumps({"token": token, "text": text, "message_id": conversation})
        # The token goes with the text, and by no other name.
        return await self._client.post(replace(self._endpoint, token=None), body.encode(), path="model/parse")

    async def _ask_old(self, text: str, model: str) -> Answer:
        project, _, name = model.rpartition("/")
        params = {"model": name, "project": project or "default", "q": text}
        return await self._client.get(replace(self._endpoint, params={**self._endpoint.params, **params}), path="parse")


def _parsed(answer: Answer) -> Json:
    if answer.status != 200:
        raise _Unusable(f"it answered with status {answer.status}")
    parsed: Json = answer.json()
    try:
        convert(parsed, _Meaning)
    except ValidationError as error:
        raise _Unusable(f"its answer is not what an NLU server says of a text: {error}") from error
    intent = {"name": None, **(parsed.get("intent") or NO_INTENT)}
    return {**parsed, "intent": intent, "entities": parsed.get("entities") or []}
