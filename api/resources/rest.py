"""The `rest` channel: a message comes in a request, and what the bot says goes back in its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

import dialogue
from api import requests
from api.endpoint import json_response
from api.errors import ApiError, BadRequest
from assistant import Collector, Message
from assistant.messages import messages_of
from dialogue.json import dumps
from eventstore import EventStoreError, StoreUnavailable, check_conversation_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sanic import HTTPResponse, Request
    from sanic.response import BaseHTTPResponse

    from api.service import Service
    from dialogue import BotUttered

log = structlog.get_logger("turnlog.rest")

NAME = "rest"


async def get_health(_service: Service, _request: Request) -> HTTPResponse:
    """The health check of the channel."""
    return json_response('{"status":"ok"}')


async def post_message(service: Service, request: Request) -> BaseHTTPResponse:
    """Answer a user's message: a list of what the bot says.

    As in Rasa, the list is empty when the message could not be answered, and the log says why. Only a database that is
    away is an error here too: the message is not in the log then.
    """
    body = _body(request)
    if requests.truth(request, "stream"):
        return await _stream(service, request, body)
    output = Collector()
    try:
        await service.uninterrupted(service.assistant().answer(message_of(body), output))
    except (EventStoreError, BadRequest):
        raise
    except Exception as error:  # noqa: BLE001 - clients of this channel know no error
        _log_failure(error, body)
    return json_response(dumps(output.messages))


def message_of(body: dict[str, Any]) -> Message:
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
    sender = str(body.get("sender") or requests.DEFAULT_CONVERSATION)
    try:
        check_conversation_id(sender)
    except ValueError as error:
        raise BadRequest(f"Invalid sender: {error}.", "sender", "body") from None
    return Message(conversation=sender, text=text.strip(), input_channel=str(channel), metadata=metadata)


def _body(request: Request) -> dict[str, Any]:
    value = dialogue.loads(request.body) if request.body else None
    if not isinstance(value, dict):
        raise BadRequest("The request's body must be a JSON object with 'sender' and 'message'.", "", "body")
    return value


def _log_failure(error: Exception, body: dict[str, Any]) -> None:
    known = isinstance(error, TypeError | ApiError)
    log.error(
        "a message could not be answered",
        sender=str(body.get("sender"))[:80],
        reason=str(error),
        exc_info=None if known else error,
    )


# --- as they come -----------------------------------------------------------------------------------------------------


class _Lines:
    """An output that hands each message on as a line of JSON."""

    name = Collector().name

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, conversation: str, said: Sequence[BotUttered]) -> None:
        """Hand the messages on."""
        for event in said:
            for message in messages_of(event, conversation):
                self.lines.put_nowait(dumps(message) + "\n")


async def _stream(service: Service, request: Request, body: dict[str, Any]) -> BaseHTTPResponse:
    """Answer with one line for each message, as soon as it is in the log; the end of the turn ends the answer."""
    output = _Lines()
    work = asyncio.ensure_future(_answer_into(service, body, output))
    work.add_done_callback(lambda _task: output.lines.put_nowait(None))
    first = await output.lines.get()
    if first is None and (error := work.exception()) is not None:
        raise error  # nothing was sent yet: the status still can say it
    response = await request.respond(content_type="text/event-stream", headers={"X-Request-ID": request.ctx.request_id})
    assert response is not None
    while first is not None:
        await response.send(first)
        first = await output.lines.get()
    await response.eof()
    streamed: BaseHTTPResponse = response
    return streamed


async def _answer_into(service: Service, body: dict[str, Any], output: _Lines) -> None:
    try:
        await service.uninterrupted(service.assistant().answer(message_of(body), output))
    except (StoreUnavailable, BadRequest):
        raise
    except Exception as error:  # noqa: BLE001 - clients of this channel know no error
        _log_failure(error, body)
