"""Every place where the service answers otherwise than Rasa 3.6.21, on purpose: what Rasa does, and what we do instead.

This is the only list of them. A difference applies to the steps that it covers, one after the other, and says what the
answer is instead; a step that it covers and that is answered the same without it is a fault, and so is a difference
that covers nothing. The numbers are those by which the differences are known elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tests.contract.answers import (
    ACCEPTED,
    NO_OBJECT,
    NO_TEXT,
    NOT_JSON,
    OWN_CONVERSATION,
    UNKNOWN_CONVERSATION,
    after_execution,
    always,
    as_with_empty_parse_data,
    at,
    before_prediction,
    decoded,
    executed,
    exposing,
    follows_prediction,
    has_encoded_id,
    in_envelope,
    in_older_protocol,
    in_one_conversation,
    interrupted_loop,
    invalid_id,
    invalid_parameter,
    is_framework_error,
    is_invalid_events,
    lacks_begin,
    names_function,
    naming_intent,
    no_object,
    no_text,
    of_replaced,
    ok,
    opened_with_first_event,
    own_conversation,
    predicted_again,
    predicted_of_posted,
    predicted_of_slot,
    preflighted,
    replaced_by_slot,
    restarted,
    shows_cancelled,
    shows_channel,
    shows_opening,
    story_of_posted,
    too_large,
    unclassified,
    untrained,
    with_begin,
    with_cancelled,
    with_state_of_sql,
)
from tests.contract.expected import (
    TEXT,
    Expected,
    body_of,
    details_with_path,
    error,
    invalid_events,
    needs_model,
    not_authenticated,
    recorded,
    recorded_on_sql,
)
from tests.contract.normal_form import Like
from tests.contract.service import PROJECT
from tests.contract.transcripts import Case, cases


class Difference(Struct, frozen=True, kw_only=True):
    """What Rasa does, what we do, which steps that concerns, and the answer that is expected instead of Rasa's."""

    number: str
    rasa: str
    ours: str
    covers: Callable[[Case, Expected], bool]
    answer: Callable[[Case, Expected], Expected]


DIFFERENCES: Final = [
    Difference(
        number="greeting",
        rasa="`GET /` says `Hello from Rasa` and Rasa's version.",
        ours="It says our name and version; `/version` has the version of Rasa that clients compare.",
        covers=lambda case, _: case.route == "GET /",
        answer=lambda _case, _expected: Expected(
            status=200, content_type=TEXT, body=f"Hello from Turnlog: {version('turnlog')}"
        ),
    ),
    Difference(
        number="version",
        rasa="`/version` holds Rasa's version and the oldest compatible one.",
        ours="It holds our own version as well, as `turnlog`.",
        covers=lambda case, expected: case.route == "GET /version" and expected.status == 200,
        answer=lambda _case, expected: expected.with_body(lambda body: body | {"turnlog": version("turnlog")}),
    ),
    Difference(
        number="model file",
        rasa="`model_file` of `/status` is the name of an archive.",
        ours="A project that is run from its folder goes by the folder's name.",
        covers=lambda case, expected: case.route == "GET /status" and expected.status == 200,
        answer=lambda _case, expected: expected.with_body(lambda body: body | {"model_file": PROJECT}),
    ),
    Difference(
        number="O6",
        rasa="The default store loses all sessions but the last when a conversation is written again.",
        ours="The log keeps everything, as Rasa's SQL store does here.",
        covers=at("sequences/seq_second_session/7|live_session/live_restart/6|webhooks/rest_fields/[37]"),
        answer=lambda case, _: recorded_on_sql(case),
    ),
    Difference(
        number="O66",
        rasa="After a restart the default store forgets that `action_session_start` is next, and in a loop it forgets "
        "the messages behind the first one; the SQL store does not.",
        ours="As the SQL store.",
        covers=at(
            "event_types/event_restart_in_list/[23]|loops/loop_events_state/1[56]|loops/loop_happy_form_rest/[368]|"
            "live_session/live_form_active/[89]|execute/execute_action_restart/2|sequences/seq_restart_twice/[1234]|"
            "slots/slot_restart_resets/[23]"
        ),
        answer=with_state_of_sql,
    ),
    Difference(
        number="O8",
        rasa="`execute` answers with the state from before the action.",
        ours="It answers with the state after it.",
        covers=executed,
        answer=after_execution,
    ),
    Difference(
        number="O66",
        rasa="The state after a restart, which only a later step shows, is that of the default store there as well.",
        ours="As the SQL store.",
        covers=at("execute/execute_action_restart/1"),
        answer=lambda _case, expected: expected.with_body(
            lambda body: body | {"tracker": body["tracker"] | {"followup_action": "action_session_start"}}
        ),
    ),
    Difference(
        number="O44",
        rasa="With the SQL store an answer to a write shows the session from `session_started` on.",
        ours="It shows the session from its `action_session_start` on, as with the default store.",
        covers=lacks_begin,
        answer=with_begin,
    ),
    Difference(
        number="O2",
        rasa="With the SQL store a PUT does not replace a conversation, so the slot that it holds is in no story.",
        ours="A PUT replaces the conversation, and its story is that of the new events.",
        covers=at("no_model/(core|nlu)only_all_endpoints/4"),
        answer=story_of_posted,
    ),
    Difference(
        number="O2",
        rasa="What follows such a PUT goes on in the session that was to be replaced, and has forgotten the slot.",
        ours="The conversation consists of the slot, and of what follows.",
        covers=at("no_model/coreonly_all_endpoints/([678]|21)|no_model/nluonly_all_endpoints/(6|21)"),
        answer=of_replaced,
    ),
    Difference(
        number="O2",
        rasa="A prediction after such a PUT is made for the session that was to be replaced.",
        ours="It is made for the slot, as `/model/predict` does.",
        covers=at("no_model/coreonly_all_endpoints/5"),
        answer=predicted_of_posted,
    ),
    Difference(
        number="O12",
        rasa="`/model/predict` refuses a single event.",
        ours="It is taken as a list of one event.",
        covers=at("model/model_predict_bad/2"),
        answer=predicted_of_slot,
    ),
    Difference(
        number="O12",
        rasa="A PUT of a single object is a 500, and changes nothing.",
        ours="It is taken as a list of one event.",
        covers=at("put_replace/put_single_object/[01]|malformed/raw_(dup_keys|lone_surrogate|nul_char)/[23]"),
        answer=replaced_by_slot,
    ),
    Difference(
        number="O13",
        rasa="A user event whose intent's name is null is refused, although Rasa itself makes such events.",
        ours="It is accepted.",
        covers=at("malformed/bad_user_intent_null_name/[01]"),
        answer=unclassified,
    ),
    Difference(
        number="O14",
        rasa="A user event without `parse_data` is a 500.",
        ours="It is taken as one with empty parse data.",
        covers=at(ACCEPTED),
        answer=as_with_empty_parse_data,
    ),
    Difference(
        number="O18",
        rasa="A JWT's user name is compared with the encoded id.",
        ours="It is compared with the id.",
        covers=at(OWN_CONVERSATION),
        answer=own_conversation,
    ),
    Difference(
        number="O48",
        rasa="What is posted after a prediction that began a session stands in that one.",
        ours="It stands in the session in which the conversation was.",
        covers=at("predict/predict_memo_story/2"),
        answer=before_prediction,
    ),
    Difference(
        number="O48",
        rasa="A second prediction is made in the session that the first one began.",
        ours="A session is due for the second one as well.",
        covers=at("predict/predict_memo_story/3"),
        answer=predicted_again,
    ),
    Difference(
        number="O48",
        rasa="After a prediction for a restarted conversation a new session shows.",
        ours="The conversation is as it was written.",
        covers=at("live_session/live_restart/[34]"),
        answer=restarted,
    ),
    Difference(
        number="O1",
        rasa="The session start before a conversation's first event has the time of arrival, not the event's own.",
        ours="It has the time of the first event if that is earlier.",
        covers=shows_opening,
        answer=opened_with_first_event,
    ),
    Difference(
        number="O16",
        rasa="`cancel_reminder` loses the fields that it came with.",
        ours="They are kept and shown.",
        covers=shows_cancelled,
        answer=with_cancelled,
    ),
    Difference(
        number="O39",
        rasa="NaN and Infinity are accepted and shown, though they are no JSON.",
        ours="They are a 400.",
        covers=at("malformed/raw_(nan|infinity)_value/[02]"),
        answer=always(lambda: error(400, "BadRequest", NOT_JSON)),
    ),
    Difference(
        number="O39",
        rasa="What was posted with NaN or Infinity is in the conversation.",
        ours="The conversation is still unknown.",
        covers=at("malformed/raw_(nan|infinity)_value/[13]"),
        answer=always(lambda: ok(body_of(UNKNOWN_CONVERSATION))),
    ),
    Difference(
        number="O40",
        rasa="Why events are invalid stands in the message alone, with a dump of all schemas.",
        ours="`details.path` leads to the fault.",
        covers=is_invalid_events,
        answer=lambda _case, expected: expected.with_body(lambda body: body | {"details": details_with_path()}),
    ),
    Difference(
        number="O11",
        rasa="An action without a name or a text, and a reminder whose date is none, are a 500.",
        ours="They are a 400, as other invalid events.",
        covers=at("malformed/bad_(action_no_name|reminder_bad_date)/0"),
        answer=always(invalid_events),
    ),
    Difference(
        number="O42",
        rasa="`until=nan` shows an empty conversation.",
        ours="It is ignored like every other value that is no number.",
        covers=at("tracker_get/get_until_nan/[12]"),
        answer=lambda _case, _expected: ok(body_of("tracker_get/get_until_nan/0")),
    ),
    Difference(
        number="O48",
        rasa="A prediction begins a new session if the last message is old, and writes it.",
        ours="A prediction writes nothing: the story is that of the events which clients wrote.",
        covers=follows_prediction("GET /conversations/${conv_enc}/story"),
        answer=story_of_posted,
    ),
    Difference(
        number="O48",
        rasa="The new session, begun by a prediction, has no loop that could be interrupted.",
        ours="The loop is still active.",
        covers=at("loops/loop_events_only/[34]"),
        answer=interrupted_loop,
    ),
    Difference(
        number="no policies",
        rasa="A bot without stories is asked for a prediction: `/predict` is a 500, `/model/predict` is `null`.",
        ours="Both are a 409: nothing is loaded that could predict.",
        covers=at("no_model/nluonly_all_endpoints/(5|10)"),
        answer=always(needs_model),
    ),
    Difference(
        number="O9",
        rasa="That an intent is unknown is said with the name of a function.",
        ours="It is said with the name of the intent.",
        covers=names_function,
        answer=naming_intent,
    ),
    Difference(
        number="O26",
        rasa="A body that is no object is a 500.",
        ours="It is a 400.",
        covers=at(NO_OBJECT),
        answer=no_object,
    ),
    Difference(
        number="O26",
        rasa="A message that has no text, or a text that is none, is a 500.",
        ours="It is a 400.",
        covers=at(NO_TEXT),
        answer=always(no_text),
    ),
    Difference(
        number="O26",
        rasa="`null` as a message is a 500.",
        ours="It is a 400, as no body is.",
        covers=at("messages/messages_bad_bodies/4"),
        answer=lambda _case, _expected: recorded(cases()["messages/messages_bad_bodies/0"]),
    ),
    Difference(
        number="O26",
        rasa="`/model/parse` answers with a 500 when a body is no JSON.",
        ours="It answers with a 400, as every other endpoint.",
        covers=at("model/parse_variants/18"),
        answer=always(lambda: error(400, "BadRequest", NOT_JSON)),
    ),
    Difference(
        number="O26",
        rasa="A list of entities that are none is a 500.",
        ours="It is a 400.",
        covers=at("trigger_intent/trigger_entities_bad/3"),
        answer=always(
            lambda: invalid_parameter("entities", "Every one of the entities must be an object with a text 'entity'.")
        ),
    ),
    Difference(
        number="O26",
        rasa="Training without anything to learn from is a 500.",
        ours="It is a 400, and says what is missing.",
        covers=at("model/model_train_bad/[23]"),
        answer=always(lambda: untrained("Nothing was trained: the project has one fault: body:1: ")),
    ),
    Difference(
        number="faults of a project",
        rasa="What is wrong in a project stands in the message, as far as its first fault.",
        ours="All faults, with their lines, are in `details.faults`.",
        covers=at("model/model_train_bad/1"),
        answer=always(lambda: untrained("The request body does not contain valid YAML. Error: body:1: ")),
    ),
    Difference(
        number="O27",
        rasa="A stream for a message that can't be answered never ends.",
        ours="It ends, without a message.",
        covers=at("webhooks/rest_malformed_stream/0"),
        answer=always(lambda: Expected(status=200, content_type="text/event-stream", body="")),
    ),
    Difference(
        number="O38",
        rasa="An id with U+0000 is accepted in a path; in a message the process ends.",
        ours="It is a 400.",
        covers=at("conversation_ids/id_nul/[012356]"),
        answer=invalid_id("contains U+0000"),
    ),
    Difference(
        number="O18",
        rasa="The name of a story is the encoded id.",
        ours="It is the id, in YAML's quotes where it needs them.",
        covers=at("conversation_ids/id_newline/2"),
        answer=lambda _case, expected: expected.with_body(lambda body: body.replace("<CONV%>", "'a\n\n    b-<RUN>'")),
    ),
    Difference(
        number="O38",
        rasa="A message from a sender with U+0000 ends the process.",
        ours="It is a 400.",
        covers=at("conversation_ids/id_nul/4"),
        answer=always(lambda: invalid_parameter("sender", Like("U+0000", lambda text: "contains U+0000" in text))),
    ),
    Difference(
        number="O18",
        rasa="What a channel writes for an id that needs encoding is in another conversation than what the API writes.",
        ours="There is one conversation.",
        covers=shows_channel,
        answer=in_one_conversation,
    ),
    Difference(
        number="O18",
        rasa="Ids are not percent-decoded: a channel's `a b` is not the conversation at `/conversations/a%20b`.",
        ours="They are decoded.",
        covers=has_encoded_id,
        answer=decoded,
    ),
    Difference(
        number="invalid id",
        rasa="Bytes in a path that are no UTF-8 are part of an encoded id.",
        ours="They are a 400: an id is text.",
        covers=at("conversation_ids/id_invalid_utf8/[01]"),
        answer=invalid_id("is not UTF-8"),
    ),
    Difference(
        number="O20",
        rasa="A JWT signed by another algorithm than the configured one is a 500.",
        ours="It is a 401.",
        covers=at("auth/auth_jwt_(alg_none|hs512)/[012]"),
        answer=always(not_authenticated),
    ),
    Difference(
        number="O21",
        rasa="An `Authorization` header of another form than `Bearer <jwt>` is a 400, in a format of its own.",
        ours="It is a 401 in the envelope.",
        covers=lambda case, expected: (
            case.scenario.group == "auth"
            and isinstance(expected.body, dict)
            and expected.body.get("exception") == "InvalidAuthorizationHeader"
        ),
        answer=always(not_authenticated),
    ),
    Difference(
        number="O62",
        rasa="`GET /domain` with `Accept: */*`, several types or a quality is a 406.",
        ours="It is answered with JSON.",
        covers=at("meta/meta_domain_bad_accept/[123]"),
        answer=lambda _case, _expected: ok(body_of("meta/meta_domain_json/0")),
    ),
    Difference(
        number="405",
        rasa="A method other than POST and PUT at `/tracker/events` is a 404.",
        ours="It is a 405, as at every other path.",
        covers=at("meta/meta_405_routes/[345]"),
        answer=lambda case, _: error(
            405,
            "MethodNotAllowed",
            f"Method {case.request['method']} not allowed for URL /conversations/<CONV>/tracker/events",
        ),
    ),
    Difference(
        number="older protocol",
        rasa="`GET /conversations` and `PUT /conversations/<id>/tracker` of older ages are not there any more.",
        ours="They are.",
        covers=at("meta/meta_404_routes/[12]|meta/meta_405_routes/1"),
        answer=in_older_protocol,
    ),
    Difference(
        number="O63",
        rasa="Errors of the web framework are HTML, text or a JSON of their own, as headers say.",
        ours="They have the status of Rasa's, in the envelope of all other errors.",
        covers=is_framework_error,
        answer=in_envelope,
    ),
    Difference(
        number="too large",
        rasa="The connection is reset when a body is too large.",
        ours="The answer is a 413 in the envelope.",
        covers=at("malformed/huge_body_101mb/0"),
        answer=always(too_large),
    ),
    Difference(
        number="keys of a domain",
        rasa="`session_config` comes before `version` when there is nothing else in a domain, else after it.",
        ours="`version` always comes first.",
        covers=at("no_model/nluonly_all_endpoints/11"),
        answer=lambda _case, expected: expected.with_body(
            lambda body: {"version": body["version"], "session_config": body["session_config"]}
        ),
    ),
    Difference(
        number="/auth/me",
        rasa="`GET /auth/me` is a 500.",
        ours="It is not there.",
        covers=at("auth/auth_jwt_sanic_jwt_routes/4"),
        answer=always(lambda: error(404, "NotFound", "Requested URL /auth/me not found")),
    ),
    Difference(
        number="O24",
        rasa="How long browsers may remember a preflight is `None`, and so is the type of its empty body.",
        ours="They may remember it for 600 seconds and send any header; an empty body is text.",
        covers=at("cors/cors_list_preflight/[01]"),
        answer=preflighted,
    ),
    Difference(
        number="no origin",
        rasa="A request without `Origin` is answered with the CORS headers of the last configured one.",
        ours="It has nothing to do with CORS.",
        covers=at("cors/cors_list_preflight/5"),
        answer=lambda _case, expected: replace(expected, headers={"vary": "Origin"}),
    ),
    Difference(
        number="exposed headers",
        rasa="Pages may read the header `filename`.",
        ours="They may read ours as well.",
        covers=lambda _, expected: "access-control-expose-headers" in expected.headers,
        answer=exposing,
    ),
]
