"""Exchanging the model: `PUT /model` and `DELETE /model`, which all processes of the service follow."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct
from sanic.response import HTTPResponse

import dialogue
from api import metrics
from api.endpoints import InvalidEndpoints, ModelServer, parse_model_server
from api.errors import BadRequest, NotLoaded, Unexpected
from api.exchanging import arrivals, from_path, install, noting_faults
from api.training_apart import FAULTS
from assistant.fetching import ModelUnavailable, from_server, from_storage

if TYPE_CHECKING:
    from sanic import Request

    from api.process import Process
    from api.service import Service
    from api.settings import Settings
    from assistant.fetching import Fetched

log = structlog.get_logger("turnlog.model")

NO_FILE: Final = "No path to model file defined in request_body."


class Wanted(Struct, frozen=True, kw_only=True):
    """The model that a request asks for: that of a server; or a file, which may lie in a storage."""

    file: str | None = None
    server: ModelServer | None = None
    storage: str | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, without anything secret."""
        if self.server is not None:
            return self.server.public_url or "model_server"
        return f"{self.storage}: {self.file}" if self.storage else str(self.file)


async def put_model(service: Service, request: Request) -> HTTPResponse:
    """Serve with another model. When this is answered, whatever any process begins meets it.

    Turns under way end with the model that they began with, and the log does not change.
    """
    wanted = _wanted(service.settings, request)
    try:
        await service.uninterrupted(_exchange(service.process, wanted))
    except (*FAULTS, ModelUnavailable) as error:
        raise NotLoaded(wanted.file, str(error).splitlines()) from error
    except Exception as error:
        log.exception("the model could not be exchanged", origin=wanted.origin)
        raise Unexpected(f"{type(error).__name__}; the service's log has it", "LoadingError") from error
    return HTTPResponse(status=204)


async def delete_model(service: Service, _request: Request) -> HTTPResponse:
    """Serve without a model from now on."""
    shelf = service.process.shelf
    await asyncio.to_thread(shelf.follow, None)
    await asyncio.to_thread(shelf.clear, "DELETE /model")
    metrics.count_model("removed")
    return HTTPResponse(status=204)


async def _exchange(process: Process, wanted: Wanted) -> None:
    """Fetch and install the model; a server that the request names is followed from then on."""
    with arrivals(process.shelf) as folder:
        async with noting_faults(process.shelf, wanted.origin):
            fetched = await _fetched(process, wanted, folder)
        await install(process.shelf, fetched, origin=wanted.origin)
    await asyncio.to_thread(_settle, process, wanted)


def _settle(process: Process, wanted: Wanted) -> None:
    """Follow the server that was named, if there is none in endpoints.yml, whose own fault goes on as well."""
    shelf, configured = process.shelf, process.settings.endpoints.models
    shelf.follow(wanted.server if configured is None else None)
    fault = shelf.fault
    if fault is not None and (configured is None or fault.origin != configured.public_url):
        shelf.forget_fault()


async def _fetched(process: Process, wanted: Wanted, folder: Path) -> Fetched:
    if wanted.server is not None:
        fetched = await from_server(process.client, wanted.server, None, folder)
        assert fetched is not None  # nothing is known that could be the same
        return fetched
    if wanted.file is None:
        raise ModelUnavailable("the request names neither a model_file nor a model_server")
    if wanted.storage is not None:
        return await from_storage(wanted.storage, wanted.file, folder, os.environ)
    elsewhere = process.settings.endpoints.nlu is not None
    return await from_path(Path(wanted.file), folder, understands_elsewhere=elsewhere)


def _wanted(settings: Settings, request: Request) -> Wanted:
    """What the body asks for; as in Rasa, the server of endpoints.yml, if there is one, in place of a given one."""
    body = dialogue.loads(request.body) if request.body else None
    if body is None:
        raise BadRequest(NO_FILE)
    if not isinstance(body, dict):
        raise BadRequest("The request's body must be a JSON object.", "", "body")
    given = _server(body.get("model_server"))
    server = given and (settings.endpoints.models or given)
    return Wanted(file=_text(body, "model_file"), server=server, storage=_text(body, "remote_storage"))


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key!r} must be text.", key, "body")
    return value or None


def _server(given: Any) -> ModelServer | None:
    """A server to pull from, as `models` in endpoints.yml describes one; as in Rasa, an empty one is none."""
    if not given:
        return None
    if not isinstance(given, dict):
        raise _invalid_server("it must be an object")
    try:
        return parse_model_server(given, "model_server")
    except InvalidEndpoints as error:
        raise _invalid_server(str(error)) from error


def _invalid_server(reason: str) -> BadRequest:
    return BadRequest(f"Supplied 'model_server' is not valid. Error: {reason}", "model_server", "body")
