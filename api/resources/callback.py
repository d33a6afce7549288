"""The `callback` channel: a message comes in a request, and what the bot says is posted to an address of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sanic.response import text

from api.endpoint import authorize_sender, identify_caller
from api.errors import BadRequest
from api.resources.rest import body_of, sender_of
from assistant import Message

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request

    from api.service import Service

NAME: Final = "callback"


async def post_callback_message(service: Service, request: Request) -> HTTPResponse:
    """Answer a user's message; when that is done, the bot's messages have been posted."""
    identify_caller(service, request)
    body = body_of(request)
    said, sender = body.get("message"), sender_of(body)
    if not isinstance(said, str):
        raise BadRequest("The message is missing, or is no text.", "message", "body")
    authorize_sender(service, sender)
    service.loaded_model()
    output = service.channels.output(NAME)
    assert output is not None  # with a model, the channel is open
    await service.answer(Message(conversation=sender, text=said.strip(), input_channel=NAME), output)
    return text("success")
