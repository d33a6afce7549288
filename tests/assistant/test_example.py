"""The restaurant assistant in `examples`, as its README lets people run it: with rasa-sdk, and events to both brokers.

A guest reserves a table over REST, another one over Socket.IO. What each message brings about is in the log and at the
brokers, once and in order.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import socketio
import yaml
from msgspec import Struct

from assistant.archive import load_model
from tests.brokers import plain
from tests.brokers.running import kafka_section, pika_section, wait_until_published
from tests.rasa_sdk import RasaSdk
from tests.service import SECONDS, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.postgres import Server
    from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.timeout(600)  # the environment of rasa-sdk may have to be made first

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "restaurant"
DAY: Final = (date.today() + timedelta(days=30)).isoformat()

WELCOME: Final = (
    "Welcome to the Olive Tree. I can reserve a table for you, and tell you about the menu and when we are open."
)
HOW_MANY: Final = "How many of you will come?"
WHICH_DAY: Final = "On which day?"
WHAT_TIME: Final = "At what time?"
WHERE: Final = "Would you like to sit inside or outside?"
WHOSE: Final = "In whose name shall I reserve?"
REMINDED: Final = "Shall I remind you two hours before?"
OPEN: Final = "We are open every day from 12:00 to 23:00. The kitchen takes orders until 21:30."
HELP: Final = [
    'I can reserve a table ("a table for four tomorrow at 19:30"), show your reservation, or cancel it.',
    "And I know the menu and the opening hours.",
]
GO_ON: Final = "Shall we go on with the reservation?"
SORRY: Final = "I'm sorry, I did not understand that."
CONFIRM: Final = (
    f"A table for 4 outside on {DAY} at 19:00, in the name of Lea Conti. We have blankets. Shall I reserve it?"
)
RESERVED: Final = "It is reserved, and the kitchen knows: vegan. Your number is R1."
TAKEN: Final = {
    "people": 4,
    "date": DAY,
    "time": "19:00",
    "seating": "outside",
    "name": "Lea Conti",
    "diets": ["vegan"],
}

LISTENS: Final = "action action_listen"
STARTS: Final = ("action action_session_start", "session_started", LISTENS)
READ: Final = "user_featurization"


class Run(Struct, frozen=True):
    """A message, what the bot says to it, and all events that it brings about, in short."""

    says: str
    hears: tuple[str, ...]
    events: tuple[str, ...]


def run(says: str, intent: str, *events: str) -> Run:
    """A run with what each has: the message at its begin, and at its end the bot that listens."""
    hears = tuple(event.removeprefix("bot ") for event in events if event.startswith("bot "))
    return Run(says, hears, (f"user {intent}: {says}", *events, LISTENS))


RUNS: Final = (
    run("Hello", "greet", READ, "action utter_greet", f"bot {WELCOME}"),
    run(
        f"A table for four on {DAY} at 7 pm",
        "book_table",
        "slot people=4",
        f"slot date={DAY}",
        "slot time=7 pm",
        READ,
        "action reservation_form",
        "active_loop reservation_form",
        "slot people=4",
        f"slot date={DAY}",
        "slot time=19:00",
        "slot requested_slot=seating",
        f"bot {WHERE}",
    ),
    run(
        "On the terrace, and we are vegan",
        "inform",
        "slot seating=outside",
        "slot diets=['vegan']",
        READ,
        "action reservation_form",
        "slot seating=outside",
        "slot requested_slot=name",
        f"bot {WHOSE}",
    ),
    run(
        "When do you close?",
        "ask_opening_hours",
        "action_execution_rejected reservation_form",
        READ,
        "action utter_opening_hours",
        f"bot {OPEN}",
        "action reservation_form",
        "slot requested_slot=name",
        f"bot {WHOSE}",
    ),
    run(
        "Lea  Conti",
        "nlu_fallback",
        "slot name=Lea  Conti",
        READ,
        "action reservation_form",
        "slot name=Lea Conti",
        "slot requested_slot=wants_reminder",
        f"bot {REMINDED}",
    ),
    run(
        "never mind",
        "stop",
        "action_execution_rejected reservation_form",
        READ,
        "action utter_ask_continue",
        f"bot {GO_ON}",
    ),
    run(
        "sure",
        "affirm",
        "loop_interrupted",
        READ,
        "action reservation_form",
        "slot requested_slot=wants_reminder",
        f"bot {REMINDED}",
    ),
    run(
        "yes",
        "affirm",
        "slot wants_reminder=True",
        READ,
        "action reservation_form",
        "slot wants_reminder=True",
        "slot requested_slot=None",
        "active_loop None",
        "action action_check_availability",
        "slot table_is_free=True",
        "action utter_confirm",
        f"bot {CONFIRM}",
    ),
    run(
        "yes",
        "affirm",
        READ,
        "action action_reserve",
        f"bot {RESERVED}",
        "slot reservation_number=R1",
        f"slot reservation={TAKEN}",
        "reminder reservation R1",
        *(
            f"slot {name}=None"
            for name in ("table_is_free", "people", "date", "time", "seating", "wants_reminder", "diets")
        ),
    ),
    run(
        "cancel it, please",
        "cancel_reservation",
        READ,
        "action action_cancel_reservation",
        "cancel_reminder reservation R1",
        "slot reservation_number=None",
        "slot reservation=None",
        "action utter_cancelled",
        "bot Your reservation is cancelled.",
    ),
)


def in_short(event: dict[str, Any]) -> str:
    """The kind of an event, and what makes it out."""
    match event:
        case {"event": "user", "text": text, "parse_data": {"intent": {"name": intent}}}:
            return f"user {intent}: {text}"
        case {"event": "bot", "text": text}:
            return f"bot {text}"
        case {"event": "slot", "name": name, "value": value}:
            return f"slot {name}={value}"
        case {"event": kind, "name": name}:
            return f"{kind} {name}"
    return str(event["event"])


@contextmanager
def running(folder: Path, dsn: str, brokers: Sequence[Section] = ()) -> Iterator[Service]:
    """The assistant, with an action server whose book of reservations is empty."""
    sdk = RasaSdk.start(EXAMPLE / "actions", folder)
    endpoints = {"action_endpoint": {"url": sdk.url}, "event_broker": [*brokers]}
    (folder / "endpoints.yml").write_text(yaml.safe_dump(endpoints))
    flags = ("--enable-api", "-m", EXAMPLE, "--credentials", EXAMPLE / "credentials.yml")
    try:
        with Service(folder, flags, environment={"DATABASE_URL": dsn}) as service:
            service.wait_until_ready()
            yield service
    finally:
        sdk.close()


def say(service: Service, guest: str, text: str) -> list[str]:
    """What the bot says to a message over REST; pictures and files are left out."""
    answer = service.request("POST", "/webhooks/rest/webhook", {"sender": guest, "message": text})
    assert answer.status == 200
    return [message["text"] for message in answer.json() if "text" in message]


def events_of(service: Service, guest: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = service.get(f"/conversations/{guest}/tracker?include_events=ALL").json()["events"]
    return events


# --- all the way ------------------------------------------------------------------------------------------------------


class Told(Struct, frozen=True):
    """What came of a conversation: what the guest heard to each message, the tracker's events, the log, the brokers."""

    channel: str
    heard: list[tuple[str, ...]]
    events: list[dict[str, Any]]
    positions: list[int]
    deliveries: list[plain.Delivery]
    records: list[tuple[dict[str, Any], int]]


@pytest.fixture(scope="module", params=["rest", "socketio"])
async def told(
    request: pytest.FixtureRequest,
    server: Server,
    rabbitmq: RabbitMQ,
    kafka: Kafka,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Told]:
    """A whole conversation with the assistant."""
    name = f"test-{secrets.token_hex(6)}"
    brokers = [pika_section(rabbitmq, exchange_name=name, queues=[name]), kafka_section(kafka, topic=name)]
    async with server.database() as database:
        with running(tmp_path_factory.mktemp("restaurant"), database.dsn, brokers) as service:
            heard = await (over_rest if request.param == "rest" else over_socketio)(service)
            events = events_of(service, "lea")
            wait_until_published(service, "pika", "kafka")
            positions = [event["position"] for event in service.get("/turnlog/v1/events?limit=1000").json()["events"]]
    records = [
        (plain.value_of(record), int(plain.headers_of(record)["turnlog-position"]))
        for record in await plain.records(kafka, name)
    ]
    yield Told(request.param, heard, events, positions, plain.drain(rabbitmq, name), records)
    plain.remove(rabbitmq, name, name)
    await plain.delete_topics(kafka, name)


async def over_rest(service: Service) -> list[tuple[str, ...]]:
    return [tuple(say(service, "lea", each.says)) for each in RUNS]


async def over_socketio(service: Service) -> list[tuple[str, ...]]:
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    client = socketio.AsyncClient(reconnection=False)
    client.on("bot_uttered", said.put)
    confirmed = asyncio.Event()
    client.on("session_confirm", lambda _session: confirmed.set())
    await client.connect(f"http://127.0.0.1:{service.port}", transports=["websocket"])
    await client.emit("session_request", {"session_id": "lea"})
    heard = []
    async with asyncio.timeout(SECONDS):
        await confirmed.wait()
        for each in RUNS:
            await client.emit("user_uttered", {"message": each.says, "session_id": "lea"})
            heard.append(tuple([(await said.get())["text"] for _ in each.hears]))
    await client.disconnect()
    return heard


@pytest.mark.parametrize("number", range(len(RUNS)), ids=lambda number: RUNS[number].says)
def test_it_answers(told: Told, number: int) -> None:
    assert told.heard[number] == RUNS[number].hears


def test_each_run_is_in_the_log(told: Told) -> None:
    runs = [event for each in RUNS for event in each.events]
    assert [in_short(event) for event in told.events] == [*STARTS, *runs]


def test_messages_come_from_their_channel(told: Told) -> None:
    assert {event["input_channel"] for event in told.events if event["event"] == "user"} == {told.channel}


def test_the_reminder_is_due_two_hours_before_the_guests_come(told: Told) -> None:
    (reminder,) = (event for event in told.events if event["event"] == "reminder")
    due = datetime.fromisoformat(reminder["date_time"])
    assert due == datetime.fromisoformat(f"{DAY}T17:00").astimezone()
    assert (reminder["intent"], reminder["kill_on_user_msg"]) == ("remind", False)


def test_the_log_has_nothing_else(told: Told) -> None:
    assert told.positions == list(range(1, len(told.events) + 1))


def test_rabbitmq_has_each_event_once_and_in_order(told: Told) -> None:
    assert [delivery.position for delivery in told.deliveries] == told.positions
    assert [delivery.json for delivery in told.deliveries] == published(told)


def test_kafka_has_each_event_once_and_in_order(told: Told) -> None:
    assert [position for _, position in told.records] == told.positions
    assert [value for value, _ in told.records] == published(told)


def published(told: Told) -> list[dict[str, Any]]:
    return [{"sender_id": "lea", **event} for event in told.events]


# --- conversations ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def service(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with server.database() as database:
        with running(tmp_path_factory.mktemp("restaurant"), database.dsn) as service:
            yield service


DIALOGUES: Final[dict[str, list[tuple[str, list[str]]]]] = {
    "small talk": [
        ("hi", [WELCOME]),
        ("Are you a bot?", ["I am a program. For a person, call us from 12:00 on."]),
        ("What dishes do you have?", ["The menu changes every week. Today's dishes are on it."]),
        ("Thanks!", ["You are welcome."]),
        ("bye", ["Goodbye, and see you soon."]),
    ],
    "nothing understood": [
        ("Quanto costa?", [SORRY]),
        ("/help", HELP),
        ("stop", ["I'm sorry, I can't help you with that. Say \"help\" to see what I can do."]),
    ],
    "what can't be": [
        ("I'd like to book", [HOW_MANY]),
        ("twenty of us", [SORRY, HOW_MANY]),
        ("20", ["We have no table for more than 12. Please call us, and we will find a way.", HOW_MANY]),
        ("12", [WHICH_DAY]),
        ("2020-01-01", ["I need a day from today on, such as tomorrow, Friday or 2031-05-17.", WHICH_DAY]),
        ("Friday", [WHAT_TIME]),
        ("at 11 am", ["You can come between 12:00 and 21:30. I need a time, such as 19:30.", WHAT_TIME]),
        ("8 o'clock", [WHERE]),
        ('/inform{"seating": "roof"}', [WHERE]),
        ("indoors", [WHOSE]),
        ("/inform", ["Noted.", WHOSE]),
    ],
    "everything in another order": [
        (f"We are three, on {DAY}", [WHAT_TIME]),
        ("inside please", [WHAT_TIME]),
        ("12:30", [WHOSE]),
        ("Tom", [REMINDED]),
        ("no", [f"A table for 3 on {DAY} at 12:30, in the name of Tom. Shall I reserve it?"]),
        ("no", ["Then I have not reserved anything."]),
        ("my reservation", ["You have no reservation yet."]),
        ("cancel", ["You have no reservation yet."]),
        ("remind me", ["You have no reservation yet."]),
        (f"Reserve a table for two on {DAY} at 1 pm, inside", [REMINDED]),
        ("no", [f"A table for 2 on {DAY} at 13:00, in the name of Tom. Shall I reserve it?"]),
    ],
    "stopping, going on, and stopping": [
        ("a table for 2", [WHICH_DAY]),
        ("are you open?", [OPEN, WHICH_DAY]),
        ("I've changed my mind", [GO_ON]),
        ("yes", [WHICH_DAY]),
        ("tomorrow", [WHAT_TIME]),
        ("stop", [GO_ON]),
        ("no", ["All right, I have forgotten it."]),
        ("a table", [HOW_MANY]),
    ],
    "after a restart": [
        ("a table for 2", [WHICH_DAY]),
        ("/restart", []),
        ("a table", [HOW_MANY]),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_conversation_goes_well(service: Service, name: str) -> None:
    guest = name.replace(" ", "-").replace(",", "").replace("'", "")
    said = [(text, say(service, guest, text)) for text, _ in DIALOGUES[name]]
    assert said == DIALOGUES[name]


def test_a_table_is_given_once(service: Service) -> None:
    request = f"A table for 12 outside on {DAY} at 20:00"
    for guest in ("first", "second"):
        assert say(service, guest, request) == [WHOSE]
        assert say(service, guest, guest) == [REMINDED]
    assert "Shall I reserve it?" in say(service, "first", "no")[0]
    assert say(service, "first", "yes")[0].startswith("It is reserved. Your number is R")
    no_table = "There is no table for 12 outside at that time. Would another time do?"
    assert say(service, "second", "no") == [no_table, WHAT_TIME]
    assert "at 21:30, in the name of second" in say(service, "second", "21:30")[0]


def test_of_two_who_confirm_one_is_told_that_the_table_is_gone(service: Service) -> None:
    for guest in ("quick", "slow"):
        say(service, guest, f"A table for 10 outside on {DAY} at 18:00")
        say(service, guest, guest)
        assert "Shall I reserve it?" in say(service, guest, "no")[0]
    assert say(service, "quick", "yes")[0].startswith("It is reserved.")
    assert say(service, "slow", "yes") == ["I'm sorry, somebody else was faster. The table is gone."]


def test_what_a_reminder_brings_in_is_answered(service: Service) -> None:
    for text in (f"a table for 2 on {DAY} at 14:00, inside", "Ida", "yes", "yes"):
        say(service, "ida", text)
    answer = service.request("POST", "/conversations/ida/trigger_intent", {"name": "remind"}).json()
    assert [message["text"] for message in answer["messages"]] == [
        'We have a table for you, and look forward to seeing you. Say "my reservation" to see when.'
    ]


def test_buttons_say_what_is_understood(service: Service) -> None:
    answer = service.request("POST", "/webhooks/rest/webhook", {"sender": "kim", "message": "a table for 2"}).json()
    assert [json.loads(button["payload"].removeprefix("/inform")) for button in answer[0]["buttons"]] == [
        {"date": "today"},
        {"date": "tomorrow"},
    ]
    assert say(service, "kim", answer[0]["buttons"][1]["payload"]) == [WHAT_TIME]


def test_it_trains_without_a_warning() -> None:
    assert load_model(EXAMPLE).warnings == ()
