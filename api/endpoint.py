"""What every endpoint has around its handler: request id, authentication, error envelope, metrics, access log."""

from __future__ import annotations

import time
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from sanic.exceptions import RequestCancelled, SanicException
from sanic.helpers import has_message_body
from sanic.response import HTTPResponse

from api import requests
from api.auth import ANONYMOUS, Identity
from api.errors import (
    ApiError,
    BadRequest,
    InvalidEvents,
    KeyReused,
    NotAuthenticated,
    PreconditionFailed,
    RequestTimeout,
    StorageUnavailable,
    TooLarge,
    Unexpected,
)
from api.logs import redact
from api.metrics import EndpointMetrics
from dialogue import InvalidEvent, InvalidJson
from eventstore import AppendTooLarge, IdempotencyKeyReused, StoreUnavailable, TurnLost, WrongExpectedVersion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from sanic import Request
    from sanic.response import BaseHTTPResponse

    from api.process import Process
    from api.service import Service

log = structlog.get_logger("turnlog.api")
access_log = structlog.get_logger("turnlog.access")

JSON_TYPE = "application/json"
_REASONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    417: "ExpectationFailed",
    503: "Unavailable",
}


class Handler(Protocol):
    """Answers a request whose sender may make it."""

    __name__: str

    def __call__(self, service: Service, request: Request, /, *arguments: Any) -> Awaitable[BaseHTTPResponse]: ...


class _Response(HTTPResponse):
    """Sanic cleans headers char by char, which costs as much as some handlers; ours are clean but for line ends."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """Names and values as they are sent."""
        if has_message_body(self.status):  # type: ignore[no-untyped-call]  # Sanic does not annotate it
            self.headers.setdefault("content-type", self.content_type)
        encoded = [
            (name.encode("ascii"), str(value).encode("utf-8", "surrogateescape"))
            for name, value in self.headers.items()
        ]
        if any(b"\n" in value or b"\r" in value for _, value in encoded):
            return super().processed_headers
        return iter(encoded)


def json_response(text: str, status: int = 200, headers: dict[str, str] | None = None) -> HTTPResponse:
    """An answer whose body is JSON text already."""
    return _Response(text, status, headers, JSON_TYPE)


def endpoint(
    handler: Handler, method: str, *, public: bool, at_once: bool = False
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make Sanic's handler of ours. An endpoint with a conversation in its path gets its id as the last argument.

    With `at_once`, the request does not wait while a new model is loaded.
    """
    metrics = EndpointMetrics(handler.__name__, method)

    @wraps(handler)
    async def handle(request: Request, **path: str) -> BaseHTTPResponse | None:
        began = time.perf_counter()
        process: Process = request.app.ctx.process
        service = process.service if at_once else await process.now()
        request.ctx.request_id = requests.request_id(request)
        try:
            response: BaseHTTPResponse = await _answer(handler, service, request, path, public=public)
        except Exception as error:  # noqa: BLE001 - whatever happens, the client gets an envelope, and the log what it was
            response = error_response(as_api_error(error, service, request))
        finish(service, request, response, metrics, began)
        return None if request.responded else response  # then it was sent piece by piece, and Sanic ends it

    return handle


def finish(
    service: Service, request: Request, response: BaseHTTPResponse, metrics: EndpointMetrics, began: float
) -> None:
    """What follows every answer. `began` is what the performance counter showed when the request came."""
    response.headers["X-Request-ID"] = request.ctx.request_id
    if service.is_stopping:
        stream: Any = request.stream
        stream.keep_alive = False  # busy clients must not keep a process that wants to end
    seconds = time.perf_counter() - began
    metrics.count(response.status, seconds)
    if service.settings.logs.access:
        _log_access(request, response, seconds)


async def _answer(
    handler: Handler, service: Service, request: Request, path: dict[str, str], *, public: bool
) -> BaseHTTPResponse:
    identity = ANONYMOUS if public else _authenticate(service, request)
    raw_id = path.get("conversation_id")
    if raw_id is None:
        if not public:
            service.authenticator.authorize(identity, None)
        return await handler(service, request)
    conversation = requests.conversation_id(raw_id)
    service.authenticator.authorize(identity, conversation)
    request.ctx.identity = identity
    return await handler(service, request, conversation)


_caller: ContextVar[Identity | None] = ContextVar("caller of a webhook")


def identify_caller(service: Service, request: Request, *, required: bool = True) -> None:
    """Remember who calls a webhook, for `authorize_sender`; nothing when webhooks are open.

    Raises:
        NotAuthenticated: it is nobody that the service knows, and it is required to know them.
    """
    if not service.settings.auth.webhooks:
        return
    _caller.set(None)
    try:
        _caller.set(_authenticate(service, request))
    except NotAuthenticated:
        if required:
            raise


def authorize_sender(service: Service, sender: str) -> None:
    """Pass if the caller of the webhook may write into the conversation of this sender.

    Raises:
        NotAuthenticated: nobody knows who calls.
        NotAuthorized: it is somebody else's conversation.
    """
    if not service.settings.auth.webhooks:
        return
    caller = _caller.get(None)
    if caller is None:
        raise NotAuthenticated
    service.authenticator.authorize(caller, sender)


def _authenticate(service: Service, request: Request) -> Identity:
    return service.authenticator.authenticate(requests.query(request, "token"), request.headers.get("authorization"))


def error_response(error: ApiError) -> HTTPResponse:
    """The envelope of an error."""
    return json_response(error.body(), error.status, error.headers)


def as_api_error(error: BaseException, service: Service, request: Request) -> ApiError:
    """The answer to whatever went wrong. What nobody expected is logged with its trace, and answered without."""
    match error:
        case ApiError():
            return error
        case InvalidEvent():
            return InvalidEvents(error.message, error.path)
        case InvalidJson():
            return BadRequest(f"Failed when parsing body as json: {error}")
        case WrongExpectedVersion():
            etag = service.etag(error.actual)
            return PreconditionFailed(request.headers.get("if-match", ""), error.actual, etag)
        case IdempotencyKeyReused():
            return KeyReused(error.key)
        case AppendTooLarge():
            return TooLarge(error.limit, error.size)
        case TurnLost():
            return StorageUnavailable("The process stood still; another one may have answered meanwhile.", "unknown")
        case StoreUnavailable():
            outcome = error.outcome if request.method in ("POST", "PUT") else None
            return StorageUnavailable(f"The database is not available: {error.reason}", outcome, error.retry_after)
        case RequestCancelled():
            return ApiError(499, "ClientClosedRequest", "The client went away.")  # nobody reads it
        case SanicException():
            return _as_sanic_says(error, service)
    details = {"path": request.path, "method": request.method, "request_id": getattr(request.ctx, "request_id", None)}
    log.error("request failed", **details, exc_info=error)
    return Unexpected(f"{type(error).__name__}; the service's log has it under the request's id")


def _as_sanic_says(error: SanicException, service: Service) -> ApiError:
    status = error.status_code or 500
    if status == 413:
        return TooLarge(service.settings.limits.request_max_size)
    if status == 408:
        return RequestTimeout(service.settings.limits.receive_timeout)
    headers = {name: str(value) for name, value in (error.headers or {}).items()}
    return ApiError(status, _REASONS.get(status, "HttpError"), str(error), headers=headers)


def _log_access(request: Request, response: BaseHTTPResponse, seconds: float) -> None:
    access_log.info(
        "request",
        method=request.method,
        path=request.path,
        query=redact(request.query_string),
        status=response.status,
        bytes=len(response.body or b""),
        milliseconds=round(seconds * 1000, 3),
        request_id=request.ctx.request_id,
        client=request.ip,
    )
