"""Errors of the HTTP API, and the envelope in which all of them are answered.

    ApiError
    ├── BadRequest             400  BadRequest
    │   ├── InvalidEvents      400  BadRequest            the posted events do not have the format of events
    │   ├── NotLoaded          400  BadRequest            the model can't be had or used
    │   └── NotTrained         400  BadRequest            the project has faults
    ├── NotAuthenticated       401  NotAuthenticated
    ├── NotAuthorized          403  NotAuthorized
    ├── ConversationNotFound   404  Not found
    ├── VersionNotFound        404  Not found
    ├── NotAcceptable          406  NotAcceptable
    ├── RequestTimeout         408  RequestTimeout
    ├── NoModel                409  Conflict
    ├── PreconditionFailed     412  PreconditionFailed
    ├── TooLarge               413  TooLarge
    ├── TooManyEvents          413  TooLarge
    ├── KeyReused              422  IdempotencyKeyReused
    ├── Unexpected             500  ConversationError
    ├── TrainingFailed         500  TrainingError
    ├── NotOffered             501  NotImplemented
    ├── NotReady               503  NotReady
    ├── TooManyTrainings       503  TooManyTrainings
    └── StorageUnavailable     503  StorageUnavailable

Status, reason, message and help of what Rasa 3.6.21 answers as well are Rasa's, to the letter: clients compare them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from assistant.compatibility import RASA_VERSION
from dialogue import json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HTTP_API_HELP: Final = "https://rasa.com/docs/rasa/user-guide/configuring-http-api/"
SECURITY_HELP: Final = HTTP_API_HELP + "#security-considerations"
EVENTS_HELP: Final = "https://rasa.com/docs/rasa/pages/http-api"

Place = Literal["query", "body", "path", "header"]
"""Where in a request a faulty parameter stood."""

Outcome = Literal["not_written", "unknown"]
"""What became of a write whose answer is an error: `unknown` when the call was sent and its answer was lost."""


class ApiError(Exception):
    """A request that is answered with an error envelope.

    Attributes:
        status: HTTP status, repeated as `code` in the envelope.
        reason: the kind of error in one word (or two), for programs.
        message: the error in one sentence, for people; holds nothing secret.
        details: values that the message speaks of, by name; JSON values.
        help: address of a page that says more.
        headers: HTTP headers that belong to the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        help: str | None = None,  # noqa: A002 - the name on the wire
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.help = help
        self.headers = dict(headers or {})

    def body(self) -> str:
        """The envelope: an ASCII JSON object, its keys in Rasa's order."""
        return json.dumps(
            {
                "version": RASA_VERSION,
                "status": "failure",
                "message": self.message,
                "reason": self.reason,
                "details": self.details,
                "help": self.help,
                "code": self.status,
            }
        )


class BadRequest(ApiError):
    """The request itself is wrong; sending it again does not help.

    `parameter` and `place` name the faulty part: they become `details.parameter` and `details.in`.
    """

    def __init__(
        self,
        message: str,
        parameter: str | None = None,
        place: Place | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        help: str | None = None,  # noqa: A002 - the name on the wire
    ) -> None:
        named = {} if parameter is None else {"parameter": parameter, "in": place}
        super().__init__(400, "BadRequest", message, details=named | dict(details or {}), help=help)


class InvalidEvents(BadRequest):
    """Posted events that do not have the format of events.

    `path` leads from the list of posted events to the faulty value: indexes and keys.
    """

    def __init__(self, cause: str, path: Sequence[str | int] = (), *, details: Mapping[str, Any] | None = None) -> None:
        message = (
            "Failed to validate the events format. "
            f"For more information about the format visit the docs. Error: {cause}"
        )
        super().__init__(message, details={"path": list(path)} | dict(details or {}), help=EVENTS_HELP)


class NotAuthenticated(ApiError):
    """The request holds neither a right token nor a valid JWT."""

    def __init__(self) -> None:
        super().__init__(401, "NotAuthenticated", "User is not authenticated.", help=SECURITY_HELP)


class NotAuthorized(ApiError):
    """The request comes from somebody known, who may not do this."""

    def __init__(self) -> None:
        super().__init__(403, "NotAuthorized", "User has insufficient permissions.", help=SECURITY_HELP)


class ConversationNotFound(ApiError):
    """The endpoint needs a conversation that has events, and this one has none."""

    def __init__(self) -> None:
        super().__init__(404, "Not found", "Conversation ID not found.")


class VersionNotFound(ApiError):
    """The conversation never was at the version that was asked for."""

    def __init__(self, version: int) -> None:
        super().__init__(
            404,
            "Not found",
            f"The conversation has never been at version {version}.",
            details={"parameter": "version", "in": "query"},
        )


class NotAcceptable(ApiError):
    """The domain was asked for in a format other than JSON and YAML."""

    def __init__(self) -> None:
        message = (
            'Invalid Accept header. Domain can be provided as json ("Accept: application/json") '
            'oryml ("Accept: application/x-yaml"). Make sure you\'ve set the appropriate Accept header.'
        )
        super().__init__(406, "NotAcceptable", message)


class RequestTimeout(ApiError):
    """The request did not arrive whole within `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            408,
            "RequestTimeout",
            f"The request did not arrive within {seconds:g} seconds.",
            details={"seconds": seconds},
            headers={"Connection": "close"},
        )


class NoModel(ApiError):
    """The endpoint needs a model, and none is loaded; or the one that is can't do this, for the given reason."""

    def __init__(self, reason: str | None = None) -> None:
        message = reason or "No agent loaded. To continue processing, a model of a trained agent needs to be loaded."
        super().__init__(409, "Conflict", message, help=HTTP_API_HELP)


class NotLoaded(BadRequest):
    """The model that was asked for can't be had or used; `faults` says why, in sentences. The one before stays."""

    def __init__(self, file: str | None, faults: Sequence[str]) -> None:
        message = f"Agent with name '{file}' could not be loaded."
        super().__init__(message, "model", "query", details={"faults": list(faults)})


class NotTrained(BadRequest):
    """The project that was posted can't be trained; `faults`, at least one, are lines that name places in it."""

    def __init__(self, faults: Sequence[str], help: str) -> None:  # noqa: A002 - the name on the wire
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults, of which this is the first"
        message = f"Nothing was trained: the project has {count}: {faults[0]}"
        super().__init__(message, details={"faults": list(faults)}, help=help)


class PreconditionFailed(ApiError):
    """`If-Match` names another version than the conversation is at; nothing was written.

    `etag` is the conversation's entity tag as it is now.
    """

    def __init__(self, expected: str, actual: int, etag: str) -> None:
        super().__init__(
            412,
            "PreconditionFailed",
            f"If-Match is {expected}, the conversation is at version {actual}. "
            "Read the tracker again and repeat the request with its ETag.",
            details={"expected": expected, "actual": actual},
            headers={"ETag": etag},
        )


class TooLarge(ApiError):
    """The request's body is longer than the `limit`; or its events, of `size` bytes in the log, are. All in bytes."""

    def __init__(self, limit: int, size: int | None = None) -> None:
        if size is None:
            message = f"The request body has more; at most {limit:,} bytes are accepted (SANIC_REQUEST_MAX_SIZE)."
        else:
            message = f"The events take {size:,} bytes in the log, a request may bring {limit:,}: send them in several."
        super().__init__(
            413,
            "TooLarge",
            message,
            details={"limit": limit, "size": size},
        )


class TooManyEvents(ApiError):
    """A request brings more events than are folded at once: its neighbours would have to wait for it."""

    def __init__(self, limit: int, count: int) -> None:
        message = f"The request brings {count:,} events, it may bring {limit:,}: send them in several."
        super().__init__(413, "TooLarge", message, details={"limit": limit, "count": count})


class KeyReused(ApiError):
    """The idempotency key was used before in this conversation, with another request; nothing was written."""

    def __init__(self, key: str) -> None:
        super().__init__(
            422,
            "IdempotencyKeyReused",
            f"The Idempotency-Key {key!r} was used for another request. A new request needs a new key.",
            details={"parameter": "Idempotency-Key", "in": "header"},
        )


class Unexpected(ApiError):
    """A fault of the service itself. `message` must not hold more than the client may know."""

    def __init__(self, cause: str, reason: str = "ConversationError") -> None:
        super().__init__(500, reason, f"An unexpected error occurred. Error: {cause}")


class TrainingFailed(ApiError):
    """A training without a model, not by a fault of the project. `cause` holds what the client may know."""

    def __init__(self, cause: str) -> None:
        message = f"An unexpected error occurred during training. Error: {cause}"
        super().__init__(500, "TrainingError", message)


class NotOffered(ApiError):
    """Rasa does this, the service does not; the message says what to do instead."""

    def __init__(self, message: str) -> None:
        super().__init__(501, "NotImplemented", message)


class TooManyTrainings(ApiError):
    """As many models are being trained as may be at once."""

    def __init__(self, limit: int) -> None:
        message = f"{limit} models are being trained, which is the most at once: ask again later."
        super().__init__(503, "TooManyTrainings", message, headers={"Retry-After": "5"})


class NotReady(ApiError):
    """What was asked for is still being built; it comes without a change of the request."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "NotReady", message, headers={"Retry-After": "1"})


class StorageUnavailable(ApiError):
    """The log can't be reached, or can't take more now.

    `outcome` says what became of a write (None for a read); `retry_after` is in whole seconds.
    """

    def __init__(self, message: str, outcome: Outcome | None = None, retry_after: int = 1) -> None:
        super().__init__(
            503,
            "StorageUnavailable",
            message,
            details={} if outcome is None else {"outcome": outcome},
            headers={"Retry-After": str(retry_after)},
        )
