"""What the differences are made of: which steps they cover, and what the answers are instead."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from msgspec.structs import replace

import dialogue
from tests.contract.expected import (
    JSON,
    TEXT,
    Expected,
    body_of,
    error,
    not_authorized,
    recorded,
    recorded_on_sql,
)
from tests.contract.normal_form import Like
from tests.contract.transcripts import Case

if TYPE_CHECKING:
    from collections.abc import Callable

STAMPS: Final = {"model_id": "<HEX32>", "assistant_id": "anchor-bot"}
NOT_JSON: Final = Like(
    "'Failed when parsing body as json' and why", lambda text: text.startswith("Failed when parsing body as json: ")
)
ACCEPTED: Final = (
    r"malformed/bad_user_no_text_no_parse/[01]|event_types/event_user_(text_only|intent_key)_plain/[012]|"
    r"event_types/event_user_intent_key_ts_meta/[01]|event_types/event_user_(text_only|intent_key)_in_list/[123]"
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


def tracker_of(body: Any) -> Any:
    """The state in an answer: a part of it, or all."""
    return body.get("tracker", body)


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
    return isinstance(expected.body, dict) and bool(_opening(tracker_of(expected.body).get("events") or [], "<TS>"))


def opened_with_first_event(case: Case, expected: Expected) -> Expected:
    timestamp = _opened_at(case)
    if isinstance(expected.body, Like):
        return replace(expected, body=_once_reopened(expected.body, timestamp))

    def change(body: Any) -> Any:
        for event in _opening(tracker_of(body)["events"], "<TS>"):
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
    state = tracker_of(body)
    message = [event for event in state["events"] if event["event"] == "user"][-1]
    for said in (message, message["parse_data"], *([] if "tracker" in body else [body["latest_message"]])):
        said["text"] = text
    return ok(body)


def _last_write(case: Case) -> Case:
    return [step for step in (*case.earlier, case) if step.is_write][-1]


def untrained(beginning: str) -> Expected:
    """The envelope for a project with one fault; the message begins so, and ends with the fault."""
    message = Like(f"a message that begins with {beginning!r}", lambda text: text.startswith(beginning))
    faults = {"faults": Like("one fault with its line", lambda faults: [fault[:7] for fault in faults] == ["body:1:"])}
    return error(400, "BadRequest", message, details=faults, help="https://rasa.com/docs/rasa/training-data-format")


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
    shows = case.scenario.group in ("event_types", "side_effects") and "cancel_reminder" in str(expected.body)
    return bool(shows and _cancelled(case))


def with_cancelled(case: Case, expected: Expected) -> Expected:
    def change(body: Any) -> Any:
        for event in tracker_of(body)["events"]:
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


def shows_channel(case: Case, expected: Expected) -> bool:
    """Whether an API's step comes behind a message of a channel, and the id is not the same when encoded."""
    plain = re.sub(r"\$\{\w+\}", "", case.scenario.conv)
    follows = any("/webhooks/" in step.route and step.step.status == 200 for step in case.earlier)
    return case.scenario.group == "conversation_ids" and follows and quote(plain, safe="") != plain


def in_one_conversation(case: Case, _: Expected) -> Expected:
    """As with an id that needs no encoding: what a channel wrote is in the conversation."""
    return ok(body_of(f"conversation_ids/id_numeric/{case.index}"))


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
    """Whether Rasa's prediction wrote a new session.

    It does if the last message, which a client brought, is years old, or if the conversation was restarted.
    """
    if not case.route.endswith("/predict") or not _is_stale(case):
        return False
    events = tracker_of(recorded(case).body)["events"]
    begin = max((at for at, event in enumerate(events) if event["event"] == "session_started"), default=len(events))
    *carried, last = events[begin:] or [{}]
    return last.get("name") == "action_listen" and all(event["event"] == "slot" for event in carried[1:])


def _is_stale(case: Case) -> bool:
    """Whether clients wrote a last message with a time of its own, which never is about now, or a restart behind it."""
    writes = [step for step in _generation(case) if "generate" not in step.request]
    events = [event for step in writes for event in step.posted]
    times = [event.get("timestamp") for event in events if event["event"] == "user"]
    return bool(times) and (isinstance(times[-1], int | float) or events[-1]["event"] == "restart")


def follows_prediction(route: str) -> Callable[[Case, Expected], bool]:
    return lambda case, _: case.route.startswith(route) and any(_began_session(step) for step in case.earlier)


def story_of_posted(case: Case, _: Expected) -> Expected:
    """The story of what clients wrote, and of nothing else."""
    posted = [event | {"timestamp": None} for step in _generation(case) for event in step.posted]
    events = [dialogue.from_wire(event, 1.0) for event in posted]
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


def before_prediction(case: Case, expected: Expected) -> Expected:
    """Without the session that a prediction began: what was posted later stands in the one before."""
    state, posted = body_of(f"{case.scenario.path}/0"), expected.body["events"][-1]
    return ok(state | {"events": [*state["events"], posted], **_latest(posted)})


def _latest(action: dict[str, Any]) -> dict[str, Any]:
    """What a state says of its last event, an action."""
    name = action["name"]
    return {
        "latest_event_time": action["timestamp"],
        "latest_action": {"action_name": name},
        "latest_action_name": name,
    }


def predicted_again(case: Case, _: Expected) -> Expected:
    """As predicted before, with what was posted meanwhile in front of the session that is due."""
    body = body_of(f"{case.scenario.path}/1")
    posted = body_of(f"{case.scenario.path}/2")["events"][-1]
    body["tracker"]["events"].insert(-3, posted)
    return ok(body)


def restarted(case: Case, _: Expected) -> Expected:
    """The state behind a restart, as it was written."""
    is_bare = case.request["query"]["include_events"] == "NONE"
    return ok(body_of(f"{case.scenario.path}/0") | {"events": None if is_bare else []})


# --- O66: two ways to a state ---


def with_state_of_sql(case: Case, expected: Expected) -> Expected:
    """All that an answer says but for the events, which the SQL store does not show from a session's first one on."""
    on_sql = recorded_on_sql(case).body

    def change(body: Any) -> Any:
        events = tracker_of(body)["events"]
        if "tracker" not in body:
            return on_sql | {"events": events}
        return on_sql | {"tracker": on_sql["tracker"] | {"events": events}}

    return expected.with_body(change)


# --- O8: what was executed shows ---


def executed(case: Case, expected: Expected) -> bool:
    """Whether an action was run, and the answer shows events. Without them it is the same before and after."""
    return case.route.endswith("/execute") and expected.status == 200 and expected.body["tracker"]["events"] is not None


def after_execution(case: Case, expected: Expected) -> Expected:
    """The state that the next step of the scenario shows: an action that is executed there shows the one before it."""
    shown = _next(case)
    if shown is None:
        return expected.with_body(lambda body: _with_action(body, case.request["json"]))
    state, before = deepcopy(tracker_of(recorded(shown).body)), expected.body["tracker"]["events"]
    state["events"] = _after_restart(_sessions(state["events"], _count_sessions(before)))
    return expected.with_body(lambda body: {"tracker": state} | {key: body[key] for key in body if key != "tracker"})


def _next(case: Case) -> Case | None:
    """The next step that shows events, if nothing is written before."""
    for index in range(case.index + 1, len(case.scenario.steps)):
        step = Case(case.scenario, index)
        if step.route.endswith(("/execute", "/tracker")) and tracker_of(recorded(step).body).get("events"):
            return step
        if not step.route.startswith("GET ") and step.step.status == 200:
            return None
    return None


def _count_sessions(events: list[dict[str, Any]]) -> int:
    return sum(event["event"] == "session_started" for event in events)


def _sessions(events: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The last so many sessions, each from its action on."""
    begins = [at for at, event in enumerate(events) if event.get("name") == "action_session_start"]
    return events[begins[-count] :] if count <= len(begins) else events


def _after_restart(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    restarts = [at for at, event in enumerate(events) if event["event"] == "restart"]
    return events[restarts[-1] + 1 :] if restarts else events


_BEGIN: Final = {
    "event": "action",
    "timestamp": "<TS>",
    "metadata": STAMPS,
    "name": "action_session_start",
    "policy": None,
    "confidence": 1.0,
    "action_text": None,
    "hide_rule_turn": False,
}
_SAYS_NOTHING: Final = dict.fromkeys(("elements", "quick_replies", "buttons", "attachment", "image", "custom"))


def _with_action(body: Any, request: dict[str, Any]) -> Any:
    """The state behind an action that said texts, if anything."""
    state, name = body["tracker"], request["name"]
    chosen = {"name": name, "policy": request.get("policy"), "confidence": request.get("confidence", 0.0)}
    state["events"].append(_BEGIN | chosen)
    for message in body["messages"]:
        said = {"metadata": {"utter_action": name, **STAMPS}, "text": message["text"], "data": _SAYS_NOTHING}
        state["events"].append({"event": "bot", "timestamp": "<TS>", **said})
    state |= {"latest_action": {"action_name": name}, "latest_action_name": name}
    return body


# --- O44: where a session begins ---


def lacks_begin(case: Case, expected: Expected) -> bool:
    """Whether an answer, which was recorded with the SQL store alone, shows a session without its first event."""
    if case.scenario.group != "session" or not isinstance(expected.body, dict):
        return False
    events = tracker_of(expected.body).get("events") or [{}]
    return bool(events[0].get("event") == "session_started")


def with_begin(_: Case, expected: Expected) -> Expected:
    """The session from its action on."""

    def change(body: Any) -> Any:
        tracker_of(body)["events"].insert(0, _BEGIN)
        return body

    return expected.with_body(change)


# --- O2: a replaced conversation stays replaced ---


def of_replaced(case: Case, expected: Expected) -> Expected:
    """Without the session start that was there before a PUT of one slot, which counts.

    Two fallbacks one after the other take everything back in such a conversation: the slot, and that the bot listened.
    """
    posted = _generation(case)[-1].posted[0]

    def change(body: Any) -> Any:
        state = tracker_of(body)
        before = next(at for at, event in enumerate(state["events"]) if event.get("name") == "action_listen") + 1
        later = [event for event in state["events"][before:] if event.get("timestamp") != posted["timestamp"]]
        kinds = [event["event"] for event in later]
        if "rewind" in kinds:
            later.pop(kinds.index("user_featurization"))
        else:
            state["slots"] |= {name: posted["value"] for name in state["slots"] if name == posted["name"]}
        state["events"] = [{key: posted[key] for key in ("event", "timestamp", "name", "value")}, *later]
        if "action" not in kinds:
            state |= {"latest_action": {}, "latest_action_name": None}
        return body

    return expected.with_body(change)


def predicted_of_posted(case: Case, expected: Expected) -> Expected:
    """What `/model/predict` says of the same events."""
    body = body_of(f"{case.scenario.path}/10")
    body["scores"].sort(key=lambda item: (-item["score"], item["action"]))
    body["tracker"]["sender_id"] = "<CONV>"
    return replace(expected, body=body)


def predicted_of_slot(_: Case, __: Expected) -> Expected:
    """What is predicted of a list of one slot: the same as of none."""
    body = body_of("model/model_predict_bad/0")
    body["tracker"]["slots"]["city"] = "x"
    body["tracker"] |= {
        "events": [{"event": "slot", "timestamp": "<TS>", "name": "city", "value": "x"}],
        "latest_event_time": "<TS>",
    }
    return ok(body)


# --- O9, O26: errors ---

NO_OBJECT: Final = r"messages/messages_bad_bodies/[23]|model/parse_variants/16|webhooks/rest_malformed/[0234]"
NO_TEXT: Final = r"messages/messages_missing_fields/1|messages/messages_text_variants/[23]|model/parse_variants/1[2345]"
NOT_READABLE: Final = r"model/parse_variants/18"


def invalid_parameter(name: str, message: object) -> Expected:
    """The envelope for a part of the body that is missing or wrong."""
    return error(400, "BadRequest", message, details={"parameter": name, "in": "body"})


def no_object(case: Case, _: Expected) -> Expected:
    """The envelope for a body that is no object."""
    fields = " with 'sender' and 'message'" if case.scenario.group == "webhooks" else ""
    return invalid_parameter("", f"The request's body must be a JSON object{fields}.")


def no_text() -> Expected:
    """The envelope for a message without a text."""
    return invalid_parameter("text", "The text of the message is missing, or is no text.")


def names_function(_: Case, expected: Expected) -> bool:
    return expected.status == 404 and "<function " in str(expected.body)


def naming_intent(case: Case, expected: Expected) -> Expected:
    message = f"The intent {case.request['json']['name']} does not exist in the domain."
    return expected.with_body(lambda body: body | {"message": message})


# --- endpoints of older ages ---


def in_older_protocol(case: Case, _: Expected) -> Expected:
    """A list of conversations, or an empty one in the form of its time."""
    if case.request["method"] == "GET":
        return ok(Like("a list of ids", lambda ids: all(isinstance(name, str) for name in ids)))
    return ok(Like("an empty conversation", lambda state: (state["sender_id"], state["events"]) == ("<CONV>", [])))


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
