"""Reminders and other side effects of posted events, by services as their users run them."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.http import new_id
from tests.service import Answer, Postgres, Service, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOMAIN = """
version: "3.1"
intents: [greet, plan, EXTERNAL_short, EXTERNAL_long]
actions: [action_plan, action_long]
slots:
  city: {type: any, influence_conversation: false, mappings: [{type: from_entity, entity: city}]}
entities: [city]
responses:
  utter_greet: [{text: "hello"}]
  utter_reminder: [{text: "It is about {city}."}]
"""
RULES = """
version: "3.1"
rules:
- rule: greet
  steps: [{intent: greet}, {action: utter_greet}]
- rule: plan
  steps: [{intent: plan}, {action: action_plan}]
- rule: short
  steps: [{intent: EXTERNAL_short}, {action: utter_reminder}]
- rule: long
  steps: [{intent: EXTERNAL_long}, {action: action_long}, {action: utter_reminder}]
"""
CONFIG = "recipe: default.v1\nlanguage: en\npolicies: [{name: RulePolicy}]\n"
FLAG = "?execute_side_effects=true"
TWO_WORKERS = {"SANIC_WORKERS": "2"}
SOON = 1.0  #: seconds


class Actions:
    """An action server: `action_plan` asks to be reminded, `action_long` waits until it may end.

    It gathers what the channel `callback` posts, too, as `posted`.
    """

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.may_end.set()
        self.calls: list[str] = []
        self.posted: list[dict[str, Any]] = []
        actions = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(actions.answer(call)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments: object) -> None:
                """The service was killed while it waited for the answer."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        action = call.get("next_action")
        if action is None:
            self.posted.append(call)
            return {}
        self.calls.append(action)
        if action == "action_long":
            self.may_end.wait(60)
        return {"events": [reminder("planned")] if action == "action_plan" else [], "responses": []}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/webhook"

    def close(self) -> None:
        self.may_end.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def actions() -> Iterator[Actions]:
    actions = Actions()
    yield actions
    actions.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, actions: Actions) -> Path:
    """A folder with a bot, from which services are started."""
    folder = tmp_path_factory.mktemp("reminders")
    for name, text in (("domain.yml", DOMAIN), ("data/rules.yml", RULES), ("config.yml", CONFIG)):
        (folder / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bot" / name).write_text(text)
    (folder / "credentials.yml").write_text(f"rest:\ncallback: {{url: '{actions.url}'}}\n")
    (folder / "endpoints.yml").write_text(f"action_endpoint: {{url: '{actions.url}'}}\n")
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[tuple[Service, Service]]:
    """Two services with one log, each with two workers."""
    with service_in(folder) as one, service_in(folder) as other:
        yield one, other


@pytest.fixture
def service(pair: tuple[Service, Service]) -> Service:
    return pair[0]


@contextmanager
def service_in(folder: Path, data: str = "data") -> Iterator[Service]:
    """A service of the bot, over the Postgres of a folder."""
    flags: list[str | Path] = ["--enable-api", "-m", folder / "bot"]
    with Service(folder, flags, environment=TWO_WORKERS, data_dir=folder / data) as running:
        running.wait_until_ready()
        yield running


def reminder(name: str = "r", seconds: float = SOON, **fields: Any) -> dict[str, Any]:
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    given = {"intent": "EXTERNAL_short", "date_time": when.isoformat(), "kill_on_user_msg": False, **fields}
    return {"event": "reminder", "name": name, **given}


def post(service: Service, conversation: str, events: object, query: str = FLAG, **headers: str) -> Answer:
    path = f"/conversations/{conversation}/tracker/events{query}"
    given: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.request("POST", path, events, given)


def events_of(service: Service, conversation: str) -> list[dict[str, Any]]:
    answer = service.get(f"/conversations/{conversation}/tracker?include_events=ALL")
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


def fired(service: Service, conversation: str) -> int:
    """How often a reminder was run in a conversation."""
    texts = [event.get("text") or "" for event in events_of(service, conversation) if event["event"] == "user"]
    return sum(text.startswith("EXTERNAL: ") for text in texts)


def said(service: Service, conversation: str) -> list[str]:
    return [event["text"] for event in events_of(service, conversation) if event["event"] == "bot"]


def waiting(service: Service) -> float:
    """How many reminders wait, as the metrics say."""
    return metric(service, "turnlog_reminders_waiting")


def metric(service: Service, name: str) -> float:
    text = service.get("/metrics").body.decode()
    if "turnlog_database_up 1.0" not in text:
        return math.nan  # nobody knows
    return float(next((line.split(" ")[1] for line in text.splitlines() if line.startswith(name + " ")), "0"))


def nothing_waits(service: Service) -> None:
    wait_until(lambda: waiting(service) == 0, "no reminder waits")


# --- reminders --------------------------------------------------------------------------------------------------------


def test_posted_reminders_are_run_once_over_two_services_with_two_workers_each(pair: tuple[Service, Service]) -> None:
    conversations = [new_id() for _ in range(20)]
    for number, conversation in enumerate(conversations):
        event = reminder("same", entities={"city": f"Rome {number}"})
        assert post(pair[number % 2], conversation, [event]).status == 200
    nothing_waits(pair[0])
    assert [fired(pair[0], conversation) for conversation in conversations] == [1] * 20
    assert said(pair[1], conversations[3]) == ["It is about Rome 3."]


def test_a_reminder_of_an_action_is_run(service: Service) -> None:
    conversation = new_id()
    message = {"sender": conversation, "message": "/plan"}
    assert service.request("POST", "/webhooks/rest/webhook", message).status == 200
    nothing_waits(service)
    assert fired(service, conversation) == 1


def test_a_posted_reminder_without_the_flag_is_recorded_only(service: Service) -> None:
    conversation = new_id()
    assert post(service, conversation, reminder(), query="").status == 200
    assert waiting(service) == 0


def test_a_reminder_of_the_past_is_recorded_only(service: Service) -> None:
    conversation = new_id()
    assert post(service, conversation, reminder(date_time="2020-01-01T00:00:00")).status == 200
    assert waiting(service) == 0


def test_a_posted_cancellation_ends_a_reminder(service: Service) -> None:
    conversation = new_id()
    post(service, conversation, reminder(seconds=3600))
    assert waiting(service) == 1
    post(service, conversation, {"event": "cancel_reminder", "name": "r"}, query="")
    assert waiting(service) == 1
    post(service, conversation, {"event": "cancel_reminder", "name": "r"})
    assert waiting(service) == 0


def test_a_message_of_the_user_ends_a_reminder_that_says_so(service: Service) -> None:
    conversation = new_id()
    post(service, conversation, reminder(kill_on_user_msg=True))
    service.request("POST", "/webhooks/rest/webhook", {"sender": conversation, "message": "/greet"})
    nothing_waits(service)
    assert fired(service, conversation) == 0


def test_what_became_of_reminders_is_counted(service: Service) -> None:
    before = metric(service, 'turnlog_reminders_total{outcome="scheduled"}')
    conversation = new_id()
    post(service, conversation, reminder(seconds=0.2))
    nothing_waits(service)
    assert metric(service, 'turnlog_reminders_total{outcome="scheduled"}') == before + 1


# --- requests that are repeated or refused ----------------------------------------------------------------------------


def test_a_repeated_request_has_no_side_effects(service: Service) -> None:
    conversation, scheduled = new_id(), reminder(seconds=3600)
    first = post(service, conversation, scheduled, Idempotency_Key="a")
    post(service, conversation, {"event": "cancel_reminder"})
    again = post(service, conversation, scheduled, Idempotency_Key="a")
    assert (first.status, again.status) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert waiting(service) == 0


def test_a_repeated_cancellation_does_not_end_what_was_scheduled_since(service: Service) -> None:
    conversation, cancellation = new_id(), {"event": "cancel_reminder"}
    post(service, conversation, cancellation, Idempotency_Key="c")
    post(service, conversation, reminder())
    post(service, conversation, cancellation, Idempotency_Key="c")
    nothing_waits(service)
    assert fired(service, conversation) == 1


def test_a_refused_request_has_no_side_effects(service: Service) -> None:
    conversation = new_id()
    etag = post(service, conversation, reminder()).headers["etag"]
    post(service, conversation, {"event": "slot", "name": "city", "value": "Rome"})
    assert post(service, conversation, {"event": "cancel_reminder"}, If_Match=etag).status == 412
    assert post(service, conversation, reminder("r", 3600), If_Match=etag).status == 412
    nothing_waits(service)
    assert fired(service, conversation) == 1


def test_posted_messages_of_the_bot_are_no_part_of_the_answer(service: Service) -> None:
    conversation = new_id()
    answer = post(service, conversation, [{"event": "bot", "text": "hi"}])
    assert (answer.status, "messages" in answer.json()) == (200, False)
    assert said(service, conversation) == ["hi"]


# --- channels ---------------------------------------------------------------------------------------------------------

TO_CALLBACK = FLAG + "&output_channel=callback"


def heard(actions: Actions, conversation: str) -> list[str]:
    """What the channel `callback` was told."""
    return [message["text"] for message in actions.posted if message["recipient_id"] == conversation]


def test_posted_messages_of_the_bot_are_sent_to_the_channel_once(service: Service, actions: Actions) -> None:
    conversation, events = new_id(), [{"event": "bot", "text": "a"}, {"event": "bot", "text": "b"}]
    for _ in range(2):
        assert post(service, conversation, events, TO_CALLBACK, Idempotency_Key="a").status == 200
    assert heard(actions, conversation) == ["a", "b"]


def test_posted_messages_go_to_no_channel_without_the_flag_or_when_they_are_refused(
    service: Service, actions: Actions
) -> None:
    conversation, event = new_id(), {"event": "bot", "text": "a"}
    post(service, conversation, event, "?output_channel=callback")
    assert post(service, conversation, event, TO_CALLBACK, If_Match='"1"').status == 412
    assert heard(actions, conversation) == []


def test_a_reminder_is_answered_by_the_channel_that_was_named(service: Service, actions: Actions) -> None:
    conversation = new_id()
    post(service, conversation, reminder(entities={"city": "Oslo"}, seconds=0.2), TO_CALLBACK)
    nothing_waits(service)
    assert heard(actions, conversation) == ["It is about Oslo."]


def test_a_reminder_is_answered_by_the_channel_of_the_conversation(service: Service, actions: Actions) -> None:
    conversation = new_id()
    service.request("POST", "/webhooks/callback/webhook", {"sender": conversation, "message": "/greet"})
    post(service, conversation, reminder(entities={"city": "Oslo"}, seconds=0.2))
    nothing_waits(service)
    assert heard(actions, conversation) == ["hello", "It is about Oslo."]


# --- processes that die -----------------------------------------------------------------------------------------------


def test_a_reminder_survives_that_every_process_is_killed(folder: Path) -> None:
    with service_in(folder, "killed") as service:
        conversations = [new_id() for _ in range(10)]
        for conversation in conversations:
            assert post(service, conversation, reminder(seconds=2)).status == 200
        os.killpg(service.pid, signal.SIGKILL)
        service.status()
        service.start()
        service.wait_until_ready()
        nothing_waits(service)
        assert [fired(service, conversation) for conversation in conversations] == [1] * 10


def test_a_reminder_that_came_due_while_the_service_was_away_is_run_at_its_start(folder: Path) -> None:
    with service_in(folder, "stopped") as service:
        conversation, due = new_id(), time.monotonic() + 0.5
        post(service, conversation, reminder(seconds=0.5))
        assert service.stop() == 0
        time.sleep(max(0.0, due - time.monotonic()))  # the time is what it is about
        service.start()
        service.wait_until_ready()
        nothing_waits(service)
        assert fired(service, conversation) == 1


def test_a_reminder_is_run_once_whenever_the_workers_are_killed(folder: Path, actions: Actions) -> None:
    with service_in(folder, "firing") as service:
        for round_ in range(3):
            conversations = [new_id() for _ in range(10)]
            for conversation in conversations:
                post(service, conversation, reminder(seconds=0.5))
            time.sleep(0.4 + 0.1 * round_)  # until they are about to be run, or are being run
            kill_workers(service)
            service.wait_until_ready()
            nothing_waits(service)
            assert [fired(service, conversation) for conversation in conversations] == [1] * 10


def test_a_reminder_is_run_once_though_its_worker_dies_while_its_action_works(folder: Path, actions: Actions) -> None:
    with service_in(folder, "acting") as service:
        conversation, before = new_id(), len(actions.calls)
        actions.may_end.clear()
        post(service, conversation, reminder(intent="EXTERNAL_long", seconds=0.2))
        wait_until(lambda: len(actions.calls) > before, "the action works")
        kill_workers(service)
        actions.may_end.set()
        service.wait_until_ready()
        nothing_waits(service)
        assert fired(service, conversation) == 1
        service.request("POST", "/webhooks/rest/webhook", {"sender": conversation, "message": "/greet"})
        assert said(service, conversation)[-1] == "hello"


def test_a_reminder_that_is_due_while_the_database_is_away_waits_for_it(folder: Path) -> None:
    with service_in(folder, "database") as service:
        conversations = [new_id() for _ in range(5)]
        for conversation in conversations:
            post(service, conversation, reminder(seconds=0.3))
        os.kill(Postgres(service.data_dir).postmaster, signal.SIGKILL)
        wait_until(lambda: service.answers("/readyz"), "the database is back")
        nothing_waits(service)
        assert [fired(service, conversation) for conversation in conversations] == [1] * 5


def kill_workers(service: Service) -> None:
    killed = [service.pid_of(name) for name in ("worker-1", "worker-2")]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: all(service.pid_of(name) not in killed for name in ("worker-1", "worker-2")), "workers start again"
    )
