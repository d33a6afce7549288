"""A swap: all processes serve with the new model, no turn is interrupted, and nothing else changes."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.chatting import page
from tests.api.http import new_id
from tests.api.models import texts_of, write_archive, write_project
from tests.assistant.scripted import Request, reply, scripted
from tests.model_server import model_server
from tests.service import Service, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

Json = dict[str, Any]


class Actions:
    """An action server: an action that was called waits until it may go on."""

    def __init__(self) -> None:
        self.called, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _request: Request) -> bytes:
        self.called.set()
        await self.may_go_on.wait()
        return reply({"events": [], "responses": []})


@pytest.fixture(scope="module")
async def actions() -> AsyncIterator[tuple[Actions, str]]:
    """The action server, and where it is."""
    actions = Actions()
    async with scripted(actions) as server:
        yield actions, server.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, actions: tuple[Actions, str]) -> Path:
    """Archives of bots, and what is around them."""
    folder = tmp_path_factory.mktemp("swaps")
    for name in ("alpha", "beta"):
        write_archive(folder, name)
    (folder / "credentials.yml").write_text("rest:\nsocketio: {session_persistence: true}\n")
    (folder / "endpoints.yml").write_text(f"action_endpoint: {{url: '{actions[1]}'}}\n")
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[Service]:
    """A service of two workers."""
    with started(folder) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def service(pair: Service, folder: Path) -> Service:
    """It serves with alpha."""
    put(pair, model_file=str(folder / "alpha.tar.gz"))
    return pair


def started(folder: Path) -> Service:
    flags: list[str | Path] = ["--enable-api", "-m", folder / "alpha.tar.gz"]
    return Service(folder, flags, environment={"SANIC_WORKERS": "2"}, data_dir=folder / "data")


def put(service: Service, **body: object) -> None:
    answer = service.request("PUT", "/model", body)
    assert answer.status == 204, answer.body


def shown(service: Service, times: int = 40) -> set[tuple[int, Any]]:
    """Status and file of `GET /status`, over so many new connections."""
    answers = [service.get("/status") for _ in range(times)]
    return {(answer.status, answer.json().get("model_file")) for answer in answers}


def say(service: Service, conversation: str, text: str = "/ask") -> list[str]:
    body = {"sender": conversation, "message": text}
    return [message["text"] for message in service.request("POST", "/webhooks/rest/webhook", body).json()]


def events_of(service: Service, conversation: str) -> list[Json]:
    page = service.get(f"/turnlog/v1/conversations/{conversation}/events").json()
    return [line["event"] for line in page["events"]]


# --- everywhere ---


def test_after_the_answer_every_worker_serves_with_the_new_model(service: Service, folder: Path) -> None:
    put(service, model_file=str(folder / "beta.tar.gz"))
    assert shown(service) == {(200, "beta.tar.gz")}


def test_a_project_is_trained_once_and_served_by_every_worker(service: Service, tmp_path: Path) -> None:
    put(service, model_file=str(write_project(tmp_path / "fresh", "fresh")))
    assert shown(service) == {(200, "fresh")}


def test_a_model_that_was_taken_away_is_away_everywhere(service: Service) -> None:
    assert service.request("DELETE", "/model").status == 204
    assert shown(service) == {(409, None)}


def test_a_refused_model_changes_nothing_anywhere(service: Service, tmp_path: Path) -> None:
    assert service.request("PUT", "/model", {"model_file": str(tmp_path / "none.zip")}).status == 400
    assert shown(service) == {(200, "alpha.tar.gz")}


@pytest.mark.parametrize("name", ["worker-1", "worker-2"])
def test_a_worker_that_is_started_again_has_the_model_of_the_others(service: Service, folder: Path, name: str) -> None:
    put(service, model_file=str(folder / "beta.tar.gz"))
    killed = service.pid_of(name)
    send_signal(killed, signal.SIGKILL)
    wait_until(lambda: service.pid_of(name) != killed, f"{name} was started again")
    wait_until(lambda: shown(service, 5) == {(200, "beta.tar.gz")}, "the service is whole again")
    assert shown(service) == {(200, "beta.tar.gz")}


def test_a_server_is_followed_on_by_a_background_process_that_is_started_again(service: Service, folder: Path) -> None:
    with model_server() as server:
        server.give((folder / "beta.tar.gz").read_bytes(), {"ETag": '"1"', "filename": "first.tar.gz"})
        put(service, model_server={"url": server.url, "wait_time_between_pulls": 0.1})
        send_signal(service.pid_of("background"), signal.SIGKILL)
        server.give((folder / "alpha.tar.gz").read_bytes(), {"ETag": '"2"', "filename": "second.tar.gz"})
        wait_until(lambda: shown(service, 5) == {(200, "second.tar.gz")}, "the server's next model has come")
        put(service, model_file=str(folder / "alpha.tar.gz"))


def test_a_service_that_is_started_again_has_the_model_of_its_command_line(folder: Path) -> None:
    with started(folder) as service:
        service.wait_until_ready()
        put(service, model_file=str(folder / "beta.tar.gz"))
        assert service.stop() == 0
        service.start()
        service.wait_until_ready()
        assert shown(service) == {(200, "alpha.tar.gz")}


# --- conversations ---


async def test_a_turn_under_way_ends_with_the_model_that_it_began_with(
    service: Service, folder: Path, actions: tuple[Actions, str]
) -> None:
    conversation, (action, _) = new_id(), actions
    turn = asyncio.create_task(asyncio.to_thread(say, service, conversation, "/wait"))
    await action.called.wait()
    await asyncio.to_thread(put, service, model_file=str(folder / "beta.tar.gz"))
    assert await asyncio.to_thread(shown, service) == {(200, "beta.tar.gz")}
    action.may_go_on.set()
    assert await turn == texts_of("alpha")
    assert await asyncio.to_thread(say, service, conversation) == texts_of("beta")


def test_a_swap_writes_nothing_and_events_name_the_model_that_made_them(service: Service, folder: Path) -> None:
    conversation = new_id()
    say(service, conversation)
    before = events_of(service, conversation)
    position = service.get("/readyz").json()["position"]
    put(service, model_file=str(folder / "beta.tar.gz"))
    assert service.get("/readyz").json()["position"] == position
    say(service, conversation)
    after = events_of(service, conversation)[len(before) :]
    assert [{event["metadata"]["assistant_id"] for event in events} for events in (before, after)] == [
        {"alpha"},
        {"beta"},
    ]
    assert {event["metadata"]["model_id"] for event in after} == {service.get("/status").json()["model_id"]}


def test_a_conversation_goes_on_with_what_it_knows(service: Service, folder: Path) -> None:
    conversation = new_id()
    service.post(conversation, {"event": "slot", "name": "city", "value": "Rome"})
    put(service, model_file=str(write_archive(folder, "other", slot="country")))
    assert "city" not in service.get(f"/conversations/{conversation}/tracker").json()["slots"]
    put(service, model_file=str(folder / "beta.tar.gz"))
    assert service.get(f"/conversations/{conversation}/tracker").json()["slots"]["city"] == "Rome"


async def test_a_page_that_stays_connected_hears_the_new_model(service: Service, folder: Path) -> None:
    async with page(service.port) as visitor:
        session = await visitor.session()
        await visitor.say("/ask", session)
        assert [message["text"] for message in await visitor.hears(2)] == texts_of("alpha")
        await asyncio.to_thread(put, service, model_file=str(folder / "beta.tar.gz"))
        await visitor.say("/ask", session)
        assert [message["text"] for message in await visitor.hears(2)] == texts_of("beta")


def test_a_reminder_is_answered_by_the_model_of_its_moment(service: Service, folder: Path) -> None:
    conversation, _ = remind(service)
    put(service, model_file=str(folder / "beta.tar.gz"))
    wait_until(lambda: said_in(service, conversation), "the reminder was run")
    assert said_in(service, conversation) == texts_of("beta")


def test_a_reminder_waits_while_there_is_no_model(service: Service, folder: Path) -> None:
    conversation, when = remind(service)
    service.request("DELETE", "/model")
    wait_until(lambda: datetime.now(UTC) > when, "it is due")
    assert "turnlog_reminders_waiting 1.0" in service.get("/metrics").body.decode()
    put(service, model_file=str(folder / "beta.tar.gz"))
    wait_until(lambda: said_in(service, conversation), "the reminder was run")
    assert said_in(service, conversation) == texts_of("beta")


def remind(service: Service) -> tuple[str, datetime]:
    """A new conversation with a reminder, and when that is due."""
    conversation, when = new_id(), datetime.now(UTC) + timedelta(seconds=1)
    reminder = {"event": "reminder", "intent": "ask", "date_time": when.isoformat(), "kill_on_user_msg": False}
    path = f"/conversations/{conversation}/tracker/events?execute_side_effects=true"
    assert service.request("POST", path, reminder | {"name": "r"}).status == 200
    return conversation, when


def said_in(service: Service, conversation: str) -> list[str]:
    return [event["text"] for event in events_of(service, conversation) if event["event"] == "bot"]
