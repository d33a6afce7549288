"""What an answer should be: as it was recorded, or put together from recorded parts."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from tests.contract.normal_form import IGNORED, Like, fingerprint
from tests.contract.transcripts import Case, cases

if TYPE_CHECKING:
    from collections.abc import Callable

JSON: Final = "application/json"
TEXT: Final = "text/plain"
HELP: Final = "https://rasa.com/docs/rasa/user-guide/configuring-http-api/"
SECURITY_HELP: Final = HELP + "#security-considerations"
EVENTS_HELP: Final = "https://rasa.com/docs/rasa/pages/http-api"


class Expected(Struct, frozen=True, kw_only=True):
    """An answer in its normal form; parts of the body may be :class:`Like`. `headers` are those that are looked at."""

    status: int | None
    content_type: str | None
    body: Any
    headers: dict[str, str] = {}

    def with_body(self, change: Callable[[Any], Any]) -> Expected:
        """The same with another body; `change` may do as it likes with what it gets."""
        return replace(self, body=change(deepcopy(self.body)))


def recorded(case: Case) -> Expected:
    """What Rasa answered with its default store.

    There, as with us, an answer to a write shows the session since its `action_session_start`, with all of its events.
    Which slots the conversation `default` has depends on the scenarios before, which share it.
    """
    step, on_sql = case.step, recorded_on_sql(case)
    if case.request["path"].startswith("/conversations/default/"):
        return on_sql.with_body(lambda body: body | {"slots": IGNORED})
    if step.body_memory is UNSET:
        return on_sql
    if step.status_memory is None:
        return replace(on_sql, body=step.body_memory)
    return Expected(
        status=step.status_memory,
        content_type=TEXT if isinstance(step.body_memory, str) else JSON,
        body=step.body_memory,
    )


def recorded_on_sql(case: Case) -> Expected:
    """What Rasa answered with its SQL store."""
    step = case.step
    content_type = None if step.content_type in (None, "None") else step.content_type.partition(";")[0]
    body = hashed(step.sha256) if step.sha256 else step.body
    return Expected(status=step.status, content_type=content_type, body=body, headers=step.headers)


def hashed(sha256: str) -> Like:
    """A body with this fingerprint."""
    return Like(f"a body with the fingerprint {sha256}", lambda body: fingerprint(body) == sha256)


def body_of(path: str) -> Any:
    """The recorded body of another step."""
    return deepcopy(recorded(cases()[path]).body)


def error(status: int, reason: str, message: object, *, details: object = None, help: str | None = None) -> Expected:  # noqa: A002 - the name on the wire
    """The envelope of an error."""
    body = {
        "version": "3.6.21",
        "status": "failure",
        "message": message,
        "reason": reason,
        "details": details or {},
        "help": help,
        "code": status,
    }
    return Expected(status=status, content_type=JSON, body=body)


def invalid_events() -> Expected:
    """The envelope for events that do not have the format of events."""
    message = (
        "Failed to validate the events format. For more information about the format visit the docs. Error: <REASON>"
    )
    return error(400, "BadRequest", message, details=details_with_path(), help=EVENTS_HELP)


def details_with_path() -> dict[str, Any]:
    """Where in the list of events the fault is."""
    return {"path": Like("a path of keys and indexes", lambda path: all(isinstance(key, str | int) for key in path))}


def not_authenticated() -> Expected:
    """The envelope for who did not say who he is."""
    return error(401, "NotAuthenticated", "User is not authenticated.", help=SECURITY_HELP)


def not_authorized() -> Expected:
    """The envelope for who may not do this."""
    return error(403, "NotAuthorized", "User has insufficient permissions.", help=SECURITY_HELP)


def needs_model() -> Expected:
    """The envelope for what nobody here can do."""
    message = "No agent loaded. To continue processing, a model of a trained agent needs to be loaded."
    return error(409, "Conflict", message, help=HELP)
