"""`/openapi.json`: the HTTP API in the words of OpenAPI 3.1. One table, to be read beside the routes of the app."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from api.endpoint import json_response
from api.openapi_shapes import ANY_OBJECT, TEXT, Schema, array, obj, ref, schemas
from api.requests import MAX_WHOLE
from dialogue import dumps
from projections import VERBOSITIES

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request

    from api.service import Service

JSON: Final = "application/json"
PLAIN: Final = "text/plain"
YAML: Final = "application/yaml"


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path: what it takes, and what it answers.

    Attributes:
        parameters: names from PARAMETERS.
        body: schema of the request's body.
        takes: content types of the body.
        answers: schemas by content type, of the successful answer.
        headers: names from HEADERS, of the successful answer.
        errors: statuses from ERRORS, besides those that every operation has.
        others: further answers, by status, that are no errors.
        public: whether anybody may call it.
    """

    summary: str
    parameters: tuple[str, ...] = ()
    body: Schema | None = None
    takes: tuple[str, ...] = (JSON,)
    answers: dict[str, Schema] | None = None
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    others: dict[str, Schema] = {}
    public: bool = False


def _parameter(name: str, place: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": place, "schema": schema, "description": description, "required": place == "path"}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return _parameter(name, "query", schema, description)


_MOMENT: Final[Schema] = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,9})?$"},
    ],
    "description": "ISO 8601, or seconds since 1970.",
}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": MAX_WHOLE}
_ENTITY_TAG: Final = '"<version>-<fingerprint of the domain>"'

PARAMETERS: Final[dict[str, Schema]] = {
    "conversation_id": _parameter(
        "conversation_id",
        "path",
        {"type": "string", "minLength": 1, "maxLength": 1024},
        "1 to 1,024 bytes of UTF-8 without U+0000. May hold slashes, bare or percent-encoded.",
    ),
    "include_events": _query(
        "include_events",
        {"type": "string", "enum": list(VERBOSITIES), "default": "AFTER_RESTART"},
        "Which events the state shows, in any case: none, those that still count, those after the last restart, all.",
    ),
    "until": _query(
        "until", {"type": "number"}, "Only events up to the first one later than this, in seconds since 1970."
    ),
    "query": _query("query", TEXT, "The message; `q` does as well.") | {"required": True},
    "all_sessions": _query("all_sessions", {"type": "boolean", "default": False}, "One story for every session."),
    "version": _query("version", _COUNT, "The state as of this version of the conversation."),
    "at": _query("at", _MOMENT, "The state as of this time."),
    "after_position": _query("after", _COUNT | {"default": 0}, "Only later positions."),
    "after_version": _query("after", _COUNT | {"default": 0}, "Only later versions."),
    "after_cursor": _query("after", TEXT, "The `after` of the page before."),
    "active_since": _query("active_since", _MOMENT, "Only conversations with an event since then."),
    "with_channel": _query("channel", TEXT, "Only conversations whose last message came from this channel."),
    "intent": _query("intent", TEXT, "Only conversations whose last message had this intent."),
    "limit": _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "The page's length."),
    "output_channel": _query(
        "output_channel", TEXT, "Where messages go: a channel, or `latest`, that of the last message; else the answer."
    ),
    "execute_side_effects": _query(
        "execute_side_effects",
        {"type": "boolean", "default": False},
        "Send what posted `bot` events say, and schedule posted reminders. Needs a model: 409 without one.",
    ),
    "stream": _query(
        "stream", {"type": "boolean", "default": False}, "Each message as a line of JSON, once it is said."
    ),
    "emulation_mode": _query(
        "emulation_mode",
        {"type": "string", "enum": ["WIT", "LUIS", "DIALOGFLOW"]},
        "Answer in another service's format.",
    ),
    "save_to_default_model_directory": _query(
        "save_to_default_model_directory",
        {"type": "boolean", "default": True},
        "Put the archive into the service's folder `models` as well.",
    ),
    "callback_url": _query(
        "callback_url",
        {"type": "string", "format": "uri", "pattern": "^https?://"},
        "Answer 204 at once, and post the result there later: what would have been answered.",
    ),
    "if_none_match": _parameter(
        "If-None-Match", "header", TEXT, "Answer 304 if the state has one of these entity tags."
    ),
    "if_match": _parameter(
        "If-Match",
        "header",
        {"anyOf": [{"const": "*"}, {"type": "string", "pattern": r'^(W/)?"[0-9]{1,18}(-[0-9a-f]{16})?"$'}]},
        'Write only if the conversation is at the version of this entity tag; `"0"`: is new; `*`: is not new.',
    ),
    "idempotency_key": _parameter(
        "Idempotency-Key",
        "header",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "Write once, however often the request is repeated with this key. Kept for 24 hours at least.",
    ),
    "request_id": _parameter(
        "X-Request-ID", "header", TEXT, "Echoed, and logged. Made if it is missing or not printable."
    ),
    "accept": _parameter("Accept", "header", TEXT, "`application/json` or `application/x-yaml`."),
}
_WRITE_HEADERS: Final = ("if_match", "idempotency_key")

HEADERS: Final[dict[str, Schema]] = {
    "X-Request-ID": {"schema": TEXT, "required": True, "description": "The request's id in the service's log."},
    "ETag": {"schema": TEXT, "description": f"{_ENTITY_TAG}; not for a conversation that has no events."},
    "Idempotency-Replayed": {"schema": {"const": "true"}, "description": "The answer of the first such request."},
    "filename": {"schema": TEXT, "required": True, "description": "The archive's name."},
    "Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "description": "In seconds."},
}

ERRORS: Final[dict[int, str]] = {
    400: "The request is wrong: `details` names the parameter, or the path to the faulty value (BadRequest).",
    401: "Neither a right token nor a valid JWT (NotAuthenticated).",
    403: "A valid JWT whose user may not do this (NotAuthorized).",
    404: "There is no such conversation, or no such version of it (Not found); or no such intent (NotFound).",
    406: "`Accept` names no format that there is (NotAcceptable).",
    408: "The request did not arrive in time (RequestTimeout).",
    409: "No model, or none that could do this (Conflict).",
    412: "`If-Match` names another version than the conversation is at; nothing was written (PreconditionFailed).",
    413: "The body is too large (TooLarge).",
    422: "The Idempotency-Key was used for another request; nothing was written (IdempotencyKeyReused).",
    500: "A fault of the service (ConversationError; ParsingError of `/model/parse`; LoadingError of `/model`; "
    "TrainingError of `/model/train`).",
    501: "Not offered; the message says what to do instead (NotImplemented).",
    503: "The database is away; `details.outcome` of a write says whether it was written (StorageUnavailable). As many "
    "models are being trained as may be at once (TooManyTrainings).",
}
ALWAYS: Final = (400, 408, 413, 500)

STATE: Final = {JSON: ref("TrackerState")}
EVENTS: Final[Schema] = {"oneOf": [ref("PostedEvent"), array(ref("PostedEvent"), minItems=1)]}
ANY_EVENTS: Final[Schema] = {"oneOf": [ref("PostedEvent"), array(ref("PostedEvent"))]}
_CURSOR: Final[Schema] = {
    "type": ["integer", "null"],
    "description": "`after` of the next page; null: this is the last.",
}
_LOG_PAGE: Final = {JSON: obj({"events": array(ref("LoggedEvent")), "after": _CURSOR})}
_ID_HEADER: Final = {"X-Request-ID": HEADERS["X-Request-ID"]}
_ALIVE: Final = {JSON: obj({"status": {"const": "ok"}})}
_READY: Final = {
    JSON: obj(
        {
            "status": {"enum": ["ok", "unavailable"]},
            "database": TEXT,
            **{f"model{part}": {"type": ["string", "null"]} for part in ("", "_id", "_origin", "_since")},
            "model_fault": {"anyOf": [obj({"origin": TEXT, "reason": TEXT, "time": TEXT}), {"type": "null"}]},
        }
    )
}
_NOT_MODIFIED: Final[Schema] = {"description": "The state has that entity tag.", "headers": {"ETag": HEADERS["ETag"]}}

_PREDICTED: Final = {JSON: ref("Prediction")}
_ANSWERED: Final = {
    JSON: obj({"tracker": ref("TrackerState"), "messages": array(ref("BotMessage"))}, optional=("messages",))
}
_CHANNEL_ERRORS: Final = (401, 403, 503)  # the former two where channels need authentication

_TRACKER: Final = "/conversations/{conversation_id}/tracker"


def _assistant(
    summary: str, body: Schema, answers: dict[str, Schema], *parameters: str, errors: tuple[int, ...] = ()
) -> Operation:
    return Operation(
        summary=summary,
        parameters=("conversation_id", "include_events", *parameters, *_WRITE_HEADERS),
        body=body,
        answers=answers,
        headers=("ETag", "Idempotency-Replayed"),
        errors=(409, 412, 422, 503, *errors),
    )


def _write(summary: str, body: Schema, *parameters: str) -> Operation:
    return Operation(
        summary=summary,
        parameters=("conversation_id", "include_events", *parameters, *_WRITE_HEADERS),
        body=body,
        answers=STATE,
        headers=("ETag", "Idempotency-Replayed"),
        errors=(409, 412, 422, 503),
    )


def _older(
    summary: str, answers: dict[str, Schema], *parameters: str, body: Schema | None = None, errors: tuple[int, ...] = ()
) -> Operation:
    wrong: Schema = {"anyOf": [ref("OlderError"), ref("Error")]}
    return Operation(
        summary=f"{summary} (the protocol of rasa_core 0.9)",
        parameters=("conversation_id", *parameters, *_WRITE_HEADERS),
        body=body,
        answers=answers,
        headers=("ETag", "Idempotency-Replayed"),
        errors=(412, 422, 503, *errors),
        others={"400": {"description": ERRORS[400], "headers": _ID_HEADER, "content": {JSON: {"schema": wrong}}}},
    )


_CONVERSATION: Final = "/conversations/{conversation_id}"
_TOLD: Final = {JSON: ref("OlderTold")}
_SAID: Final = {JSON: array(ref("BotMessage"))}
_HEAR: Final = "Take a message in, and tell the client which action to run"
_RESPOND: Final = "Answer a message"
OLDER: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/conversations"): Operation(
        summary="The ids of all conversations, in order of creation", answers={JSON: array(TEXT)}, errors=(503,)
    ),
    ("PUT", _TRACKER): _older(
        "Replace a conversation by these events", {JSON: ref("OlderState")}, body=array(ref("PostedEvent"))
    ),
    ("GET", _CONVERSATION + "/parse"): _older(_HEAR, _TOLD, "query", errors=(409,)),
    ("POST", _CONVERSATION + "/parse"): _older(_HEAR, _TOLD, body=ref("OlderMessage"), errors=(409,)),
    ("POST", _CONVERSATION + "/continue"): _older(
        "Write down what the client has done, and tell it what to do next", _TOLD, body=ref("OlderDone"), errors=(409,)
    ),
    ("GET", _CONVERSATION + "/respond"): _older(_RESPOND, _SAID, "query", errors=(409,)),
    ("POST", _CONVERSATION + "/respond"): _older(_RESPOND, _SAID, body=ref("OlderMessage"), errors=(409,)),
}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/"): Operation(summary="A greeting", answers={PLAIN: TEXT}, public=True),
    ("GET", "/livez"): Operation(summary="Whether this process answers", answers=_ALIVE, public=True),
    ("GET", "/readyz"): Operation(
        summary="Whether requests can be served",
        answers=_READY,
        others={"503": {"description": "The database is away.", "content": {JSON: {"schema": _READY[JSON]}}}},
        public=True,
    ),
    ("GET", "/metrics"): Operation(summary="Metrics for Prometheus", answers={PLAIN: TEXT}, public=True),
    ("GET", "/version"): Operation(
        summary="The Rasa version that this service is compatible with, and its own",
        answers={JSON: obj({"version": TEXT, "minimum_compatible_version": TEXT, "turnlog": TEXT})},
        public=True,
    ),
    ("GET", "/openapi.json"): Operation(summary="This document", answers={JSON: {"type": "object"}}, public=True),
    ("GET", "/asyncapi.json"): Operation(
        summary="What is published to message brokers, in AsyncAPI 3.0", answers={JSON: {"type": "object"}}, public=True
    ),
    ("GET", "/webhooks/rest"): Operation(summary="Health of the channel `rest`", answers=_ALIVE, public=True),
    ("POST", "/webhooks/rest/webhook"): Operation(
        summary="A message of a user; the answer is what the bot says, none if the message can't be answered",
        parameters=("stream",),
        body=ref("ChannelMessage"),
        answers={JSON: array(ref("BotMessage")), "text/event-stream": TEXT},
        errors=_CHANNEL_ERRORS,
        public=True,
    ),
    ("GET", "/webhooks/callback"): Operation(summary="Health of the channel `callback`", answers=_ALIVE, public=True),
    ("POST", "/webhooks/callback/webhook"): Operation(
        summary="A message of a user; what the bot says is posted to the address in credentials.yml",
        body=ref("ChannelMessage"),
        answers={PLAIN: {"const": "success"}},
        errors=(409, *_CHANNEL_ERRORS),
        public=True,
    ),
    ("GET", "/status"): Operation(
        summary="Which model is loaded",
        answers={JSON: obj({"model_file": TEXT, "model_id": TEXT, "num_active_training_jobs": {"type": "integer"}})},
        errors=(409,),
    ),
    ("GET", "/domain"): Operation(
        summary="The model's domain",
        parameters=("accept",),
        answers={JSON: {"type": "object"}, "application/x-yaml": {"type": "object"}},
        errors=(406, 409),
    ),
    ("GET", _TRACKER): Operation(
        summary="The state of a conversation, over its whole history; an unknown one as it would begin",
        parameters=("conversation_id", "include_events", "until", "version", "at", "if_none_match"),
        answers=STATE,
        headers=("ETag",),
        errors=(404, 503),
        others={"304": _NOT_MODIFIED},
    ),
    ("POST", _TRACKER + "/events"): _write(
        "Append one event or several", EVENTS, "output_channel", "execute_side_effects"
    ),
    ("PUT", _TRACKER + "/events"): _write("Replace a conversation by these events", ANY_EVENTS),
    ("GET", "/conversations/{conversation_id}/story"): Operation(
        summary="The latest session as a story in YAML",
        parameters=("conversation_id", "all_sessions", "until"),
        answers={PLAIN: TEXT},
        errors=(404, 503),
    ),
    ("POST", "/conversations/{conversation_id}/execute"): _assistant(
        "Run an action as if it had been predicted; one that the bot does not have is a 500, as in Rasa",
        ref("Execution"),
        _ANSWERED,
        "output_channel",
        errors=(404,),
    ),
    ("POST", "/conversations/{conversation_id}/trigger_intent"): _assistant(
        "Answer as if a message with this intent had come", ref("Trigger"), _ANSWERED, "output_channel", errors=(404,)
    ),
    ("POST", "/conversations/{conversation_id}/predict"): Operation(
        summary="Predict the next action, the likeliest first; nothing is written",
        parameters=("conversation_id",),
        answers=_PREDICTED,
        errors=(404, 409, 503),
    ),
    ("POST", "/conversations/{conversation_id}/messages"): _assistant(
        "Add a user's message and the slots that it fills; the bot does not answer", ref("PostedMessage"), STATE
    ),
    ("POST", "/model/train"): Operation(
        summary="Train a project, and answer with the model's archive; what is served with stays",
        parameters=("save_to_default_model_directory", "callback_url"),
        body=ref("Project"),
        takes=(YAML, JSON),
        answers={"application/x-tar": {"type": "string", "contentMediaType": "application/gzip"}},
        headers=("filename",),
        errors=(503,),
        others={"204": {"description": "The result is posted to `callback_url`.", "headers": _ID_HEADER}},
    ),
    ("POST", "/model/test/stories"): Operation(
        summary="Test a model on stories: not offered", body=ANY_OBJECT, takes=(YAML,), errors=(409, 501)
    ),
    ("POST", "/model/test/intents"): Operation(
        summary="Test a model on examples: not offered", body=ANY_OBJECT, takes=(YAML, JSON), errors=(501,)
    ),
    ("POST", "/model/predict"): Operation(
        summary="Predict the next action after given events, in the order of the domain",
        parameters=("include_events",),
        body=ANY_EVENTS,
        answers=_PREDICTED,
        errors=(409,),
    ),
    ("POST", "/model/parse"): Operation(
        summary="Find intent and entities of a message",
        parameters=("emulation_mode",),
        body=ref("Text"),
        answers={JSON: {"anyOf": [ref("ParseData"), ANY_OBJECT]}},
        errors=(409, 503),
    ),
    ("PUT", "/model"): Operation(
        summary="Serve with another model in all processes; turns under way end with the former one",
        body=ref("ModelSource"),
        others={"204": {"description": "The model is served with.", "headers": _ID_HEADER}},
    ),
    ("DELETE", "/model"): Operation(
        summary="Serve without a model",
        others={"204": {"description": "What needs a model is answered with 409 from now on.", "headers": _ID_HEADER}},
    ),
    ("GET", "/turnlog/v1/events"): Operation(
        summary="The whole log, in order; positions are dense",
        parameters=("after_position", "limit"),
        answers=_LOG_PAGE,
        errors=(503,),
    ),
    ("GET", "/turnlog/v1/conversations"): Operation(
        summary="The index of conversations, most recently active first",
        parameters=("active_since", "with_channel", "intent", "after_cursor", "limit"),
        answers={JSON: obj({"conversations": array(ref("Conversation")), "after": {"type": ["string", "null"]}})},
        errors=(503,),
    ),
    ("GET", "/turnlog/v1/conversations/{conversation_id}/events"): Operation(
        summary="The log of one conversation, over all its generations, in order",
        parameters=("conversation_id", "after_version", "limit"),
        answers=_LOG_PAGE,
        errors=(404, 503),
    ),
}


_REFUSED: Final = {JSON: {"schema": obj({"reasons": array(TEXT), "exception": TEXT})}}
WITH_JWT: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/auth"): Operation(
        summary="Nobody logs in here: JWTs come from elsewhere",
        others={"401": {"description": "Always.", "content": _REFUSED}},
        public=True,
    ),
    ("GET", "/auth/verify"): Operation(
        summary="Whether the request's JWT is valid",
        answers={JSON: obj({"valid": {"const": True}})},
        others={"401": {"description": "It is missing, or not valid.", "content": _REFUSED}},
        public=True,
    ),
}


async def get_openapi(service: Service, _request: Request) -> HTTPResponse:
    """The document. It says of authentication what this service was started with."""
    auth = service.settings.auth
    return json_response(document(token=bool(auth.tokens), jwt=auth.jwt is not None))


@cache
def document(*, token: bool, jwt: bool) -> str:
    """The document as JSON, for a service that takes tokens, JWTs, both or neither."""
    security = _security(token=token, jwt=jwt)
    paths: dict[str, Any] = {}
    for (method, path), operation in (OPERATIONS | OLDER | (WITH_JWT if jwt else {})).items():
        paths.setdefault(path, {})[method.lower()] = _described(method, path, operation, security)
    return dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Turnlog", "version": version("turnlog"), "license": {"name": "Apache-2.0"}},
            "paths": paths,
            "components": {"schemas": schemas(), "parameters": PARAMETERS, "securitySchemes": security},
        }
    )


def _security(*, token: bool, jwt: bool) -> dict[str, Schema]:
    schemes: dict[str, Schema] = {}
    if token:
        schemes["token"] = {"type": "apiKey", "in": "query", "name": "token"}
    if jwt:
        schemes["jwt"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    elif token:
        schemes["bearer"] = {"type": "http", "scheme": "bearer", "description": "The token."}
    return schemes


def _described(method: str, path: str, operation: Operation, security: dict[str, Schema]) -> Schema:
    guarded = bool(security) and not operation.public
    described: Schema = {
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_') or 'root'}".replace("{", "").replace(
            "}", ""
        ),
        "summary": operation.summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in (*operation.parameters, "request_id")],
        "responses": _responses(operation, guarded=guarded),
        "security": [{name: []} for name in security] if guarded else [],
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": operation.body} for kind in operation.takes},
        }
    return described


def _responses(operation: Operation, *, guarded: bool) -> Schema:
    statuses = sorted({*ALWAYS, *operation.errors, *((401, 403) if guarded else ())})
    responses = {str(status): _error(status) for status in statuses} | operation.others
    if operation.answers is None:
        return responses
    headers = {name: HEADERS[name] for name in ("X-Request-ID", *operation.headers)}
    content = {kind: {"schema": schema} for kind, schema in operation.answers.items()}
    return {"200": {"description": operation.summary, "headers": headers, "content": content}} | responses


def _error(status: int) -> Schema:
    names = ("X-Request-ID", *{412: ("ETag",), 503: ("Retry-After",)}.get(status, ()))
    return {
        "description": ERRORS[status],
        "headers": {name: HEADERS[name] for name in names},
        "content": {JSON: {"schema": ref("Error")}},
    }
