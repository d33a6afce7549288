"""`/asyncapi.json`: AsyncAPI's own schema takes the document, and what is published is as the document says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import jsonschema_rs
import pika
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given

import dialogue
from api.asyncapi import document
from brokers import Mark, Source, Window, broker_of, rabbitmq_options
from brokers.messages import message_of, stub_of
from brokers.options import Options
from dialogue.text import storable
from eventstore.feed import FeedEvent
from tests.dialogue import strategies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from brokers import Message
    from tests.api.http import Client
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

DATA: Final = Path(__file__).parent.parent / "data"
PAGE: Final = DATA.parent.parent / "docs" / "consuming.md"
SCHEMA: Final = json.loads((DATA / "asyncapi-3.0.0.json").read_text())
RECORDED: Final[dict[str, dict[str, Any]]] = json.loads((DATA / "broker_messages.json").read_text())["messages"]
DOCUMENT: Final[dict[str, Any]] = json.loads(document())
PUBLISHED: Final = {
    event.type: event for event in dialogue.Event.__subclasses__() if event is not dialogue.UnknownEvent
}


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft7Validator:
    """A validator of one of the document's schemas."""
    return jsonschema_rs.Draft7Validator({**schema, "components": DOCUMENT["components"]})


PAYLOADS: Final = {name: validator(message["payload"]) for name, message in DOCUMENT["components"]["messages"].items()}
HEADERS: Final = {name: validator(message["headers"]) for name, message in DOCUMENT["components"]["messages"].items()}


def message(body: str, kind: str, **fields: Any) -> Message:
    """An event as the relay publishes it."""
    common: dict[str, Any] = {"generation": 1, "timestamp": 1.0, "schema_version": 1, "imported": False}
    event = FeedEvent(position=3, conversation="default", version=2, type=kind, body=body, **common | fields)
    return message_of(event, uuid4(), replay="r1" if event.imported else None)


def readable(body: bytes) -> Any:
    """The value of a body, without the lone surrogates that the validator can't be given."""
    return json.loads(storable(json.dumps(json.loads(body), ensure_ascii=False)))


def references(value: Any) -> Iterator[str]:
    """Every reference inside a value."""
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        yield value["$ref"]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(item)


def test_it_is_valid_by_the_schema_of_asyncapi() -> None:
    assert [str(error) for error in jsonschema_rs.Draft7Validator(SCHEMA).iter_errors(DOCUMENT)] == []


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        found = DOCUMENT
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


@pytest.mark.parametrize("channel", ["exchange", "queue", "topic"])
def test_every_type_of_event_has_a_message(channel: str) -> None:
    assert DOCUMENT["channels"][channel]["messages"].keys() == {*PUBLISHED, "parked"}


@pytest.mark.parametrize("name", RECORDED)
def test_what_rasa_publishes_is_as_it_says(name: str) -> None:
    PAYLOADS[f"RabbitMQ.{RECORDED[name]['event']}"].validate(RECORDED[name])


@pytest.mark.parametrize("name", RECORDED)
def test_no_key_may_be_missing(name: str) -> None:
    body = RECORDED[name]
    event = PUBLISHED[body["event"]]
    for key in body.keys() - ({"metadata"} if not event.shows_metadata else set()):
        assert not PAYLOADS[f"Kafka.{event.type}"].is_valid(
            {**body, key: body} if key == "event" else _without(body, key)
        )


@given(strategies.postable)
def test_what_we_publish_is_as_it_says(event: dialogue.Event) -> None:
    published = message(dialogue.encode(event), event.type)
    PAYLOADS[f"RabbitMQ.{event.type}"].validate(readable(published.body))


def test_a_replacement_is_as_it_says() -> None:
    event = dialogue.TrackerReplaced(timestamp=1.0, metadata={})
    PAYLOADS["Kafka.tracker_replaced"].validate(readable(message(dialogue.encode(event), event.type).body))


@pytest.mark.parametrize("imported", [False, True])
def test_the_headers_are_as_it_says(imported: bool) -> None:
    headers = message('{"event":"slot"}', "slot", imported=imported).headers
    HEADERS["RabbitMQ.slot"].validate(headers)
    assert not HEADERS["RabbitMQ.bot"].is_valid(headers)
    for key in headers.keys() - {"turnlog-imported", "turnlog-replay"}:
        assert not HEADERS["RabbitMQ.slot"].is_valid(_without(headers, key))


def test_a_stub_is_as_it_says() -> None:
    stub = stub_of(message('{"event":"slot"}', "slot"), 1.0)
    PAYLOADS["RabbitMQ.parked"].validate(readable(stub.body))
    HEADERS["RabbitMQ.parked"].validate(stub.headers)


MESSAGES: Final = (
    message('{"event":"slot","timestamp":1,"name":"n","value":null}', "slot"),
    message('{"event":"restart","timestamp":1}', "restart", imported=True),
    stub_of(message('{"event":"bot"}', "bot"), 1.0),
)


async def publish(section: dict[str, Any]) -> None:
    """Let the publisher of a section of endpoints.yml publish these."""
    publisher = broker_of(section, {"RASA_ENVIRONMENT": "tests"}).publisher()
    try:
        await publisher.open(Source(uuid4(), "tests"))
        await publisher.publish(Window(MESSAGES, Mark(uuid4(), 3, b"chain")))
    finally:
        await publisher.close()


@pytest.fixture
async def topic(kafka: Kafka) -> AsyncIterator[str]:
    """A topic of one partition."""
    name = f"described-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    yield name
    await admin.delete_topics([name])
    await admin.close()


async def test_what_reaches_rabbitmq_is_as_it_says(rabbitmq: RabbitMQ) -> None:
    name = f"described-{uuid4()}"
    await publish({"type": "pika", "url": rabbitmq.url, "exchange_name": name, "queues": [name]})
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        for kind in ("slot", "restart", "parked"):
            _, properties, body = channel.basic_get(name, auto_ack=True)
            HEADERS[f"RabbitMQ.{kind}"].validate(properties.headers)
            PAYLOADS[f"RabbitMQ.{kind}"].validate(json.loads(body))
        channel.queue_delete(name)
        channel.exchange_delete(name)


async def test_what_reaches_kafka_is_as_it_says(kafka: Kafka, topic: str) -> None:
    url = {"url": kafka.bootstrap, "security_protocol": "PLAINTEXT"}
    await publish({"type": "kafka", "topic": topic, "transactional": False, **url})
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        for kind in ("slot", "restart", "parked"):
            record = await consumer.getone()
            HEADERS[f"Kafka.{kind}"].validate({name: value.decode() for name, value in record.headers})
            PAYLOADS[f"Kafka.{kind}"].validate(json.loads(record.value))


def test_exchange_and_queue_are_those_of_a_section_that_names_none() -> None:
    options = rabbitmq_options.read(Options({"url": "amqp://guest:guest@localhost"}, {}))
    exchange, queue = (DOCUMENT["channels"][name]["bindings"]["amqp"] for name in ("exchange", "queue"))
    assert exchange["exchange"] == {
        "name": options.exchange_name,
        "type": options.exchange_type,
        "durable": options.exchange_durable,
        "autoDelete": False,
    }
    assert (queue["queue"]["name"],) == options.queues


def test_the_page_for_consumers_has_every_header_and_no_other() -> None:
    described = {name for broker in ("RabbitMQ", "Kafka") for name in _headers_of(broker)}
    assert set(re.findall(r"^\| `([\w-]+)` \| (?:always|if|Kafka)", PAGE.read_text(), re.MULTILINE)) == described


def test_the_page_for_consumers_shows_bodies_as_it_says() -> None:
    event, stub = (json.loads(text) for text in re.findall(r"(?ms)^```json\n(.*?)^```$", PAGE.read_text()))
    PAYLOADS[f"RabbitMQ.{event['event']}"].validate(event)
    PAYLOADS["RabbitMQ.parked"].validate(stub)


def test_everybody_may_read_it(guest: Client) -> None:
    answer = guest.get("/asyncapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode() == document()


def _headers_of(broker: str) -> set[str]:
    return set(DOCUMENT["components"]["schemas"][f"{broker}Headers"]["properties"])


def _without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != key}
