"""The error envelope, and the words that clients compare."""

from __future__ import annotations

import json

import pytest

from api import errors


def test_the_envelope_has_the_keys_of_rasa_in_its_order() -> None:
    body = errors.BadRequest("Não.", "include_events", "query").body()
    assert body == (
        '{"version":"3.6.21","status":"failure","message":"N\\u00e3o.","reason":"BadRequest",'
        '"details":{"parameter":"include_events","in":"query"},"help":null,"code":400}'
    )


@pytest.mark.parametrize(
    ("error", "code", "reason", "message", "help_"),
    [
        (errors.NotAuthenticated(), 401, "NotAuthenticated", "User is not authenticated.", errors.SECURITY_HELP),
        (errors.NotAuthorized(), 403, "NotAuthorized", "User has insufficient permissions.", errors.SECURITY_HELP),
        (errors.ConversationNotFound(), 404, "Not found", "Conversation ID not found.", None),
        (
            errors.NoModel(),
            409,
            "Conflict",
            "No agent loaded. To continue processing, a model of a trained agent needs to be loaded.",
            "https://rasa.com/docs/rasa/user-guide/configuring-http-api/",
        ),
        (
            errors.NotAcceptable(),
            406,
            "NotAcceptable",
            'Invalid Accept header. Domain can be provided as json ("Accept: application/json") oryml ("Accept: '
            "application/x-yaml\"). Make sure you've set the appropriate Accept header.",
            None,
        ),
        (
            errors.InvalidEvents("5 is not of type 'object'", [0]),
            400,
            "BadRequest",
            "Failed to validate the events format. For more information about the format visit the docs. "
            "Error: 5 is not of type 'object'",
            "https://rasa.com/docs/rasa/pages/http-api",
        ),
        (
            errors.Unexpected("it broke"),
            500,
            "ConversationError",
            "An unexpected error occurred. Error: it broke",
            None,
        ),
    ],
)
def test_an_error_of_rasa_is_in_rasas_words(
    error: errors.ApiError, code: int, reason: str, message: str, help_: str | None
) -> None:
    body = json.loads(error.body())
    assert [body[key] for key in ("code", "reason", "message", "help")] == [code, reason, message, help_]


def test_invalid_events_say_where() -> None:
    assert json.loads(errors.InvalidEvents("no", [1, "timestamp"]).body())["details"] == {"path": [1, "timestamp"]}


def test_an_error_of_the_storage_tells_the_outcome_and_when_to_try_again() -> None:
    error = errors.StorageUnavailable("The database is away.", "unknown", retry_after=2)
    assert (error.status, error.details, error.headers) == (503, {"outcome": "unknown"}, {"Retry-After": "2"})


def test_a_failed_precondition_carries_the_entity_tag_as_it_is_now() -> None:
    error = errors.PreconditionFailed('"3-abc"', 4, '"4-abc"')
    assert (error.status, error.headers) == (412, {"ETag": '"4-abc"'})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.KeyReused("k"), 422),
        (errors.TooLarge(100), 413),
        (errors.TooLarge(1, 2), 413),
        (errors.RequestTimeout(60), 408),
    ],
)
def test_every_other_error_is_an_envelope_with_its_status(error: errors.ApiError, code: int) -> None:
    assert json.loads(error.body())["code"] == error.status == code
