"""JSON Schemas of what goes over the wire, for the OpenAPI document. Those of events come from the event classes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

import dialogue
from assistant.compatibility import RASA_VERSION

Schema = dict[str, Any]

POSTED: Final[dict[str, type[dialogue.Event]]] = {
    event.type: event
    for event in dialogue.Event.__subclasses__()
    if event not in (dialogue.TrackerReplaced, dialogue.UnknownEvent)
}


def ref(name: str) -> Schema:
    """A reference to a schema of :func:`schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Schema, *, optional: tuple[str, ...] = (), description: str | None = None) -> Schema:
    """An object whose properties are all there, but for the `optional` ones."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
    return schema if description is None else {**schema, "description": description}


def array(items: Schema, **limits: int) -> Schema:
    """An array of such items."""
    return {"type": "array", "items": items, **limits}


TEXT: Final[Schema] = {"type": "string"}
TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer"}
VERSION: Final[Schema] = {"type": "integer", "minimum": 1}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
ANY: Final[Schema] = {}
ANY_OBJECT: Final[Schema] = {"type": "object"}
TIMESTAMP: Final[Schema] = {
    "type": ["number", "null"],
    "description": "Seconds since 1970. Missing, null or 0: the time of arrival.",
}
METADATA: Final[Schema] = {"type": ["object", "null"]}

INTENT: Final = obj({"name": TEXT_OR_NULL, "confidence": NUMBER}, optional=("name", "confidence"))
ENTITY: Final = obj(
    {
        "entity": TEXT,
        "value": ANY,
        "start": WHOLE,
        "end": WHOLE,
        "confidence": NUMBER,
        "extractor": TEXT_OR_NULL,
        "role": TEXT_OR_NULL,
        "group": TEXT_OR_NULL,
    },
    optional=("start", "end", "confidence", "extractor", "role", "group"),
)
PARSE_DATA: Final = obj(
    {
        "text": TEXT_OR_NULL,
        "intent": ref("Intent"),
        "intent_ranking": array(ref("Intent")),
        "entities": array(ref("Entity")),
        "response_selector": ANY_OBJECT,
    },
    optional=("text", "intent", "intent_ranking", "entities", "response_selector"),
    description="What the NLU made of a message. Further keys are kept.",
)

STATE: Final = obj(
    {
        "sender_id": TEXT,
        "slots": ANY_OBJECT,
        "latest_message": ANY_OBJECT,
        "latest_event_time": {"type": ["number", "null"]},
        "followup_action": ANY,
        "paused": {"type": "boolean"},
        "events": {"anyOf": [array(ref("ShownEvent")), {"type": "null"}]},
        "latest_input_channel": TEXT_OR_NULL,
        "active_loop": ANY_OBJECT,
        "latest_action": ANY_OBJECT,
        "latest_action_name": TEXT_OR_NULL,
    },
    description="The state of a conversation.",
)
SHOWN_EVENT: Final = obj(
    {"event": TEXT, "timestamp": NUMBER}, description="An event as it is stored, with all its keys."
)
LOGGED_EVENT: Final = obj(
    {
        "position": VERSION,
        "conversation": TEXT,
        "version": VERSION,
        "schema_version": VERSION,
        "event": ref("ShownEvent"),
    },
    description="An event and its place in the log: `position` over all conversations, `version` in its own.",
)
CONVERSATION: Final = obj(
    {
        "id": TEXT,
        "version": VERSION,
        "generation": VERSION,
        "position": VERSION,
        "first_seen": {"type": "string", "format": "date-time"},
        "last_activity": {"type": "string", "format": "date-time"},
        "events": COUNT,
        "user_events": COUNT,
        "bot_events": COUNT,
        "action_events": COUNT,
        "intent": TEXT_OR_NULL,
        "channel": TEXT_OR_NULL,
        "action": TEXT_OR_NULL,
    },
    description="What the index knows of a conversation: counts and last names are those of its current generation.",
)
UNDERSTOOD: Final = {
    "allOf": [ref("ParseData"), {"required": ["intent", "entities"]}],
    "description": "What somebody has understood already.",
}
POSTED_MESSAGE: Final = obj(
    {"text": TEXT, "sender": {"const": "user"}, "parse_data": UNDERSTOOD}, optional=("parse_data",)
)
SENDER: Final[Schema] = {"type": "string", "maxLength": 256, "pattern": "^[^\\u0000]*$"}
CHANNEL_MESSAGE: Final = obj(
    {"sender": SENDER, "message": TEXT, "input_channel": TEXT, "metadata": ANY_OBJECT},
    optional=("sender", "input_channel", "metadata"),
    description="A message of a user. `sender` is the conversation's id, `default` without one.",
)
NAME: Final[Schema] = {"type": "string", "minLength": 1}
EXECUTION: Final = obj(
    {"name": NAME, "policy": TEXT_OR_NULL, "confidence": {"type": ["number", "null"]}},
    optional=("policy", "confidence"),
    description="An action, and what it was predicted by.",
)
TRIGGER: Final = obj(
    {"name": NAME, "entities": {"oneOf": [array(ref("Entity")), ANY_OBJECT, {"type": "null"}]}},
    optional=("entities",),
    description="An intent, and entities: a list, or an object of values by name.",
)
MODEL_SOURCE: Final = obj(
    {
        "model_file": {"type": ["string", "null"]},
        "model_server": {"anyOf": [obj({"url": TEXT}), {"type": "null"}]},
        "remote_storage": {"type": ["string", "null"]},
    },
    optional=("model_file", "model_server", "remote_storage"),
    description="A model server, with the keys of `models` in endpoints.yml; or the path of an archive, of a folder of "
    "archives, of a project or of a domain file; or the name of an archive in a storage: aws, gcs, azure or a class.",
)
PROJECT: Final = {
    "type": "object",
    "anyOf": [{"required": ["nlu"]}, {"required": ["rules"]}, {"required": ["stories"]}],
    "description": "All sections of the domain, of config.yml and of the training data; or, as an object of texts, the "
    "files `config`, `domain`, `nlu`, `rules`, `stories` and `responses`.",
}
BOT_MESSAGE: Final = obj(
    {"recipient_id": TEXT}, description="Besides: `text`, maybe with `buttons`; `image`, `attachment` or `custom`."
)
PREDICTION: Final = obj(
    {
        "scores": array(obj({"action": TEXT, "score": NUMBER})),
        "policy": TEXT_OR_NULL,
        "confidence": NUMBER,
        "tracker": ref("TrackerState"),
    },
    description="The score of each action, and whose prediction the best one is.",
)
OLDER_STATE: Final = obj(
    {
        "events": {"anyOf": [array(ref("ShownEvent")), {"type": "null"}]},
        "latest_event_time": {"type": ["number", "null"]},
        "latest_message": ANY_OBJECT,
        "paused": {"type": "boolean"},
        "sender_id": TEXT,
        "slots": ANY_OBJECT,
    },
    description="The state of a conversation as rasa_core 0.9 shows it.",
)
OLDER_TOLD: Final = obj(
    {"info": TEXT, "next_action": TEXT_OR_NULL, "tracker": ref("OlderState")},
    optional=("info",),
    description="The action that the client is to run, or why there is none.",
)
OLDER_ERROR: Final = obj({"error": TEXT}, description="One sentence.")
OLDER_DONE: Final = obj(
    {"executed_action": TEXT_OR_NULL, "events": array(ref("PostedEvent"))},
    optional=("executed_action", "events"),
    description="What the client has done: an action of the domain, and what it has brought about.",
)
ERROR: Final = obj(
    {
        "version": {"const": RASA_VERSION},
        "status": {"const": "failure"},
        "message": TEXT,
        "reason": TEXT,
        "details": ANY_OBJECT,
        "help": TEXT_OR_NULL,
        "code": {"type": "integer", "minimum": 400, "maximum": 599},
    },
    description="The envelope of every error; `code` repeats the HTTP status, `reason` is for programs.",
)

# What only the codec knows of an event's keys, in place of what its class says.
_KEYS: Final[dict[str, Schema]] = {
    "user": {"parse_data": ref("ParseData")},
    "entities": {"entities": array(ref("Entity"))},
    "reminder": {"date_time": {"type": "string", "format": "date-time"}},
}
_RULES: Final[dict[str, Schema]] = {
    "action": {"anyOf": [obj({"name": TEXT}), obj({"action_text": TEXT})]},
    "reminder": {"required": ["date_time"]},
}


def schemas() -> dict[str, Schema]:
    """All schemas by name."""
    events = {event.__name__: _posted(event) for event in POSTED.values()} | _legacy()
    mapping = {tag: f"#/components/schemas/{name}" for name, schema in events.items() for tag in [_tag(schema)]}
    return {
        "Error": ERROR,
        "OlderState": OLDER_STATE,
        "OlderTold": OLDER_TOLD,
        "OlderError": OLDER_ERROR,
        "OlderDone": OLDER_DONE,
        "OlderMessage": obj({"query": TEXT}),
        "TrackerState": STATE,
        "ShownEvent": SHOWN_EVENT,
        "LoggedEvent": LOGGED_EVENT,
        "Conversation": CONVERSATION,
        "Intent": INTENT,
        "Entity": ENTITY,
        "ParseData": PARSE_DATA,
        "Text": obj({"text": TEXT}),
        "ModelSource": MODEL_SOURCE,
        "Project": PROJECT,
        "PostedMessage": POSTED_MESSAGE,
        "ChannelMessage": CHANNEL_MESSAGE,
        "Execution": EXECUTION,
        "Trigger": TRIGGER,
        "BotMessage": BOT_MESSAGE,
        "Prediction": PREDICTION,
        "PostedEvent": {
            "oneOf": [ref(name) for name in events],
            "discriminator": {"propertyName": "event", "mapping": mapping},
        },
        **events,
    }


def _posted(event: type[dialogue.Event]) -> Schema:
    """An event as it comes from outside: as its class, but time and metadata may be missing or null."""
    _, components = msgspec.json.schema_components([event])
    made = components[event.__name__]
    own = {key: schema for key, schema in made["properties"].items() if key not in ("timestamp", "metadata")}
    required = ["event", *(name for name in made["required"] if name in own)]
    rules = _RULES.get(event.type, {})
    return {
        **_event_object(event.type, own | _KEYS.get(event.type, {})),
        "description": made["description"],
        **rules,
        "required": required + rules.get("required", []),
    }


def _event_object(tag: str, keys: Schema) -> Schema:
    properties = {"event": {"const": tag}, "timestamp": TIMESTAMP, "metadata": METADATA, **keys}
    return {"type": "object", "properties": properties, "required": ["event"]}


def _legacy() -> dict[str, Schema]:
    """Names of old clients for events that are called otherwise now."""
    return {
        "Form": {**_event_object("form", {"name": ANY}), "description": "As `active_loop`."},
        "FormValidation": {
            **_event_object("form_validation", {"validate": ANY}),
            "description": "As `loop_interrupted`, with `is_interrupted` = not `validate`.",
        },
    }


def _tag(schema: Schema) -> str:
    tag: str = schema["properties"]["event"]["const"]
    return tag
