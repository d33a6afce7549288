"""The channels in a service: what they may ask of it, and where in the application they are."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from api import metrics, requests
from api.auth import Authenticator, AuthSettings, Identity, JwtSettings
from api.endpoint import authorize_sender, finish, identify_caller
from api.errors import NotAuthenticated
from api.metrics import EndpointMetrics
from assistant import Message
from assistant.channels.callback import Callback
from assistant.channels.custom import CustomOutput
from assistant.channels.socketio import Guard, Sockets, Visitor
from eventstore import check_conversation_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sanic import Blueprint, Request, Sanic
    from sanic.response import BaseHTTPResponse

    from api.auth import JwtMethod
    from api.process import Process
    from api.settings import Settings
    from assistant import Output
    from assistant.channels.custom import InputChannel, UserMessage
    from assistant.channels.socket_settings import SocketSettings
    from assistant.http import Client

WEBHOOKS: Final = "/webhooks"
METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")  #: of channels of the user's own, that are counted


def failed(channel: str) -> Callable[[], None]:
    """Counts a message of a channel that was not answered or not delivered."""
    return metrics.CHANNEL_FAILURES.labels(channel).inc


def outputs(
    settings: Settings, client: Client, sockets: Sockets | None, custom: list[InputChannel]
) -> Iterator[Output]:
    """The ways to users who are not waiting for an answer."""
    if settings.credentials.callback is not None:
        yield Callback(client, settings.credentials.callback, failed("callback"))
    if sockets is not None:
        yield sockets
    for channel in custom:
        if (output := channel.get_output_channel()) is not None:
            yield CustomOutput(output, failed(channel.name()))


# --- sockets ----------------------------------------------------------------------------------------------------------


def sockets_of(process: Process) -> Sockets | None:
    """The channel `socketio`, if there is one."""
    settings = process.settings.credentials.socketio
    if settings is None:
        return None
    return Sockets(
        settings,
        SocketGuard(_own(settings), process.authenticator if process.settings.auth.webhooks else None),
        process.answer,
        failed("socketio"),
        polls=process.settings.workers == 1,
    )


def _own(settings: SocketSettings) -> Authenticator | None:
    if settings.jwt_key is None:
        return None
    return Authenticator(
        AuthSettings(jwt=JwtSettings(secrets=(settings.jwt_key,), method=cast("JwtMethod", settings.jwt_method)))
    )


class SocketGuard(Guard):
    """Asks for a JWT of the channel's own key, and for what the service asks of its clients, where these are given."""

    def __init__(self, own: Authenticator | None, service: Authenticator | None) -> None:
        self._own, self._service = own, service

    def admit(self, token: str | None, query_token: str | None, authorization: str | None) -> Visitor | None:
        """The visitor; None: turned away."""
        bearer = f"Bearer {token.removeprefix('Bearer ')}" if token else None
        if self._own is not None and _identity(self._own, None, bearer) is None:
            return None
        if self._service is None:
            return Visitor()
        identity = _identity(self._service, query_token, authorization) or _identity(self._service, token, bearer)
        return None if identity is None else _visitor(identity)


def _identity(authenticator: Authenticator, token: str | None, authorization: str | None) -> Identity | None:
    try:
        return authenticator.authenticate(token, authorization)
    except NotAuthenticated:
        return None


def _visitor(identity: Identity) -> Visitor | None:
    if identity.kind != "jwt" or identity.role == "admin":
        return Visitor()
    return Visitor(identity.username) if identity.role == "user" and identity.username else None


# --- channels of the user's own ---------------------------------------------------------------------------------------


def install_custom(app: Sanic[Any, Any], process: Process) -> Iterator[str]:
    """Add the routes of the user's own channels, and give the paths that want to be asked for by browsers."""
    for channel in process.custom:
        blueprint = channel.blueprint(partial(_answer, process, channel.name()))
        _accompany(blueprint, process, channel.name())
        app.blueprint(blueprint, url_prefix=f"{WEBHOOKS}/{channel.url_prefix()}")
        yield from (f"/{route.path}" for route in blueprint.routes if "OPTIONS" not in route.methods)


def _accompany(blueprint: Blueprint, process: Process, name: str) -> None:
    """Give the routes what our own have around their handlers."""
    counts = {method: EndpointMetrics(name, method) for method in METHODS}

    # Sanic takes nothing but functions here.
    async def begin(request: Request) -> None:
        request.ctx.began = time.perf_counter()
        request.ctx.request_id = requests.request_id(request)
        identify_caller(process.service, request, required=request.method != "GET")

    async def end(request: Request, response: BaseHTTPResponse) -> None:
        if request.method in counts:
            finish(process.service, request, response, counts[request.method], request.ctx.began)

    blueprint.on_request(begin)
    blueprint.on_response(end)  # type: ignore[no-untyped-call]  # Sanic does not annotate it


async def _answer(process: Process, name: str, message: UserMessage) -> None:
    check_conversation_id(message.sender_id)
    authorize_sender(process.service, message.sender_id)
    await process.answer(
        Message(
            conversation=message.sender_id,
            text=message.text,
            input_channel=message.input_channel,
            metadata=message.metadata or {},
            parse_data=message.parse_data,
            message_id=message.message_id,
        ),
        CustomOutput(message.output_channel, failed(name)),
    )
