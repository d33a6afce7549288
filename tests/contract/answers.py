"""What the differences are made of: which steps they cover, and what the answers are instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from msgspec.structs import replace

import dialogue
from tests.contract.expected import JSON, TEXT, Expected, body_of, error, not_authorized
from tests.contract.normal_form import Like

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.transcripts import Case

STAMPS: Final = {"model_id": "<HEX32>", "assistant_id": "anchor-bot"}
NOT_JSON: Final = Like(
    "'Failed when parsing body as json' and why", lambda text: text.startswith("Failed when parsing body as json: ")
)
ACCEPTED: Final = (
    r"malformed/bad_user_no_text_no_parse/[01]|event_types/event_user_(text_only|intent_key)_plain/[012]|"
    r"event_types/event_user_intent_key_ts_meta/[01]|event_types/event_user_(text_only|intent_key)_in_list/[12]"
)
OWN_CONVERSATION: Final = "auth/auth_jwt_own_encoded_id/[0123]"
UNKNOWN_CONVERSATION: Final = "malformed/bad_empty_object/1"  #: GET of an unknown conversation


def at(pattern: str) -> Callable[[Case, Expected], bool]:
    """Covers the steps whose path matches."""
    return lambda case, _: re.fullmatch(pattern, case.path) is not None


def always(answer: Callable[[], Expected]) -> Callable[[Case, Expected], Expected]:
    """The same answer to all steps."""
    return lambda _case, _expected: answer()


def ok(body: Any) -> Expected:
    return Expected(status=200, content_type=JSON, body=body)


# --- O1: the times of a session start ---

_SESSION_START: Final = (("action", "action_session_start"), ("session_started", None), ("action", "action_listen"))


def _opened_at(case: Case) -> float | None:
    """The time of the first event of the POST that began the conversation, where it is explicit and past."""
    opening = next((step for step in _generation(case) if not _is_empty_put(step)), None)
    if opening is None or opening.request["method"] == "PUT":
        return None
    if "generate" in opening.request:
        return 1600000000 if opening.request["generate"]["kind"] == "many_slots" else None
    timestamp = opening.posted[0].get("timestamp")
    return timestamp if isinstance(timestamp, int | float) and 1 < timestamp < 2_000_000_000 else None


def _generation(case: Case) -> list[Case]:
    """The accepted writes since the conversation was last replaced, up to this step."""
    writes = [step for step in (*case.earlier, case) if step.is_write and _is_accepted(step)]
    puts = [index for index, step in enumerate(writes) if step.request["method"] == "PUT"]
    return writes[puts[-1] :] if puts else writes


def _is_accepted(case: Case) -> bool:
    return case.step.status == 200 or re.fullmatch(f"{ACCEPTED}|{OWN_CONVERSATION}", case.path) is not None


def _is_empty_put(case: Case) -> bool:
    return case.request["method"] == "PUT" and case.posted == []


def _opening(events: list[dict[str, Any]], timestamp: object) -> list[dict[str, Any]]:
    """Those of the leading events that are the session start with this time."""
    found = []
    for event in events[:3]:
        if event["timestamp"] != timestamp or (event["event"], event.get("name")) not in _SESSION_START:
            break
        found.append(event)
    return found


def shows_opening(case: Case, expected: Expected) -> bool:
    if _opened_at(case) is None:
        return False
    if isinstance(expected.body, Like):
        return True
    return isinstance(expected.body, dict) and bool(_opening(expected.body.get("events") or [], "<TS>"))


def opened_with_first_event(case: Case, expected: Expected) -> Expected:
    timestamp = _opened_at(case)
    if isinstance(expected.body, Like):
        return replace(expected, body=_once_reopened(expected.body, timestamp))

    def change(body: Any) -> Any:
        for event in _opening(body["events"], "<TS>"):
            event["timestamp"] = timestamp
        return body

    return expected.with_body(change)


def _once_reopened(expected: Like, timestamp: float | None) -> Like:
    """What is as expected when the times of the session start, `timestamp` each, are made about now again."""

    def test(body: Any) -> bool:
        opening = _opening(body["events"], timestamp)
        for event in opening:
            event["timestamp"] = "<TS>"
        return bool(opening) and expected.test(body)

    return Like(f"{expected.what}, but for a session start at {timestamp}", test)


# --- O12, O13, O14: what Rasa refuses, and should not ---


def as_with_empty_parse_data(case: Case, _: Expected) -> Expected:
    """As the step of the same place in the scenario whose user event has empty parse data, which Rasa accepts."""
    kind = re.search("_(plain|ts_meta|in_list)$", case.scenario.name)
    body = body_of(f"event_types/event_user_empty_parse_data_{kind[1] if kind else 'plain'}/{case.index}")
    text = next(event for event in _last_write(case).posted if event["event"] == "user").get("text")
    message = [event for event in body["events"] if event["event"] == "user"][-1]
    for said in (body["latest_message"], message, message["parse_data"]):
        said["text"] = text
    return ok(body)


def _last_write(case: Case) -> Case:
    return [step for step in (*case.earlier, case) if step.is_write][-1]


def unclassified(case: Case, expected: Expected) -> Expected:
    def change(body: Any) -> Any:
        for parse_data in (body["latest_message"], body["events"][-1]["parse_data"]):
            parse_data["intent"] = {"name": None, "confidence": 0.0}
        return body

    return as_with_empty_parse_data(case, expected).with_body(change)


def replaced_by_slot(case: Case, _: Expected) -> Expected:
    """As Rasa's answer to a PUT of a list with one slot event, with the slot of this scenario."""
    posted = _last_write(case).posted[0]
    timestamp = posted.get("timestamp", "<TS>")
    body = body_of("put_replace/put_no_session/0")
    body["slots"] |= {"city": None, posted["name"]: posted["value"]}
    body["events"] = [{"event": "slot", "timestamp": timestamp, "name": posted["name"], "value": posted["value"]}]
    return ok(body | {"latest_event_time": timestamp})


# --- O16: cancelled reminders ---


def _cancelled(case: Case) -> dict[str, Any] | None:
    """The fields of a `cancel_reminder` that the scenario posted."""
    posted = [event for step in (*case.earlier, case) if step.is_write for event in step.posted]
    found = [event for event in posted if event["event"] == "cancel_reminder"]
    return {key: found[0][key] for key in ("name", "intent", "entities") if key in found[0]} if found else None


def shows_cancelled(case: Case, expected: Expected) -> bool:
    return bool(case.scenario.group == "event_types" and _cancelled(case)) and "cancel_reminder" in str(expected.body)


def with_cancelled(case: Case, expected: Expected) -> Expected:
    def change(body: Any) -> Any:
        for event in body["events"]:
            event |= (_cancelled(case) or {}) if event["event"] == "cancel_reminder" else {}
        return body

    return expected.with_body(change)


# --- O18: percent-encoded ids ---


def decoded(_: Case, expected: Expected) -> Expected:
    return expected.with_body(lambda body: _with_plain_id(body))


def _with_plain_id(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_plain_id(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_id(item) for item in value]
    return re.sub("<CONV%/?>", "<CONV>", value) if isinstance(value, str) else value


def has_encoded_id(case: Case, expected: Expected) -> bool:
    return case.scenario.group == "conversation_ids" and "<CONV%" in str(expected.body)


def own_conversation(case: Case, _: Expected) -> Expected:
    """Whoever has the decoded id as user name may use the conversation; whoever has the encoded one may not."""
    posted = body_of("auth/auth_jwt_admin_no_username/2")
    return [
        ok(body_of("auth/auth_jwt_admin_no_username/1")),
        ok(posted),
        ok(posted | {"events": None}),
        not_authorized(),
    ][case.index]


# --- O48: a prediction writes nothing ---


def _began_session(case: Case) -> bool:
    """Whether Rasa's prediction wrote a new session, since the last message, which a PUT brought, is from years ago."""
    if not case.route.endswith("/predict") or not any(step.request["method"] == "PUT" for step in case.earlier):
        return False
    events = case.step.body["tracker"]["events"]
    return any(event["event"] == "session_started" and event["timestamp"] == "<TS>" for event in events)


def follows_prediction(route: str) -> Callable[[Case, Expected], bool]:
    return lambda case, _: case.route.startswith(route) and any(_began_session(step) for step in case.earlier)


def story_of_posted(case: Case, _: Expected) -> Expected:
    """The story of what clients wrote, and of nothing else."""
    events = [dialogue.from_wire(event, 1.0) for step in _generation(case) for event in step.posted]
    all_sessions = "all_sessions=true" in urlencode(case.request.get("query", {}))
    if not all_sessions:
        begins = [index for index, event in enumerate(events) if dialogue.begins_session(event)]
        events = events[begins[-1] :] if begins else events
    text = dialogue.story("<CONV>", events, all_sessions=all_sessions, time=None)
    return Expected(status=200, content_type=TEXT, body=text)


def interrupted_loop(case: Case, _: Expected) -> Expected:
    body = body_of("loops/loop_events_only/0")
    body["events"].append(
        {"event": "loop_interrupted", "timestamp": "<TS>", "metadata": STAMPS, "is_interrupted": True}
    )
    body["active_loop"]["is_interrupted"] = True
    shown = body["events"] if case.index == 3 else None
    return ok(body | {"latest_event_time": "<TS>", "events": shown})


# --- O63: errors of the framework ---

_REASONS: Final = {400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}


def is_framework_error(_: Case, expected: Expected) -> bool:
    body = expected.body
    is_json = isinstance(body, dict) and list(body) == ["description", "status", "message"]
    return expected.status in _REASONS and (is_json or isinstance(body, str))


def in_envelope(_: Case, expected: Expected) -> Expected:
    status = expected.status or 500
    if status == 413:
        return too_large()
    if status == 400:
        return error(status, _REASONS[status], NOT_JSON)
    message = expected.body["message"] if isinstance(expected.body, dict) else _message(expected.body)
    return error(status, _REASONS[status], message)


def _message(page: str) -> str:
    """The message in a page of text or HTML."""
    found = re.search(r"Requested URL \S+ not found|Method \w+ not allowed for URL [^\s<]*(<CONV>)?[^\s<]*", page)
    assert found, page
    return found[0]


def too_large() -> Expected:
    message = Like("how large it may be", lambda text: "at most 100,000,000 bytes are accepted" in text)
    details = Like("the limit", lambda details: details["limit"] == 100_000_000)
    return error(413, "TooLarge", message, details=details)


# --- O40: invalid events ---


def is_invalid_events(_: Case, expected: Expected) -> bool:
    return expected.status == 400 and str(expected.body.get("message")).endswith("<REASON>")


# --- CORS ---

_EXPOSED: Final = "filename, ETag, Idempotency-Replayed, Retry-After, X-Request-ID"


def exposing(_: Case, expected: Expected) -> Expected:
    return replace(expected, headers=expected.headers | {"access-control-expose-headers": _EXPOSED})


def preflighted(_: Case, expected: Expected) -> Expected:
    headers = {"access-control-max-age": "600", "access-control-allow-headers": "*"} if expected.headers else {}
    return replace(expected, content_type=TEXT, headers=expected.headers | headers)


# --- O38 ---


def invalid_id(message: str) -> Callable[[Case, Expected], Expected]:
    details = {"parameter": "conversation_id", "in": "path"}
    return always(lambda: error(400, "BadRequest", Like(message, lambda text: message in text), details=details))
