"""The protocol of rasa_core 0.9: clients that run the actions themselves, and those that are answered in one request.

A message comes in by `parse`, which tells the next action. The client runs it, says by `continue` what came of it, and
is told the next one, until that is to listen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api import older, requests
from api.endpoint import JSON_TYPE
from api.older import OlderError
from api.resources.assistant import said_in
from api.resources.tracker import headers_of, terms_of
from assistant import COLLECTOR, AlreadyDone, Collector, Message, Outcome, Scene, UnknownAction
from dialogue.json import dumps
from projections import written

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from sanic import HTTPResponse, Request
    from sanic.response import BaseHTTPResponse

    from api.service import Service
    from assistant import Told
    from assistant.channels.output import Said
    from dialogue import BotUttered

NO_QUERY: Final = "Invalid parse parameter specified"
UNKNOWN: Final = (
    "Can not execute action '{}' as it is not listed in the domains 'actions' section in the domain YAML file. "
    "Make sure you have added all actions to the domain file."
)
PAGE: Final = 1000  #: conversations that are read at once


async def parse(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Take a message in, and tell what is to be done."""
    assistant = service.predicting_assistant()
    message = Message(conversation=conversation, text=_query(request))
    loop = assistant.remote_loop
    return await _told(service, conversation, assistant.hear(message, terms_of(request)), loop.heard_again)


async def go_on(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Write down what the client has done, and tell what is to be done next."""
    assistant = service.predicting_assistant()
    body = _object(request)
    executed, events = body.get("executed_action"), older.events_of(body.get("events", []))
    if executed is not None and not isinstance(executed, str):
        raise OlderError(UNKNOWN.format(executed))
    work = assistant.go_on(conversation, executed, events, terms_of(request))
    try:
        return await _told(service, conversation, work, assistant.remote_loop.again)
    except UnknownAction:
        raise OlderError(UNKNOWN.format(executed)) from None


async def respond(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Answer a message: a list of what the bot says."""
    assistant, output = service.assistant(), _Messages()
    message = Message(conversation=conversation, text=_query(request))
    try:
        outcome = await service.uninterrupted(assistant.answer(message, output, terms_of(request)))
    except AlreadyDone as done:
        outcome = Outcome(done.base, done.version, repeated=True)
        output.take(await said_in(service, conversation, outcome), conversation)
    headers = headers_of(older.etag(service, outcome.version), repeated=outcome.repeated)
    return older.answer(output.messages, headers)


async def get_conversation_ids(service: Service, request: Request) -> BaseHTTPResponse:
    """The ids of all conversations in order of creation, sent as they are read."""
    rows = await service.store.read.conversations(0, PAGE)  # before anything is sent: it may fail
    headers = {"X-Request-ID": request.ctx.request_id}
    response: BaseHTTPResponse | None = await request.respond(content_type=JSON_TYPE, headers=headers)
    assert response is not None
    before = "["
    while rows:
        await response.send(before + ",".join(dumps(name) for _, name in rows))
        rows, before = await service.store.read.conversations(rows[-1][0], PAGE), ","
    await response.send("]\n" if before == "," else "[]\n")
    return response


# --- answers ----------------------------------------------------------------------------------------------------------


class _Messages(Collector):
    """Gathers what the bot says as 0.9 says it."""

    async def send(self, said: Said) -> None:
        """Keep the messages."""
        self.take(said.events, said.conversation)

    def take(self, events: Sequence[BotUttered], recipient: str) -> None:
        """Keep what these events say."""
        for event in events:
            self.messages += older.messages_of(event, recipient)


async def _told(
    service: Service,
    conversation: str,
    work: Coroutine[Any, Any, tuple[Told, Outcome]],
    again: Callable[[Scene], Told],
) -> HTTPResponse:
    """What the client is told, now or when it asked for the same before."""
    try:
        told, outcome = await service.uninterrupted(work)
    except AlreadyDone as done:
        outcome = Outcome(done.base, done.version, repeated=True)
        with written():
            told = again(await _scene(service, conversation, done.version))
    headers = headers_of(older.etag(service, outcome.version), repeated=outcome.repeated)
    shown = older.state(told.tracker, conversation, service.trackers.domain)
    info = {} if told.info is None else {"info": told.info}
    return older.answer({"next_action": told.next_action, "tracker": shown, **info}, headers)


async def _scene(service: Service, conversation: str, version: int) -> Scene:
    reading = await service.ledger.at(conversation, version)
    return Scene(
        sender=conversation,
        channel=COLLECTOR,
        domain=service.trackers.domain,
        tracker=reading.tracker,
        events=reading.events,
    )


# --- bodies -----------------------------------------------------------------------------------------------------------


def _object(request: Request) -> dict[str, Any]:
    body = older.body_of(request.body)
    if not isinstance(body, dict):
        raise OlderError("The body must be a JSON object.")
    return body


def _query(request: Request) -> str:
    """The message: in the body, of a GET in the query."""
    body = requests.all_given(request) if request.method == "GET" else _object(request)
    text = body.get("query", body.get("q"))
    if not isinstance(text, str):
        raise OlderError(NO_QUERY)
    return text
