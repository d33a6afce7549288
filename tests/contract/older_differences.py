"""Every place where the service answers otherwise than rasa_core 0.9 and 0.11 did, on purpose, when it speaks the older
protocol: what they do, and what we do instead.

As with the differences from Rasa 3.6, each one is needed: it covers a step that is answered otherwise without it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from msgspec.structs import replace

from tests.contract.answers import always, at, ok
from tests.contract.differences import Difference
from tests.contract.expected import JSON, TEXT, Expected, error, needs_model, not_authenticated, not_authorized
from tests.contract.normal_form import Like
from tests.contract.older_answers import (
    NO_EVENTS,
    NOT_KEPT,
    allowed,
    as_text,
    by_the_rules,
    fails,
    has_origin,
    in_envelope,
    is_no_json,
    is_no_object,
    is_page,
    lacks_query,
    like,
    listing,
    names_unknown_action,
    naming_action,
    of_later_ages,
    runs,
    said,
    saying,
    state_of,
    unsure,
    with_list,
    without_model,
)

OLDER_DIFFERENCES: Final = [
    Difference(
        number="greeting",
        rasa="`GET /` says hello in HTML, with rasa_core's version.",
        ours="It says our name and version.",
        covers=lambda case, _: case.route == "GET /",
        answer=lambda _case, _expected: Expected(
            status=200, content_type=TEXT, body=f"Hello from Turnlog: {version('turnlog')}"
        ),
    ),
    Difference(
        number="version",
        rasa="`/version` holds rasa_core's version.",
        ours="It is the same in all ages of the protocol.",
        covers=lambda case, expected: case.route == "GET /version" and expected.status == 200,
        answer=lambda _case, expected: replace(
            expected,
            body={"version": "3.6.21", "minimum_compatible_version": "3.6.21", "turnlog": version("turnlog")},
        ),
    ),
    Difference(
        number="HEAD",
        rasa="`HEAD` is answered as `GET`.",
        ours="It is a 405.",
        covers=at("0_9/meta/hello/3"),
        answer=always(lambda: Expected(status=405, content_type=JSON, body="")),
    ),
    Difference(
        number="slash",
        rasa="An id cannot contain a slash.",
        ours="It can, percent-encoded.",
        covers=at("0_9/ids/id_slash/[012]"),
        answer=like("0_9/ids/id_quote"),
    ),
    Difference(
        number="/load",
        rasa="`/load` takes a model, and forgets all conversations.",
        ours="It is not there: `PUT /model` exchanges models.",
        covers=lambda case, _: case.route == "POST /load",
        answer=always(lambda: error(404, "NotFound", "Requested URL /load not found")),
    ),
    Difference(
        number="pages",
        rasa="What is not there, not allowed, or not for everybody is answered with a page of HTML.",
        ours="It is answered with the same status, in the envelope.",
        covers=is_page,
        answer=in_envelope,
    ),
    Difference(
        number="/load",
        rasa="Another model has no conversations.",
        ours="Conversations stay, whatever model there is.",
        covers=at("0_9_load/load/good/3"),
        answer=by_the_rules,
    ),
    Difference(
        number="/load",
        rasa="Nor does it list any.",
        ours="They are listed.",
        covers=at("0_9_load/load/good/2"),
        answer=lambda _case, _expected: ok(listing()),
    ),
    Difference(
        number="no model",
        rasa="Without a model conversations can be neither seen nor written.",
        ours="They can; they have no slots.",
        covers=at("0_9_nomodel/no_model/all/([789]|10)"),
        answer=without_model,
    ),
    Difference(
        number="no model",
        rasa="Nor can anything else: it is a 503, in text.",
        ours="What needs a model is a 409 in the envelope.",
        covers=lambda _, expected: expected.status == 503,
        answer=always(needs_model),
    ),
    Difference(
        number="no text",
        rasa="A request without a message, or with one that is no text, is a 500.",
        ours="It is the 400 that was meant.",
        covers=lacks_query,
        answer=always(lambda: said("Invalid parse parameter specified")),
    ),
    Difference(
        number="no object",
        rasa="A body that is no object is a 500.",
        ours="It is a 400.",
        covers=is_no_object,
        answer=always(lambda: said("The body must be a JSON object.")),
    ),
    Difference(
        number="no JSON",
        rasa="A body that is no JSON is a 400, with a page of HTML.",
        ours="It is a 400, with a sentence.",
        covers=is_no_json,
        answer=always(lambda: saying("The body is not JSON: ")),
    ),
    Difference(
        number="unknown action",
        rasa="An action that the domain does not have is a 500.",
        ours="It is the 400 that was meant.",
        covers=names_unknown_action,
        answer=naming_action,
    ),
    Difference(
        number="no events",
        rasa="Events that are none are a 500.",
        ours="They are a 400, with a sentence.",
        covers=lambda case, expected: fails(case, expected) and at(NO_EVENTS)(case, expected),
        answer=always(
            lambda: said(
                Like(
                    "a sentence about events",
                    lambda text: text.startswith(("This is no event: ", "Events must be ", "The parse_data of a user")),
                )
            )
        ),
    ),
    Difference(
        number="no events",
        rasa="A slot without a name, an action without a name and a time that is none are kept as they are.",
        ours="They are a 400 as well.",
        covers=at(NOT_KEPT),
        answer=always(lambda: saying("This is no event: ")),
    ),
    Difference(
        number="no events",
        rasa="They are in the conversation.",
        ours="The conversation is as it was.",
        covers=at(NOT_KEPT.removesuffix("/1") + "/[23]"),
        answer=by_the_rules,
    ),
    Difference(
        number="later events",
        rasa="Events that came with later ages are a 500.",
        ours="They are taken.",
        covers=at("0_9/bad_events/newer_(followup|form)/[12]"),
        answer=of_later_ages,
    ),
    Difference(
        number="until",
        rasa="`until` that is no number is a 500.",
        ours="It is a 400.",
        covers=at("0_9/tracker/until/1[2345]"),
        answer=always(lambda: saying("'until' must be a time in Unix seconds, is ")),
    ),
    Difference(
        number="until",
        rasa="A state of another time is that of a conversation `default`.",
        ours="It is that of the conversation.",
        covers=lambda _, expected: isinstance(expected.body, dict) and expected.body.get("sender_id") == "default",
        answer=lambda _case, expected: expected.with_body(lambda body: body | {"sender_id": "<CONV>"}),
    ),
    Difference(
        number="GET",
        rasa="`GET /parse` is a 500.",
        ours="It does what `POST` does.",
        covers=at("0_9/parse/get_q(uery)?/[01]"),
        answer=by_the_rules,
    ),
    Difference(
        number="paused",
        rasa="A message to a bot that is paused is not kept.",
        ours="It is, as all that was said.",
        covers=at("0_9/pause/paused_parse/[2457]|0_9/pause/paused_continue/[457]|0_9/loop/handoff/[347]"),
        answer=by_the_rules,
    ),
    Difference(
        number="lists",
        rasa="A slot for a list holds a text as it is.",
        ours="It holds a list of the text, as since Rasa 2.",
        covers=at("0_9/event_types/event_slot_list_as_string/[123]"),
        answer=with_list,
    ),
    Difference(
        number="no intent",
        rasa="When the NLU finds no intent it is sure of that.",
        ours="The confidence in no intent is 0, as in later ages.",
        covers=at("0_9_nlu/nlu/nothing/[012]"),
        answer=unsure,
    ),
    Difference(
        number="options",
        rasa="The empty body of an answer to `OPTIONS` is HTML.",
        ours="It is text.",
        covers=lambda case, expected: case.request["method"] == "OPTIONS" and expected.status == 200,
        answer=as_text,
    ),
    Difference(
        number="CORS",
        rasa="The headers for pages of other origins were not recorded.",
        ours="They are the same in all ages of the protocol.",
        covers=lambda case, _: has_origin(case) is not None,
        answer=allowed,
    ),
    Difference(
        number="JWT refused",
        rasa="A JWT that is no good is a 422 with a `msg` that says what is wrong with it.",
        ours="It is a 401 in the envelope.",
        covers=lambda _, expected: expected.status == 422,
        answer=always(not_authenticated),
    ),
    Difference(
        number="no permission",
        rasa="Who may not do something is told so in a line of text.",
        ours="He is told so in the envelope.",
        covers=lambda _, expected: expected.status == 403,
        answer=always(not_authorized),
    ),
    Difference(
        number="state of 0.11",
        rasa="`/status` holds `is_ready` and the model's fingerprint.",
        ours="It names the model, as from 1.0 on.",
        covers=lambda case, expected: case.route == "GET /status" and expected.status == 200,
        answer=always(lambda: ok({"model_file": "local", "model_id": "<HEX32>", "num_active_training_jobs": 0})),
    ),
    Difference(
        number="state of 0.11",
        rasa="A state has the keys and events of 0.11.",
        ours="It has those of 3.6.",
        covers=lambda case, expected: runs("0_11")(case) and expected.status == 200 and case.route != "GET /status",
        answer=lambda case, _: ok(state_of(case)),
    ),
]
