"""Events posted over HTTP reach consumers that were written for Rasa, through RabbitMQ and Kafka."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiokafka import ConsumerRecord
from msgspec import Struct

from eventstore import EventStore
from tests.brokers import plain
from tests.brokers.plain import Delivery
from tests.brokers.running import SLOT, kafka_section, pika_section, serving, wait_until_published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka import Kafka
    from tests.postgres import Server
    from tests.rabbitmq import RabbitMQ

FIXTURE: Final = json.loads((Path(__file__).parents[1] / "data" / "broker_messages.json").read_text())
MESSAGES: Final[dict[str, dict[str, Any]]] = FIXTURE["messages"]
QUEUE: Final = "rasa_core_events"  # Rasa's name, which is the default, as all others here
ENVIRONMENT: Final = "staging"
REPLACED: Final = "replaced"
# Types of older versions, which are published as what they became.
OLD_TYPES: Final[dict[str, dict[str, Any]]] = {
    "form": {"event": "form", "name": "pizza_form"},
    "form_validation": {"event": "form_validation", "validate": True},
}


# As the recordings of Rasa have it; the times are those of the first event.
OPENING: Final = [
    MESSAGES["action"] | {"name": "action_session_start", "policy": None},
    MESSAGES["session_started"],
    MESSAGES["action"] | {"name": "action_listen", "policy": None, "confidence": None},
]


class Published(Struct, frozen=True):
    """What plain consumers got, and what the log holds.

    Each conversation is named by its type of event; REPLACED is one that was put after it had begun.
    """

    log: str
    events: list[dict[str, Any]]
    deliveries: list[Delivery]
    records: list[ConsumerRecord]


@pytest.fixture(scope="module")
async def published(
    server: Server, rabbitmq: RabbitMQ, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Published]:
    """Events of every type, posted to a service that publishes to both brokers under Rasa's names."""
    plain.remove(rabbitmq, "rasa-exchange", QUEUE)
    await plain.delete_topics(kafka, QUEUE)
    sections = [pika_section(rabbitmq), kafka_section(kafka)]
    async with server.database() as database, EventStore(database) as store:
        with serving(tmp_path_factory.mktemp("main"), database.dsn, sections, RASA_ENVIRONMENT=ENVIRONMENT) as service:
            for name, message in MESSAGES.items():
                assert service.post(name, posted(name, message)).status == 200
            assert service.post(REPLACED, SLOT).status == 200
            assert service.request("PUT", f"/conversations/{REPLACED}/tracker/events", [SLOT, SLOT]).status == 200
            wait_until_published(service, "pika", "kafka")
            events = service.get("/turnlog/v1/events?limit=1000").json()["events"]
        log = str((await store.read.identity()).id)
    yield Published(log, events, plain.drain(rabbitmq, QUEUE), await plain.records(kafka, QUEUE))
    plain.remove(rabbitmq, "rasa-exchange", QUEUE)
    await plain.delete_topics(kafka, QUEUE)


def posted(name: str, message: dict[str, Any]) -> dict[str, Any]:
    """The event that is published as this message."""
    event = OLD_TYPES.get(name, {key: value for key, value in message.items() if key != "sender_id"})
    return event | {"timestamp": message["timestamp"]}


def expected(name: str) -> list[dict[str, Any]]:
    """The messages of a conversation with one event."""
    return [message | {"sender_id": name} for message in (*OPENING, MESSAGES[name])]


@pytest.mark.parametrize("name", MESSAGES)
def test_rabbitmq_has_the_bodies_that_rasa_publishes(published: Published, name: str) -> None:
    bodies = [delivery.json for delivery in published.deliveries]
    assert [body for body in bodies if body["sender_id"] == name] == expected(name)


@pytest.mark.parametrize("name", MESSAGES)
def test_kafka_has_the_bodies_that_rasa_publishes(published: Published, name: str) -> None:
    bodies = [plain.value_of(record) for record in published.records]
    assert [body for body in bodies if body["sender_id"] == name] == expected(name)


def test_rabbitmq_has_every_event_once_and_in_the_order_of_the_log(published: Published) -> None:
    positions = [delivery.position for delivery in published.deliveries]
    assert positions == [event["position"] for event in published.events]
    assert positions == list(range(1, 4 * len(MESSAGES) + 4 + 3 + 1))


def test_kafka_has_every_event_once(published: Published) -> None:
    positions = [int(plain.headers_of(record)["turnlog-position"]) for record in published.records]
    assert sorted(positions) == [event["position"] for event in published.events]


def test_a_message_of_rabbitmq_has_the_properties_of_rasas(published: Published) -> None:
    properties = [delivery.properties for delivery in published.deliveries]
    assert {(found.delivery_mode, found.app_id, found.content_type) for found in properties} == {(2, ENVIRONMENT, None)}
    assert {(delivery.exchange, delivery.routing_key) for delivery in published.deliveries} == {("rasa-exchange", "")}


def test_a_message_of_rabbitmq_is_known_by_log_and_position(published: Published) -> None:
    ids = [delivery.properties.message_id for delivery in published.deliveries]
    assert ids == [f"{published.log}-{event['position']}" for event in published.events]


def test_a_message_of_rabbitmq_says_where_its_event_is(published: Published) -> None:
    found = [delivery.properties.headers for delivery in published.deliveries]
    assert found == [headers(published.log, event) for event in published.events]


def test_a_record_of_kafka_says_where_its_event_is(published: Published) -> None:
    found = {headers["turnlog-position"]: headers for headers in map(plain.headers_of, published.records)}
    for event in published.events:
        wanted = {name: str(value) for name, value in headers(published.log, event).items()}
        assert found[str(event["position"])] == wanted | {"RASA_ENVIRONMENT": ENVIRONMENT}


def headers(log: str, event: dict[str, Any]) -> dict[str, Any]:
    """The headers of an event's message."""
    return {
        "turnlog-log": log,
        "turnlog-position": event["position"],
        "turnlog-version": event["version"],
        "turnlog-generation": 2 if event["conversation"] == REPLACED and event["version"] > len(OPENING) + 1 else 1,
        "turnlog-type": event["event"]["event"],
    }


def test_what_replaces_a_conversation_follows_an_event_that_says_so(published: Published) -> None:
    events = [delivery.json for delivery in published.deliveries if delivery.json["sender_id"] == REPLACED]
    assert [event["event"] for event in events] == [
        "action", "session_started", "action", "slot", "tracker_replaced", "slot", "slot"
    ]  # fmt: skip


def test_a_record_of_kafka_has_the_conversation_as_its_key(published: Published) -> None:
    for record in published.records:
        assert record.key.decode() == plain.value_of(record)["sender_id"]
