"""`/auth`, where Rasa has it: with JWTs on. Nobody logs in here; whoever has a JWT can have it checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoint import json_response
from api.errors import NotAuthenticated
from dialogue import dumps

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request

    from api.service import Service

NO_LOGIN = (
    "Direct JWT authentication not supported. You should already have a valid JWT from an authentication provider, "
    "Rasa will just make sure that the token is valid, but not issue new tokens."
)


async def post_auth(_service: Service, _request: Request) -> HTTPResponse:
    """JWTs come from elsewhere."""
    return json_response(dumps({"reasons": [NO_LOGIN], "exception": "AuthenticationFailed"}), 401)


async def get_verify(service: Service, request: Request) -> HTTPResponse:
    """Whether the request's JWT is valid, whatever it allows."""
    header = request.headers.get("authorization")
    if header is None:
        reason = {"reasons": ["Authorization header not present."], "exception": "MissingAuthorizationHeader"}
        return json_response(dumps(reason), 401)
    try:
        service.authenticator.authenticate(None, header)
    except NotAuthenticated:
        return json_response(dumps({"valid": False, "reasons": ["Auth required."], "exception": "InvalidToken"}), 401)
    return json_response('{"valid":true}')
