"""What the service says of itself and of its model: `/`, `/version`, `/status`, `/domain`."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from sanic.response import HTTPResponse

from api.endpoint import json_response
from api.errors import NotAcceptable
from assistant.compatibility import RASA_VERSION
from dialogue.json import dumps

if TYPE_CHECKING:
    from sanic import Request

    from api.service import Service

TURNLOG_VERSION: Final = version("turnlog")
_TEXT: Final = "text/plain; charset=utf-8"


async def get_root(_service: Service, _request: Request) -> HTTPResponse:
    """A greeting, by which old clients see that the service lives."""
    return HTTPResponse(f"Hello from Turnlog: {TURNLOG_VERSION}", content_type=_TEXT)


async def get_version(_service: Service, _request: Request) -> HTTPResponse:
    """The Rasa version that clients compare, and our own beside it."""
    versions = {"version": RASA_VERSION, "minimum_compatible_version": RASA_VERSION, "turnlog": TURNLOG_VERSION}
    return json_response(dumps(versions))


async def get_status(service: Service, _request: Request) -> HTTPResponse:
    """Which model is loaded, and how many are trained at the moment, by all processes."""
    model = service.loaded_model()
    count = await asyncio.to_thread(lambda: service.process.trainings.count)
    return json_response(dumps({"model_file": model.file, "model_id": model.id, "num_active_training_jobs": count}))


async def get_domain(service: Service, request: Request) -> HTTPResponse:
    """The model's domain, as JSON or, if `Accept` says so, as YAML."""
    domain = service.loaded_model().domain
    accepted = request.headers.get("accept", "application/json").split(",")[0].partition(";")[0].strip()
    if accepted.endswith("json") or accepted in ("*/*", "application/*"):
        return json_response(dumps(domain.document))
    if accepted.endswith(("yml", "yaml")):
        return HTTPResponse(domain.text, content_type="application/x-yaml")
    raise NotAcceptable
