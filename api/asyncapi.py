"""`/asyncapi.json`: what brokers get, in the words of AsyncAPI 3.0. The payloads come from the event classes."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

import dialogue
from api.endpoint import json_response
from api.openapi_shapes import (
    ANY_OBJECT,
    COUNT,
    ENTITY,
    INTENT,
    NUMBER,
    PARSE_DATA,
    POSTED,
    TEXT,
    VERSION,
    Schema,
    array,
    obj,
    ref,
)
from brokers.kafka_options import DEFAULT_TOPIC
from brokers.rabbitmq_options import DEFAULT_QUEUE
from dialogue import dumps

if TYPE_CHECKING:
    from sanic import HTTPResponse, Request

    from api.service import Service

PUBLISHED: Final[dict[str, type[dialogue.Event]]] = POSTED | {"tracker_replaced": dialogue.TrackerReplaced}

_ABOUT: Final = """\
Every event of the log, in its order, after its commit. Exchange, queue and topic have their default names here; \
`event_broker` in endpoints.yml may name others.

The rule for consumers, for each conversation: apply the event whose `turnlog-version` is the last one plus 1, ignore \
what is not above the last one, and hold what is higher until the gap is filled. Messages with `turnlog-replay` stand \
outside of this rule. A later release may publish other types and further keys: count the versions of unknown types, \
and pass over what they say.
"""

# --- headers ----------------------------------------------------------------------------------------------------------

# AMQP has types, headers of Kafka are text.
_NUMBERS: Final[dict[str, Schema]] = {"RabbitMQ": VERSION, "Kafka": TEXT | {"pattern": "^[1-9][0-9]*$"}}
_TRUTHS: Final[dict[str, Schema]] = {"RabbitMQ": {"const": True}, "Kafka": {"const": "true"}}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _headers(broker: str, **more: Schema) -> Schema:
    number, truth = _NUMBERS[broker], _TRUTHS[broker]
    return obj(
        {
            "turnlog-log": _described(TEXT | {"format": "uuid"}, "The log's id. Versions of two logs do not compare."),
            "turnlog-position": _described(number, "Of the event in the whole log, from 1."),
            "turnlog-version": _described(number, "Of the event in its conversation, from 1, without gaps."),
            "turnlog-generation": _described(number, "From 1, and one more with each `tracker_replaced`."),
            "turnlog-type": _described(TEXT, "The event's type, as `event` in the body."),
            "turnlog-imported": _described(truth, "The event came from another system's history."),
            "turnlog-parked": _described(truth, "The event is too large for the broker: this is a stub of it."),
            "turnlog-replay": _described(TEXT, "The event is sent again; the id of the replay."),
            "rasa-export-process-id": _described(TEXT, "It is sent again by `turnlog export`; the same id."),
            **more,
        },
        optional=("turnlog-imported", "turnlog-parked", "turnlog-replay", "rasa-export-process-id"),
    )


HEADERS: Final[dict[str, Schema]] = {
    "RabbitMQ": _headers("RabbitMQ"),
    "Kafka": _headers(
        "Kafka", RASA_ENVIRONMENT=_described(TEXT, "The environment variable, or RASA_ENVIRONMENT_NOT_SET.")
    ),
}

# --- payloads ---------------------------------------------------------------------------------------------------------

_TIMESTAMP: Final = _described(NUMBER, "Seconds since 1970, as the event says.")
# What only the codec knows of an event's keys, in place of what its class says.
_KEYS: Final[dict[str, Schema]] = {
    "user": {"parse_data": ref("ParseData")},
    "entities": {"entities": array(ref("Entity"))},
    "reminder": {"date_time": _described(TEXT, "ISO 8601; without an offset if the client gave none.")},
}
_PARSE_DATA: Final[Schema] = PARSE_DATA | {"required": ["text", "intent", "entities", "message_id", "metadata"]}
_STUB: Final = obj(
    {
        "sender_id": TEXT,
        "event": TEXT,
        "timestamp": _TIMESTAMP,
        "metadata": obj({"turnlog_parked": obj({"position": VERSION, "bytes": COUNT})}),
    },
    description="In place of an event that is too large for the broker; `bytes` is the size of its body.",
)


def _schemas() -> dict[str, Schema]:
    return {
        "Intent": INTENT,
        "Entity": ENTITY,
        "ParseData": _PARSE_DATA,
        "Stub": _STUB,
        **{f"{broker}Headers": headers for broker, headers in HEADERS.items()},
        **{event.__name__: _payload(event) for event in PUBLISHED.values()},
    }


def _payload(event: type[dialogue.Event]) -> Schema:
    """A published event: as its class, with every key there but for those that its codec leaves out."""
    _, components = msgspec.json.schema_components([event])
    made = components[event.__name__]
    fields = {name: _without_default(schema) for name, schema in made["properties"].items()}
    own = {name: schema for name, schema in fields.items() if name not in ("timestamp", "metadata")}
    return obj(
        {
            "sender_id": _described(TEXT, "The conversation."),
            "event": {"const": event.type},
            "timestamp": _TIMESTAMP,
            "metadata": ANY_OBJECT,
            **own,
            **_KEYS.get(event.type, {}),
        },
        optional=(*(() if event.shows_metadata else ("metadata",)), *(own if event.omits_null else ())),
        description=made["description"],
    )


def _without_default(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


# --- the document -----------------------------------------------------------------------------------------------------

_RABBITMQ: Final = (
    "At least once. A resend can put an event after later ones of its conversation. `message_id` is "
    "`<turnlog-log>-<turnlog-position>`, `app_id` the environment variable RASA_ENVIRONMENT."
)
_KAFKA: Final = "With `isolation.level=read_committed` exactly once, in the order of its conversation."
_KEY: Final = _described(TEXT, "`sender_id` in UTF-8. Its hash chooses the partition, also where it is left out.")
_MESSAGE_BINDINGS: Final[dict[str, Schema]] = {
    "RabbitMQ": {},
    "Kafka": {"kafka": {"key": _KEY, "bindingVersion": "0.5.0"}},
}
_EXCHANGE: Final = {"name": "rasa-exchange", "type": "fanout", "durable": False, "autoDelete": False}
_QUEUE: Final = {"name": DEFAULT_QUEUE, "durable": True, "exclusive": False, "autoDelete": False}


def _messages(broker: str) -> dict[str, Schema]:
    """All messages by the type of their event, and the one that stands in for any of them."""
    events = {
        kind: _message(broker, event.__name__, "turnlog-type", {"const": kind}) for kind, event in PUBLISHED.items()
    }
    return {**events, "parked": _message(broker, "Stub", "turnlog-parked", _TRUTHS[broker])}


def _message(broker: str, payload: str, header: str, value: Schema) -> Schema:
    """A message, and the header by which it is known."""
    own = {"type": "object", "properties": {header: value}, "required": [header]}
    return {
        "title": payload,
        "headers": {**own, "allOf": [ref(f"{broker}Headers")]},
        "payload": ref(payload),
        "bindings": _MESSAGE_BINDINGS[broker],
    }


def _server(protocol: str, host: str) -> Schema:
    variable = {"default": host, "description": "`url` in endpoints.yml."}
    return {"host": "{host}", "protocol": protocol, "variables": {"host": variable}}


def _channel(broker: str, address: Any, description: str, bindings: Schema) -> Schema:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": f"#/servers/{broker}"}],
        "messages": {kind: {"$ref": f"#/components/messages/{broker}.{kind}"} for kind in _messages(broker)},
        "bindings": bindings,
    }


def _amqp(**binding: Any) -> Schema:
    return {"amqp": {**binding, "bindingVersion": "0.3.0"}}


CHANNELS: Final[dict[str, Schema]] = {
    "exchange": _channel("RabbitMQ", "", _RABBITMQ, _amqp(**{"is": "routingKey", "exchange": _EXCHANGE})),
    "queue": _channel(
        "RabbitMQ", _QUEUE["name"], f"Bound to the exchange. {_RABBITMQ}", _amqp(**{"is": "queue", "queue": _QUEUE})
    ),
    "topic": _channel("Kafka", DEFAULT_TOPIC, _KAFKA, {"kafka": {"topic": DEFAULT_TOPIC, "bindingVersion": "0.5.0"}}),
}
OPERATIONS: Final[dict[str, Schema]] = {
    "publishToRabbitMQ": {
        "action": "send",
        "channel": {"$ref": "#/channels/exchange"},
        "bindings": _amqp(deliveryMode=2, mandatory=True),
    },
    "publishToKafka": {"action": "send", "channel": {"$ref": "#/channels/topic"}},
}


async def get_asyncapi(_service: Service, _request: Request) -> HTTPResponse:
    """The document."""
    return json_response(document())


@cache
def document() -> str:
    """The document as JSON; it is the same for every service."""
    info = {"title": "Turnlog", "version": version("turnlog"), "license": {"name": "Apache-2.0"}, "description": _ABOUT}
    messages = {f"{broker}.{kind}": message for broker in HEADERS for kind, message in _messages(broker).items()}
    return dumps(
        {
            "asyncapi": "3.0.0",
            "info": info,
            "defaultContentType": "application/json",
            "servers": {"RabbitMQ": _server("amqp", "localhost:5672"), "Kafka": _server("kafka", "localhost:9092")},
            "channels": CHANNELS,
            "operations": OPERATIONS,
            "components": {"schemas": _schemas(), "messages": messages},
        }
    )
