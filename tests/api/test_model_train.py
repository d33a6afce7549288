"""Training over HTTP: what is answered, what becomes of trainings that nobody waits for, and how many there may be."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest

from assistant.archive import load_model
from tests.api.models import write_archive
from tests.assistant.scripted import Request, Scripted, reply, scripted
from tests.service import SECONDS, Answer, Service, children_of, free_port, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NAME: Final = re.compile(r"\d{8}-\d{6}-[a-z]+\.tar\.gz")
GIVEN_UP: Final = "training given up: the client has hung up, or the service stops"
BOT: Final = b"""\
version: "3.1"
recipe: default.v1
language: en
assistant_id: posted
pipeline: [{name: KeywordIntentClassifier}]
policies: [{name: RulePolicy}]
intents: [greet]
responses:
  utter_greet: [{text: hello from afar}]
session_config: {session_expiration_time: 30}
nlu:
- intent: greet
  examples: |
    - good day
rules:
- rule: greet
  steps: [{intent: greet}, {action: utter_greet}]
"""
FILES: Final = {
    "config": "policies: [{name: RulePolicy}]",
    "domain": "intents: [greet]\nresponses:\n  utter_greet: [{text: hello from files}]",
    "rules": "rules:\n- rule: greet\n  steps: [{intent: greet}, {action: utter_greet}]",
}


def _long() -> bytes:
    """A project that takes seconds to train, so that it is still being trained when a test looks."""
    numbers = range(4000)
    intents = "".join(f"- i{n}\n" for n in numbers)
    responses = "".join(f"  utter_{n}: [{{text: t}}]\n" for n in numbers)
    rules = "".join(f"- rule: r{n}\n  steps: [{{intent: i{n}}}, {{action: utter_{n}}}]\n" for n in numbers)
    return f"policies: [{{name: RulePolicy}}]\nintents:\n{intents}responses:\n{responses}rules:\n{rules}".encode()


LONG: Final = _long()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the services, with an archive in it."""
    folder = tmp_path_factory.mktemp("trainings")
    write_archive(folder, "alpha")
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[Service]:
    """A service of two workers."""
    flags: list[str | Path] = ["--enable-api", "-m", folder / "alpha.tar.gz"]
    with Service(folder, flags, environment={"SANIC_WORKERS": "2"}) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def service(pair: Service, folder: Path) -> Service:
    """It serves with alpha, and nothing is trained."""
    assert pair.request("PUT", "/model", {"model_file": str(folder / "alpha.tar.gz")}).status == 204
    wait_until(lambda: jobs(pair) == 0, "no training is left")
    return pair


def train(service: Service, body: bytes, query: str = "", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=SECONDS)
    try:
        connection.request("POST", f"/model/train{query}", body, headers)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, response.read())
    finally:
        connection.close()


def begin(service: Service, body: bytes = LONG) -> socket.socket:
    """Ask for a training, and do not wait for the answer."""
    connection = socket.create_connection(("127.0.0.1", service.port))
    head = f"POST /model/train?save_to_default_model_directory=false HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
    connection.sendall(f"{head}\r\n\r\n".encode() + body)
    return connection


def jobs(service: Service) -> Any:
    return service.get("/status").json()["num_active_training_jobs"]


def trainers(service: Service) -> list[int]:
    """The processes that train."""
    workers = [service.pid_of(f"worker-{n}") for n in (1, 2)]
    return [pid for pid, command in children_of(*workers).items() if "spawn_main" in command]


def fault_of(answer: Answer, status: int = 400, reason: str = "BadRequest") -> dict[str, Any]:
    """The envelope of an error."""
    found: dict[str, Any] = answer.json()
    assert (answer.status, found["reason"], found["code"]) == (status, reason, status), answer.body
    return found


def say(service: Service, text: str) -> list[str]:
    answer = service.request("POST", "/webhooks/rest/webhook", {"sender": os.urandom(8).hex(), "message": text})
    return [message["text"] for message in answer.json()]


@asynccontextmanager
async def sink_of(*statuses: int) -> AsyncIterator[tuple[Scripted, asyncio.Queue[Request]]]:
    """A server for callbacks, and what was posted to it. It answers with one status after the other, then with 200."""
    posted: asyncio.Queue[Request] = asyncio.Queue()
    left = iter(statuses)

    async def take(request: Request) -> bytes:
        posted.put_nowait(request)
        return reply({}, next(left, 200))

    async with scripted(take) as sink:
        yield sink, posted


class TestAnswers:
    def test_what_was_trained_is_an_archive_to_serve_with(self, service: Service, folder: Path) -> None:
        answer = train(service, BOT)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-tar")
        name = answer.headers["filename"]
        assert NAME.fullmatch(name)
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        (folder / "got.tar.gz").write_bytes(answer.body)
        assert service.request("PUT", "/model", {"model_file": str(folder / "got.tar.gz")}).status == 204
        assert [say(service, "good day") for _ in range(8)] == [["hello from afar"]] * 8

    def test_the_archive_is_kept_in_the_folder_of_models(self, service: Service, folder: Path) -> None:
        answer = train(service, BOT)
        assert (folder / "models" / answer.headers["filename"]).read_bytes() == answer.body

    def test_the_archive_is_not_kept_if_nobody_wants_it(self, service: Service, folder: Path) -> None:
        before = {*(folder / "models").glob("*")}
        answer = train(service, BOT, "?save_to_default_model_directory=false&force_training=true&augmentation=20")
        assert answer.status == 200
        assert {*(folder / "models").glob("*")} == before

    def test_training_does_not_change_what_is_served_with(self, service: Service) -> None:
        assert train(service, BOT).status == 200
        assert service.get("/status").json()["model_file"] == "alpha.tar.gz"

    def test_files_as_texts_in_json_are_a_project_as_well(self, service: Service, folder: Path) -> None:
        answer = train(service, json.dumps(FILES).encode())
        assert answer.status == 200
        (folder / "files.tar.gz").write_bytes(answer.body)
        assert "utter_greet" in load_model(folder / "files.tar.gz").model.domain.responses

    def test_an_archive_that_can_not_be_kept_is_said_before_it_is_trained(self, folder: Path, pair: Service) -> None:
        home = folder / "closed"
        home.mkdir()
        (home / "models").write_text("not a folder")
        with Service(home, ["--enable-api", "-m", folder / "alpha.tar.gz"], data_dir=pair.data_dir) as service:
            service.wait_until_ready()
            found = fault_of(train(service, LONG), 500, "TrainingError")
            assert "save_to_default_model_directory=false" in found["message"]
            assert train(service, BOT, "?save_to_default_model_directory=false").status == 200


class TestFaults:
    def test_no_body(self, service: Service) -> None:
        found = fault_of(train(service, b""))
        assert found["message"] == "You must provide training data in the request body in order to train your model."

    @pytest.mark.parametrize("body", [b"{{{", b"nlu: [\x00]", b"nlu: \xff", b"a: 1\na: 2\n", b"[" * 5000, b"nlu: *x"])
    def test_no_yaml(self, service: Service, body: bytes) -> None:
        found = fault_of(train(service, body))
        assert found["message"].startswith("The request body does not contain valid YAML. Error: body:")
        assert found["help"] == "https://rasa.com/docs/rasa/training-data-format"

    @pytest.mark.parametrize("body", [b"foo: bar\n", b"[]", b"null", b"7", b'{"domain": "x"}', b"nlu: []\nrules:\n"])
    def test_nothing_to_learn_from(self, service: Service, body: bytes) -> None:
        assert fault_of(train(service, body))["details"]["faults"][0].startswith("body:1: ")

    def test_every_fault_is_told_with_its_line(self, service: Service) -> None:
        body = BOT.replace(b"KeywordIntentClassifier", b"DIETClassifier").replace(b"[greet]", b"[greet, 7]")
        assert [fault[:8] for fault in fault_of(train(service, body))["details"]["faults"]] == ["body:7: ", "body:5: "]

    def test_faults_in_texts_of_files_name_the_file(self, service: Service) -> None:
        body = json.dumps(FILES | {"rules": FILES["rules"].replace("utter_greet", "utter_bye")}).encode()
        assert fault_of(train(service, body))["details"]["faults"][0].startswith("rules:3: ")

    def test_a_process_that_dies_is_an_error_of_training(self, service: Service) -> None:
        with begin(service) as connection:
            wait_until(lambda: trainers(service), "it is trained")
            for pid in trainers(service):
                send_signal(pid, signal.SIGKILL)
            assert connection.recv(100).startswith(b"HTTP/1.1 500 ")

    @pytest.mark.parametrize("url", ["ftp://a/b", "a", "http://", "http://a:b/", "file:///etc/passwd"])
    def test_a_callback_that_is_none(self, service: Service, url: str) -> None:
        found = fault_of(train(service, BOT, f"?callback_url={quote(url)}"))
        assert found["details"] == {"parameter": "callback_url", "in": "query"}

    @pytest.mark.parametrize("what", ["stories", "intents"])
    def test_models_are_not_tested(self, service: Service, what: str) -> None:
        fault_of(service.request("POST", f"/model/test/{what}"))
        found = fault_of(service.request("POST", f"/model/test/{what}", {"a": 1}), 501, "NotImplemented")
        assert "/model/p" in found["message"]


class TestHowMany:
    def test_they_are_counted_over_all_workers(self, service: Service) -> None:
        with begin(service):
            wait_until(lambda: jobs(service) == 1, "it is trained")
            assert [jobs(service) for _ in range(20)] == [1] * 20

    def test_more_than_there_are_places_for_are_refused(self, service: Service) -> None:
        with begin(service), begin(service):
            wait_until(lambda: jobs(service) == 2, "both are trained")
            refused = train(service, BOT)
            fault_of(refused, 503, "TooManyTrainings")
            assert refused.headers["retry-after"].isdigit()
            fault_of(train(service, BOT, "?callback_url=http://127.0.0.1:1/"), 503, "TooManyTrainings")

    def test_who_hangs_up_ends_the_training(self, service: Service) -> None:
        before = len(service.logged(GIVEN_UP))
        with begin(service):
            wait_until(lambda: trainers(service), "it is trained")
        wait_until(lambda: not trainers(service), "its process is gone")
        wait_until(lambda: jobs(service) == 0, "its place is free")
        assert len(service.logged(GIVEN_UP)) == before + 1

    def test_a_worker_that_is_killed_leaves_no_training(self, service: Service) -> None:
        with begin(service):
            wait_until(lambda: trainers(service), "it is trained")
            [trainer] = trainers(service)
            worker = next(
                pid for pid in (service.pid_of("worker-1"), service.pid_of("worker-2")) if trainer in children_of(pid)
            )
            send_signal(worker, signal.SIGKILL)
            wait_until(lambda: service.answers("/status") and jobs(service) == 0, "its place is free")
            wait_until(lambda: not trainers(service), "its process is gone")


class TestCallbacks:
    async def test_the_archive_is_posted(self, service: Service) -> None:
        async with sink_of() as (sink, posted):
            answer = await asyncio.to_thread(train, service, BOT, f"?callback_url={quote(sink.url)}")
            assert (answer.status, answer.body) == (204, b"")
            request = await asyncio.wait_for(posted.get(), SECONDS)
        assert request.headers["content-type"] == "application/x-tar"
        assert NAME.fullmatch(request.headers["filename"])
        assert request.body[:2] == b"\x1f\x8b"

    async def test_faults_are_posted_as_the_envelope(self, service: Service) -> None:
        async with sink_of() as (sink, posted):
            await asyncio.to_thread(train, service, b"{{{", f"?callback_url={quote(sink.url)}")
            request = await asyncio.wait_for(posted.get(), SECONDS)
        assert request.headers["content-type"] == "application/json"
        assert request.json()["code"] == 400

    async def test_what_is_not_taken_is_posted_again(self, service: Service) -> None:
        async with sink_of(503, 200) as (sink, posted):
            url = sink.url.replace("localhost", "user:pa55@localhost")
            await asyncio.to_thread(train, service, b"", f"?callback_url={quote(url)}")
            await asyncio.to_thread(wait_until, lambda: posted.qsize() == 2, "it is posted twice")
        [failed] = service.logged("callback failed")
        assert "pa55" not in str(failed)

    async def test_a_training_goes_on_while_the_service_stops(self, folder: Path, pair: Service) -> None:
        flags: list[str | Path] = ["--enable-api", "-m", folder / "alpha.tar.gz"]
        async with sink_of() as (sink, posted):
            with Service(folder, flags, data_dir=pair.data_dir, port=free_port()) as service:
                await asyncio.to_thread(service.wait_until_ready)
                await asyncio.to_thread(train, service, BOT, f"?callback_url={quote(sink.url)}")
                assert await asyncio.to_thread(service.stop) == 0
        assert posted.get_nowait().body[:2] == b"\x1f\x8b"

    async def test_one_that_takes_too_long_is_an_error(self, folder: Path, pair: Service) -> None:
        flags: list[str | Path] = ["--enable-api", "-m", folder / "alpha.tar.gz", "--response-timeout", "1"]
        async with sink_of() as (sink, posted):
            with Service(folder, flags, data_dir=pair.data_dir, port=free_port()) as service:
                await asyncio.to_thread(service.wait_until_ready)
                await asyncio.to_thread(train, service, LONG, f"?callback_url={quote(sink.url)}")
                request = await asyncio.wait_for(posted.get(), SECONDS)
        assert request.json()["reason"] == "TrainingError"
        assert request.json()["message"].endswith("it took longer than 1 seconds")

    async def test_it_is_given_up_when_the_time_to_stop_is_over(self, folder: Path, pair: Service) -> None:
        flags: list[str | Path] = ["--enable-api", "-m", folder / "alpha.tar.gz"]
        grace = {"SANIC_GRACEFUL_SHUTDOWN_TIMEOUT": "0.5"}
        with Service(folder, flags, environment=grace, data_dir=pair.data_dir, port=free_port()) as service:
            service.wait_until_ready()
            assert train(service, LONG, "?callback_url=http://127.0.0.1:1/").status == 204
            assert service.stop() == 0
            assert len(service.logged(GIVEN_UP)) == 1
            assert service.logged("callbacks given up, since the service stops")[0]["number"] == 1
