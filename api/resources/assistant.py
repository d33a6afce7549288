"""Endpoints that need a running assistant, which this release does not have: they answer 409, as without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoint import json_response
from api.errors import NoModel

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request

    from api.service import Service


async def need_assistant(_service: Service, _request: Request, *_conversation: str) -> HTTPResponse:
    """Nothing here can predict or run actions."""
    raise NoModel


async def get_rest_channel(_service: Service, _request: Request) -> HTTPResponse:
    """The health check of the `rest` channel."""
    return json_response('{"status":"ok"}')
