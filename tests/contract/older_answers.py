"""What the differences from rasa_core are made of: which steps they cover, and what the answers are instead."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from tests.contract.answers import ok
from tests.contract.expected import JSON, TEXT, Expected, error, not_authenticated, recorded_on_sql
from tests.contract.normal_form import Like
from tests.contract.older_model import Conversation
from tests.contract.older_transcripts import older_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.transcripts import Case

Json = dict[str, Any]

NO_EVENTS: Final = (
    r"0_9/(bad_events/(item_|event_)\w+|continue/events_\w+|event_types/event_(reminder|topic|user)\w*|"
    r"tracker/(post|put)_(item_null|number|object|user_no_parse_data|wrapped))/1"
)
NOT_KEPT: Final = (
    r"0_9/(event_types/event_(action_none|slot_(key_not_name|number_name|ts_string))|tracker/post_ts_string)/1"
)


def body_of(path: str) -> Any:
    """The recorded body of another step."""
    return deepcopy(recorded_on_sql(older_cases()[path]).body)


def runs(protocol: str) -> Callable[[Case], bool]:
    """Whether a case was recorded with this age of rasa_core."""
    return lambda case: case.scenario.server.startswith(f"rasa_core_{protocol}")


def endpoint(case: Case) -> str:
    """The last part of the path."""
    path: str = case.request["path"]
    return path.rpartition("/")[2]


def fails(case: Case, expected: Expected) -> bool:
    """Whether the request was refused for what is in it."""
    return runs("0_9")(case) and expected.status in (400, 500) and endpoint(case) != "load"


def said(message: object) -> Expected:
    """The answer to a wrong request: one sentence."""
    return Expected(status=400, content_type=JSON, body={"error": message})


def saying(start: str) -> Expected:
    """The same, with a sentence that begins like this."""
    return said(Like(f"{start}…", lambda text: text.startswith(start)))


def sent(case: Case) -> Any:
    """The JSON value in a request's body, `...` when there is none."""
    request = case.request
    if "json" in request:
        return request["json"]
    try:
        return json.loads(request.get("body", ""))
    except ValueError:
        return ...


def by_the_rules(case: Case, _: Expected) -> Expected:
    """What the model of the protocol says; to it no request counts that we refuse."""
    model = Conversation()
    steps = [step for step in (*case.earlier, case) if step.request["path"].startswith("/conversations/")]
    answers = [model.answer(step.request) for step in steps if re.fullmatch(NOT_KEPT, step.path) is None]
    return ok(answers[-1])


def like(path: str) -> Callable[[Case, Expected], Expected]:
    """As the step of the same place in another scenario."""
    return lambda case, _: ok(body_of(f"{path}/{case.index}"))


# --- errors -----------------------------------------------------------------------------------------------------------


def is_page(_: Case, expected: Expected) -> bool:
    return expected.status in (401, 404, 405) and str(expected.body).startswith("<!DOCTYPE")


def in_envelope(case: Case, expected: Expected) -> Expected:
    """The error of the same status."""
    path, method = case.request["path"], case.request["method"]
    if expected.status == 401:
        return not_authenticated()
    if expected.status == 404:
        return error(404, "NotFound", f"Requested URL {path} not found")
    return error(405, "MethodNotAllowed", f"Method {method} not allowed for URL {path}")


def lacks_query(case: Case, expected: Expected) -> bool:
    asks = endpoint(case) in ("parse", "respond") and case.request["method"] == "POST"
    return fails(case, expected) and asks and isinstance(sent(case), dict)


def is_no_object(case: Case, expected: Expected) -> bool:
    asks = endpoint(case) in ("parse", "respond", "continue")
    return fails(case, expected) and asks and sent(case) is not ... and not isinstance(sent(case), dict)


def is_no_json(case: Case, expected: Expected) -> bool:
    return fails(case, expected) and case.request["method"] == "POST" and sent(case) is ...


def names_unknown_action(case: Case, expected: Expected) -> bool:
    return fails(case, expected) and re.fullmatch(r"0_9/continue/(unknown|action)\w*/1", case.path) is not None


def naming_action(case: Case, _: Expected) -> Expected:
    return said(
        f"Can not execute action '{case.request['json']['executed_action']}' as it is not listed in the domains "
        "'actions' section in the domain YAML file. Make sure you have added all actions to the domain file."
    )


# --- messages ---------------------------------------------------------------------------------------------------------


def unsure(_: Case, expected: Expected) -> Expected:
    """With the confidence that we have in no intent."""

    def change(body: Any) -> Any:
        state = body.get("tracker", body)
        said = [event["parse_data"] for event in state["events"] or () if event["event"] == "user"]
        for message in (state["latest_message"], *said):
            message["intent"]["confidence"] = 0.0
        return body

    return expected.with_body(change)


def of_later_ages(case: Case, _: Expected) -> Expected:
    """The action is noted, and what the event asks for is what comes next."""
    if case.index == 2:
        state = body_of("0_9/continue/known/2")
        return ok(state | {"events": state["events"][:-1]})
    next_action = {"newer_followup": "suggest", "newer_form": "utter_default"}[case.scenario.name]
    return ok(body_of("0_9/continue/known/1") | {"next_action": next_action})


def with_list(_: Case, expected: Expected) -> Expected:
    """With a list of the text."""

    def change(body: Any) -> Any:
        slots = body.get("tracker", body)["slots"]
        slots["matches"] = [slots["matches"]]
        return body

    return expected.with_body(change)


# --- models -----------------------------------------------------------------------------------------------------------


def without_model(case: Case, _: Expected) -> Expected:
    """What is answered of a conversation when nothing is known of slots."""
    if case.route == "GET /conversations":
        return ok(listing())
    model = Conversation()
    state = [model.answer(step.request) for step in (*case.earlier, case) if "/tracker" in step.request["path"]][-1]
    is_empty = case.request["method"] == "PUT"
    return ok(state | {"slots": {}} | ({"latest_event_time": None} if is_empty else {}))


def listing() -> Like:
    """The ids of conversations, this one among them."""
    return Like("a list with the conversation's id", lambda ids: "<CONV>" in ids)


def state_of(case: Case) -> Like:
    """A state of the conversation in the path, with the message if one was posted."""
    conversation = "other" if "/other/" in case.request["path"] else "<CONV>"
    text = case.request.get("json", {}).get("text")
    return Like(
        f"the state of {conversation!r} after {text!r}",
        lambda state: (state["sender_id"], state["latest_message"]["text"]) == (conversation, text),
    )


# --- CORS -------------------------------------------------------------------------------------------------------------


def has_origin(case: Case) -> str | None:
    """The origin of a request, if it is one of those that are configured."""
    origin: str | None = case.request.get("headers", {}).get("Origin")
    return origin if origin in ("http://a.example", "http://b.example") else None


def allowed(case: Case, expected: Expected) -> Expected:
    """With the headers for a page of this origin."""
    preflight = {
        "access-control-allow-methods": Like("methods", lambda methods: "POST" in methods),
        "access-control-allow-headers": "*",
        "access-control-max-age": "600",
    }
    headers = {
        **(preflight if case.request["method"] == "OPTIONS" else {}),
        "access-control-allow-origin": has_origin(case),
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "filename, ETag, Idempotency-Replayed, Retry-After, X-Request-ID",
    }
    return replace(expected, headers=headers)


def as_text(_: Case, expected: Expected) -> Expected:
    return replace(expected, content_type=TEXT)
