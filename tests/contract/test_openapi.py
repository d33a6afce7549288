"""`/openapi.json` describes the service that answers it: its routes, and what schemathesis sends by it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from api import app
from api.openapi import document

if TYPE_CHECKING:
    from tests.contract.conftest import Port

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
]


# The other tests of this service want its model to stay.
described = schemathesis.openapi.from_dict(json.loads(document(token=False, jwt=False))).exclude(path="/model")
described.config.checks.positive_data_acceptance.expected_statuses = ["200", "304", "404", "406", "409", "412", "422"]


@described.parametrize()
@settings(max_examples=6, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_requests_by_the_description_are_answered_as_described(case: schemathesis.Case[Any], port: Port) -> None:
    """No request made from the description has an answer that it does not describe, or a fault of the server."""
    has_made_up_cursor = case.path == "/turnlog/v1/conversations" and "after" in (case.query or {})
    is_particular = case.path.endswith("/continue") or (case.method == "PUT" and case.path.endswith("/tracker"))
    checked = CHECKS if has_made_up_cursor or is_particular else [*CHECKS, openapi_checks.positive_data_acceptance]
    if case.path.endswith("/execute"):
        checked = CHECKS[1:]  # an unknown action is a 500, as in Rasa
    if case.path.startswith("/model/t"):
        # Hardly any project that is made up has no faults; tests of models are a 501.
        checked = CHECKS if case.path.endswith("/train") else CHECKS[1:]
        (case.query or {}).pop("callback_url", None)  # nobody is there
    case.call_and_validate(base_url=f"http://127.0.0.1:{port('noauth')}", checks=checked)


def test_what_it_says_needs_authentication_is_refused_without(port: Port) -> None:
    """With a token configured, all operations answer 401 without it, but for those that are described as public."""
    paths = json.loads(document(token=True, jwt=False))["paths"]
    operations = [(method, path, item) for path, methods in paths.items() for method, item in methods.items()]
    with httpx.Client(base_url=f"http://127.0.0.1:{port('token')}") as client:
        refused = {(method, path) for method, path, _ in operations if client.request(method, path).status_code == 401}
    assert refused == {(method, path) for method, path, item in operations if item["security"]}


def test_it_describes_every_route_and_no_other() -> None:
    """The description and the routes of the app are two tables of the same operations."""
    routes = (*app.ALWAYS, *app.PUBLIC, *app.GUARDED, *app.OLDER, *app.WITH_JWT)
    served = {(method, re.sub(r"<(\w+):\w+>", r"{\1}", path)) for method, path, _ in routes}
    paths = json.loads(document(token=True, jwt=True))["paths"]
    assert {(method.upper(), path) for path, item in paths.items() for method in item} == served
