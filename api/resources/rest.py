"""The `rest` channel: a message comes in a request, and what the bot says goes back in its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

import dialogue
from api import requests
from api.endpoint import authorize_sender, identify_caller, json_response
from api.errors import ApiError, BadRequest, NotAuthorized
from api.metrics import CHANNEL_FAILURES
from assistant import COLLECTOR, Collector, Message, Output
from assistant.messages import messages_of
from dialogue.json import dumps
from eventstore import EventStoreError, check_conversation_id

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request
    from sanic.response import BaseHTTPResponse

    from api.service import Service
    from assistant.channels.output import Said

log = structlog.get_logger("turnlog.rest")

Json = dict[str, Any]

NAME = "rest"


async def get_health(_service: Service, _request: Request) -> HTTPResponse:
    """The health check of the channel."""
    return json_response('{"status":"ok"}')


async def post_message(service: Service, request: Request) -> BaseHTTPResponse:
    """Answer a user's message: a list of what the bot says.

    As in Rasa, the list is empty when the message could not be answered, and the log says why. Only a database that is
    away is an error here too: the message is not in the log then.
    """
    identify_caller(service, request)
    body = body_of(request)
    if requests.truth(request, "stream"):
        return await _stream(service, request, body)
    output = Collector()
    await _answer(service, body, output)
    return json_response(dumps(output.messages))


async def _answer(service: Service, body: Json, output: Output) -> None:
    try:
        message = message_of(body)
        authorize_sender(service, message.conversation)
        await service.answer(message, output)
    except (EventStoreError, BadRequest, NotAuthorized):
        raise
    except Exception as error:  # noqa: BLE001 - clients of this channel know no error
        CHANNEL_FAILURES.labels(NAME).inc()
        _log_failure(error, body)


def message_of(body: Json) -> Message:
    """The message in a request.

    Raises:
        TypeError: it is not one.
        BadRequest: no conversation can have the sender's id.
    """
    text, metadata = body.get("message"), body.get("metadata") or {}
    if not isinstance(text, str):
        raise TypeError(f"message must be text, is {repr(text)[:80]}")
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be an object, is {repr(metadata)[:80]}")
    channel = body.get("input_channel") or NAME
    sender = sender_of(body)
    return Message(conversation=sender, text=text.strip(), input_channel=str(channel), metadata=metadata)


def sender_of(body: Json) -> str:
    """The conversation in a request.

    Raises:
        BadRequest: no conversation can have the sender's id.
    """
    sender = str(body.get("sender") or requests.DEFAULT_CONVERSATION)
    try:
        check_conversation_id(sender)
    except ValueError as error:
        raise BadRequest(f"Invalid sender: {error}.", "sender", "body") from None
    return sender


def body_of(request: Request) -> Json:
    """The object in a request's body.

    Raises:
        BadRequest: there is none.
        InvalidJson: it is not JSON.
    """
    value = dialogue.loads(request.body) if request.body else None
    if not isinstance(value, dict):
        raise BadRequest("The request's body must be a JSON object with 'sender' and 'message'.", "", "body")
    return value


def _log_failure(error: BaseException, body: Json) -> None:
    known = isinstance(error, TypeError | ApiError)
    log.error(
        "a message could not be answered",
        sender=str(body.get("sender"))[:80],
        reason=str(error),
        exc_info=None if known else error,
    )


# --- as they come -----------------------------------------------------------------------------------------------------


class _Lines(Output):
    """An output that hands each message on as a line of JSON."""

    name = COLLECTOR

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, said: Said) -> None:
        """Hand the messages on."""
        for event in said.events:
            for message in messages_of(event, said.conversation):
                self.lines.put_nowait(dumps(message) + "\n")


async def _stream(service: Service, request: Request, body: Json) -> BaseHTTPResponse:
    """Answer with one line for each message, as soon as it is in the log; the end of the turn ends the answer."""
    output = _Lines()
    work = asyncio.ensure_future(_answer(service, body, output))
    work.add_done_callback(lambda _task: output.lines.put_nowait(None))
    line = await output.lines.get()
    if line is None:
        await work  # nothing was sent yet: the status still can say what went wrong
    response: BaseHTTPResponse | None = await request.respond(
        content_type="text/event-stream", headers={"X-Request-ID": request.ctx.request_id}
    )
    assert response is not None
    while line is not None:
        await response.send(line)
        line = await output.lines.get()
    if (error := work.exception()) is not None:
        CHANNEL_FAILURES.labels(NAME).inc()
        _log_failure(error, body)
    return response
