"""The Sanic application of one worker: routes, limits, CORS."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sanic import Sanic
from sanic.exceptions import MethodNotAllowed, NotFound
from sanic.handlers import ErrorHandler

from api import requests
from api.asyncapi import get_asyncapi
from api.channels import install_custom
from api.cors import Cors
from api.endpoint import Handler, as_api_error, endpoint, error_response
from api.openapi import get_openapi
from api.receiving import TimedRequest
from api.resources import (
    about,
    assistant,
    callback,
    health,
    jwts,
    log,
    model,
    older,
    older_tracker,
    rest,
    tracker,
    training,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sanic import HTTPResponse, Request

    from api.credentials import Credentials
    from api.process import Process
    from api.settings import Settings

METHODS: Final = ("DELETE", "GET", "OPTIONS", "POST", "PUT")
CONVERSATION: Final = "/conversations/<conversation_id:path>"
SINGULAR: Final = "/conversation/<conversation_id:path>"  #: what early documents call it

Routes = tuple[tuple[str, str, Handler], ...]

BASIC: Final[Routes] = (
    ("GET", "/", about.get_root),
    ("GET", "/livez", health.get_live),
    ("GET", "/readyz", health.get_ready),
    ("GET", "/metrics", health.get_metrics),
)
LIVENESS: Final = frozenset((about.get_root, health.get_live))  #: probes, which restart what does not answer in time
REST: Final[Routes] = (
    ("GET", "/webhooks/rest", rest.get_health),
    ("POST", "/webhooks/rest/webhook", rest.post_message),
)
CALLBACK: Final[Routes] = (
    ("GET", "/webhooks/callback", rest.get_health),
    ("POST", "/webhooks/callback/webhook", callback.post_callback_message),
)
ALWAYS: Final[Routes] = (*BASIC, *REST, *CALLBACK)
PUBLIC: Final[Routes] = (
    ("GET", "/version", about.get_version),
    ("GET", "/openapi.json", get_openapi),
    ("GET", "/asyncapi.json", get_asyncapi),
)
WITH_JWT: Final[Routes] = (
    ("POST", "/auth", jwts.post_auth),
    ("GET", "/auth/verify", jwts.get_verify),
)
GUARDED: Final[Routes] = (
    ("GET", "/status", about.get_status),
    ("GET", "/domain", about.get_domain),
    ("GET", CONVERSATION + "/tracker", older_tracker.get_tracker),
    ("POST", CONVERSATION + "/tracker/events", older_tracker.post_events),
    ("PUT", CONVERSATION + "/tracker/events", tracker.put_events),
    ("GET", CONVERSATION + "/story", tracker.get_story),
    ("POST", CONVERSATION + "/execute", assistant.post_execute),
    ("POST", CONVERSATION + "/trigger_intent", assistant.post_trigger_intent),
    ("POST", CONVERSATION + "/predict", assistant.post_predict),
    ("POST", CONVERSATION + "/messages", assistant.post_message),
    ("POST", "/model/train", training.post_train),
    ("POST", "/model/test/stories", training.post_test_stories),
    ("POST", "/model/test/intents", training.post_test_intents),
    ("POST", "/model/predict", assistant.post_model_predict),
    ("POST", "/model/parse", assistant.post_model_parse),
    ("PUT", "/model", model.put_model),
    ("DELETE", "/model", model.delete_model),
    ("GET", "/turnlog/v1/events", log.get_events),
    ("GET", "/turnlog/v1/conversations", log.get_conversations),
    ("GET", "/turnlog/v1" + CONVERSATION + "/events", log.get_conversation_events),
)
OLDER: Final[Routes] = (
    ("GET", "/conversations", older.get_conversation_ids),
    ("PUT", CONVERSATION + "/tracker", older_tracker.put_tracker),
    ("GET", CONVERSATION + "/parse", older.parse),
    ("POST", CONVERSATION + "/parse", older.parse),
    ("POST", CONVERSATION + "/continue", older.go_on),
    ("GET", CONVERSATION + "/respond", older.respond),
    ("POST", CONVERSATION + "/respond", older.respond),
)


class _Errors(ErrorHandler):
    """Faults outside of our handlers (no such route, a body too large, a client too slow) get the envelope as well."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        response = error_response(as_api_error(exception, request.app.ctx.process.service, request))
        response.headers["X-Request-ID"] = requests.request_id(request)
        if isinstance(exception, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(filter(partial(_is_allowed, request), METHODS))
        return response


def _is_allowed(request: Request, method: str) -> bool:
    """Whether the path has a route for this method; of paths with a conversation, Sanic does not say it by itself."""
    try:
        request.app.router.get(request.path, method, request.headers.get("host"))
    except (NotFound, MethodNotAllowed):
        return False
    return True


def create_app(process: Process) -> Sanic[Any, Any]:
    """The application over an unopened process, which is opened before the first request and closed after the last."""
    app: Sanic[Any, Any] = Sanic(
        "turnlog", error_handler=_Errors(), request_class=TimedRequest, configure_logging=False
    )
    settings = process.settings
    app.ctx.process = process
    _configure(app, settings)
    with_jwt = WITH_JWT if settings.auth.jwt else ()
    always = (*BASIC, *_channel_routes(settings.credentials))
    public = (*always, *PUBLIC, *with_jwt) if settings.enable_api else always
    guarded = (*GUARDED, *OLDER, *_aliases((*GUARDED, *OLDER))) if settings.enable_api else ()
    _add_routes(app, public, public=True)
    _add_routes(app, guarded, public=False)
    paths = [*(path for _, path, _ in (*public, *guarded)), *install_custom(app, process), *_add_sockets(app, process)]
    Cors(settings.cors).install(app, dict.fromkeys(paths))
    app.before_server_start(partial(_on_loop, process.open))
    app.before_server_stop(partial(_on_loop, process.stop))
    app.after_server_stop(partial(_on_loop, process.close))
    return app


def _aliases(routes: Routes) -> Iterator[tuple[str, str, Handler]]:
    """The routes of conversations under their early name."""
    for method, path, handler in routes:
        if path.startswith(CONVERSATION):
            yield method, SINGULAR + path.removeprefix(CONVERSATION), handler


def _channel_routes(credentials: Credentials) -> Routes:
    return (*(REST if credentials.rest else ()), *(CALLBACK if credentials.callback else ()))


def _add_sockets(app: Sanic[Any, Any], process: Process) -> Iterator[str]:
    """Add the routes of the channel `socketio`, and give the paths that want to be asked for by browsers."""
    settings, sockets = process.settings.credentials.socketio, process.sockets
    if settings is None or sockets is None:
        return
    app.enable_websocket()
    app.add_route(sockets.health, "/webhooks/socketio", methods=["GET"], name="socketio")
    app.add_route(sockets.handle, f"{settings.socketio_path}/", methods=["GET", "POST"], name="sockets")
    yield f"{settings.socketio_path}/"


def _configure(app: Sanic[Any, Any], settings: Settings) -> None:
    limits = settings.limits
    app.config.update(
        {
            "REQUEST_MAX_SIZE": limits.request_max_size,
            "REQUEST_TIMEOUT": limits.receive_timeout,
            "RESPONSE_TIMEOUT": limits.response_timeout,
            "KEEP_ALIVE_TIMEOUT": limits.keep_alive_timeout,
            "GRACEFUL_SHUTDOWN_TIMEOUT": limits.graceful_shutdown_timeout,
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "MOTD": False,
            **settings.sanic,
        }
    )


def _add_routes(app: Sanic[Any, Any], routes: Routes, *, public: bool) -> None:
    for method, path, handler in routes:
        name = f"{method}_{path}".replace("<conversation_id:path>", "id")
        answer = endpoint(handler, method, public=public, at_once=handler in LIVENESS)
        app.add_route(answer, path, methods=[method], name=name.replace("/", "_"))


async def _on_loop(work: Callable[[], Awaitable[None]], _app: Sanic[Any, Any]) -> None:
    await work()
