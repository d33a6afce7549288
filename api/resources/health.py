"""For those who watch over the service: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict
from sanic.response import HTTPResponse

from api import metrics
from api.endpoint import json_response
from brokers import relays
from dialogue.json import dumps
from eventstore import StoreUnavailable
from projections import statuses

if TYPE_CHECKING:
    from sanic import Request

    from api.service import Service


async def get_live(_service: Service, _request: Request) -> HTTPResponse:
    """This process answers."""
    return json_response('{"status":"ok"}')


async def get_ready(service: Service, _request: Request) -> HTTPResponse:
    """200 when requests can be served, 503 when the database is away. A missing model or broker is no hindrance."""
    details = await asyncio.to_thread(_model, service)
    try:
        position = await service.store.read.last_position()
        behind = {
            "projections": [asdict(status) for status in await statuses(service.store.read)],
            "relays": [asdict(status) for status in await relays(service.store.read)],
        }
    except StoreUnavailable as error:
        return json_response(
            dumps({"status": "unavailable", "database": error.reason, **details}), 503, {"Retry-After": "1"}
        )
    return json_response(dumps({"status": "ok", "database": "ok", "position": position, **behind, **details}))


def _model(service: Service) -> dict[str, Any]:
    """The model that this process serves with, and why the last one that could not be had could not."""
    model, fault, shelved = service.model, service.process.shelf.fault, service.process.shelved
    return {
        "model": model.file if model else None,
        "model_id": model.id if model else None,
        "model_origin": shelved.origin if model else None,
        "model_since": _moment(shelved.since) if model else None,
        "model_fault": {**asdict(fault), "time": _moment(fault.time)} if fault else None,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def get_metrics(service: Service, _request: Request) -> HTTPResponse:
    """Metrics of all processes of this service, for Prometheus."""
    try:
        read = service.store.read
        waiting = await service.reminders.waiting()
        metrics.show_log(await read.last_position(), await statuses(read), await relays(read), waiting)
    except StoreUnavailable:
        metrics.DATABASE_UP.set(0)
    else:
        metrics.DATABASE_UP.set(1)
    text = await asyncio.get_running_loop().run_in_executor(None, metrics.exposition, service.model)
    return HTTPResponse(text, content_type=metrics.CONTENT_TYPE)
