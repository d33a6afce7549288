"""For those who watch over the service: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sanic.response import HTTPResponse

from api import metrics
from api.endpoint import json_response
from dialogue.json import dumps
from eventstore import StoreUnavailable

if TYPE_CHECKING:
    from sanic import Request

    from api.service import Service


async def get_live(_service: Service, _request: Request) -> HTTPResponse:
    """This process answers."""
    return json_response('{"status":"ok"}')


async def get_ready(service: Service, _request: Request) -> HTTPResponse:
    """200 when requests can be served, 503 when the database is away. A missing model or a late projection is no hindrance."""
    details: dict[str, Any] = {"model": service.model.file if service.model else None}
    try:
        position = await service.store.read.last_position()
    except StoreUnavailable as error:
        return json_response(dumps({"status": "unavailable", "database": error.reason, **details}), 503, {"Retry-After": "1"})
    return json_response(dumps({"status": "ok", "database": "ok", "position": position, **details}))


async def get_metrics(_service: Service, _request: Request) -> HTTPResponse:
    """Metrics of all processes of this service, for Prometheus."""
    text = await asyncio.get_running_loop().run_in_executor(None, metrics.exposition)
    return HTTPResponse(text, content_type=metrics.CONTENT_TYPE)
