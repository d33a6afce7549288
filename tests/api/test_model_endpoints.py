"""`PUT /model` and `DELETE /model`: what they take, what they answer, and what the service says of its model."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.models import texts_of, write_archive, write_project
from tests.model_server import ModelServer, model_server
from tests.service import Answer, Service, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ETAG = '"the first"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of bots, and one that is none."""
    folder = tmp_path_factory.mktemp("endpoints")
    for name in ("alpha", "beta"):
        write_archive(folder, name)
    (folder / "garbage.tar.gz").write_bytes(b"no archive")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Iterator[Service]:
    """A service of one worker."""
    with Service(folder, ["--enable-api", "-m", folder / "alpha.tar.gz"]) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def service(alone: Service, folder: Path) -> Service:
    """It serves with alpha."""
    assert put(alone, model_file=str(folder / "alpha.tar.gz")).status == 204
    return alone


@pytest.fixture
def server(folder: Path) -> Iterator[ModelServer]:
    """A model server that gives beta, under a name that leads out of any folder."""
    with model_server() as server:
        server.give((folder / "beta.tar.gz").read_bytes(), {"ETag": ETAG, "filename": "../../new.tar.gz"})
        yield server


def put(service: Service, **body: Any) -> Answer:
    return service.request("PUT", "/model", body)


def ask(service: Service, conversation: str) -> list[str]:
    body = {"sender": conversation, "message": "/ask"}
    return [message["text"] for message in service.request("POST", "/webhooks/rest/webhook", body).json()]


def file_of(service: Service) -> str:
    return str(service.get("/status").json()["model_file"])


def error(answer: Answer) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status, body["reason"], body["message"]


def not_loaded(name: object) -> tuple[int, str, str]:
    return 400, "BadRequest", f"Agent with name '{name}' could not be loaded."


# --- a file ---


def test_an_archive_is_served_with_and_answered_without_a_body(service: Service, folder: Path) -> None:
    answer = put(service, model_file=str(folder / "beta.tar.gz"))
    assert (answer.status, answer.body, "content-type" in answer.headers) == (204, b"", False)
    assert ask(service, "archive") == texts_of("beta")


def test_of_a_folder_of_archives_the_newest_counts(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path, "old")
    write_archive(tmp_path, "new")
    assert put(service, model_file=str(tmp_path)).status == 204
    assert file_of(service) == "new.tar.gz"


def test_a_path_counts_from_where_the_service_was_started(service: Service) -> None:
    assert put(service, model_file="beta.tar.gz").status == 204
    assert file_of(service) == "beta.tar.gz"


def test_a_domain_file_is_a_model_of_its_own(service: Service, tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text('version: "3.1"\nintents: [only]\n')
    assert put(service, model_file=str(tmp_path / "domain.yml")).status == 204
    assert "only" in service.get("/domain").json()["intents"]


def test_a_project_is_trained(service: Service, tmp_path: Path) -> None:
    assert put(service, model_file=str(write_project(tmp_path / "bot", "trained"))).status == 204
    assert ask(service, "project") == texts_of("trained")


def test_what_is_odd_about_a_project_is_logged(service: Service, tmp_path: Path) -> None:
    project = write_project(tmp_path / "bot", "odd")
    (project / "data" / "nlu.yml").write_text('version: "3.1"\nnlu: [{intent: unknown, examples: "- hm\\n"}]\n')
    assert put(service, model_file=str(project)).status == 204
    assert any("unknown" in line["warning"] for line in service.logged("odd training data"))


def test_of_an_archive_that_rasa_made_the_domain_serves_and_predictions_say_what_to_do(
    service: Service, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "rasas.zip", "w") as archive:
        archive.writestr("metadata.json", '{"rasa_open_source_version": "3.6.21", "model_id": "abc"}')
        archive.writestr("components/domain_provider/domain.yml", 'version: "3.1"\nintents: [only]\n')
    assert put(service, model_file=str(tmp_path / "rasas.zip")).status == 204
    assert "only" in service.get("/domain").json()["intents"]
    status, reason, message = error(service.request("POST", "/model/predict", [{"event": "restart"}]))
    assert (status, reason) == (409, "Conflict")
    assert message.startswith("Rasa 3.6.21 made this archive")
    assert "turnlog train" in message


# --- a file that can't be used ---


@pytest.mark.parametrize("name", ["nowhere.tar.gz", "garbage.tar.gz", "nowhere", "endpoints.yml"])
def test_what_is_no_model_changes_nothing_and_the_answer_says_why(service: Service, folder: Path, name: str) -> None:
    answer = put(service, model_file=str(folder / name))
    assert error(answer) == not_loaded(folder / name)
    details = answer.json()["details"]
    assert (details["parameter"], details["in"]) == ("model", "query")
    assert name in details["faults"][0]
    assert ask(service, name) == texts_of("alpha")


def test_every_fault_of_a_project_is_named_with_file_and_line(service: Service, tmp_path: Path) -> None:
    project = write_project(tmp_path / "bot", "faulty")
    (project / "domain.yml").write_text("slots:\n  a: {type: nonsense}\n  b: {type: absurd}\n")
    faults = put(service, model_file=str(project)).json()["details"]["faults"]
    assert all(re.match(r"domain.yml:\d+: ", fault) for fault in faults)
    assert [any(word in fault for fault in faults) for word in ("nonsense", "absurd")] == [True, True]
    assert file_of(service) == "alpha.tar.gz"


def test_the_last_fault_is_shown_by_readyz(service: Service, folder: Path) -> None:
    put(service, model_file=str(folder / "garbage.tar.gz"))
    ready = service.get("/readyz")
    fault = ready.json()["model_fault"]
    assert (ready.status, ready.json()["model"]) == (200, "alpha.tar.gz")
    assert fault["origin"] == str(folder / "garbage.tar.gz")
    assert "garbage.tar.gz" in fault["reason"]
    assert fault["time"] > ready.json()["model_since"]


def test_the_fault_is_over_with_the_next_model(service: Service, folder: Path) -> None:
    put(service, model_file=str(folder / "garbage.tar.gz"))
    put(service, model_file=str(folder / "beta.tar.gz"))
    assert service.get("/readyz").json()["model_fault"] is None


# --- the request ---


def test_a_request_without_a_body_is_refused_as_by_rasa(service: Service) -> None:
    answer = service.request("PUT", "/model")
    assert error(answer) == (400, "BadRequest", "No path to model file defined in request_body.")


def test_a_request_that_names_nothing_names_no_model(service: Service) -> None:
    assert error(put(service)) == not_loaded(None)
    assert error(put(service, model_file=None, model_server={}, remote_storage="")) == not_loaded(None)


def test_a_body_that_is_no_object_is_refused(service: Service) -> None:
    assert error(service.request("PUT", "/model", ["alpha.tar.gz"]))[:2] == (400, "BadRequest")


@pytest.mark.parametrize("key", ["model_file", "remote_storage"])
def test_names_must_be_texts(service: Service, key: str) -> None:
    answer = put(service, **{key: 5})
    assert error(answer)[:2] == (400, "BadRequest")
    assert answer.json()["details"] == {"parameter": key, "in": "body"}


# --- a server ---


def test_the_model_of_a_server_is_served_with(service: Service, server: ModelServer) -> None:
    described = {"url": server.url, "token": "t0ken", "params": {"stage": "live"}, "headers": {"X-Team": "bots"}}
    assert put(service, model_server=described).status == 204
    assert ask(service, "server") == texts_of("beta")
    asked = server.asked[0]
    assert sorted(asked.query) == [("stage", "live"), ("token", "t0ken")]
    assert asked.headers["x-team"] == "bots"


def test_the_name_that_a_server_gives_leads_nowhere(service: Service, server: ModelServer) -> None:
    put(service, model_server={"url": server.url})
    assert file_of(service) == "new.tar.gz"


def test_a_server_that_was_put_is_followed(service: Service, server: ModelServer, folder: Path) -> None:
    put(service, model_server={"url": server.url, "wait_time_between_pulls": 0.1})
    server.give(write_archive(folder, "followed").read_bytes(), {"ETag": '"the second"', "filename": "followed.tar.gz"})
    wait_until(lambda: file_of(service) == "followed.tar.gz", "the server's next model has come")


@pytest.mark.parametrize("given", [{"url": "notaurl"}, {"urlx": 1}, {"url": "http://127.0.0.1:1/"}])
def test_a_server_without_a_model_changes_nothing(service: Service, given: dict[str, Any]) -> None:
    answer = put(service, model_server=given)
    assert error(answer) == not_loaded(None)
    assert len(answer.json()["details"]["faults"]) == 1
    assert file_of(service) == "alpha.tar.gz"


@pytest.mark.parametrize(
    "given", ["str", ["http://localhost"], {"url": ["http://localhost"]}, {"basic_auth": {"a": 1}}]
)
def test_a_server_that_is_not_described_as_one_is_refused(service: Service, given: object) -> None:
    answer = put(service, model_server=given)
    status, reason, message = error(answer)
    assert (status, reason) == (400, "BadRequest")
    assert message.startswith("Supplied 'model_server' is not valid. Error: ")
    assert answer.json()["details"] == {"parameter": "model_server", "in": "body"}


def test_no_answer_and_no_line_of_log_shows_a_token(service: Service) -> None:
    server = {"url": "http://user:p4ss@127.0.0.1:1/?key=s3cret", "token": "t0ps3cret"}
    answer = put(service, model_server=server)
    assert answer.status == 400
    shown = answer.body.decode() + service.log.read_text() + service.get("/readyz").body.decode()
    assert not {secret for secret in ("p4ss", "s3cret", "t0ps3cret") if secret in shown}


# --- a storage ---


def test_a_storage_brings_the_file_of_this_name(service: Service, folder: Path) -> None:
    source = "import shutil\n\n\nclass Cupboard:\n    def retrieve(self, name, target):\n"
    (folder / "cupboard.py").write_text(f"{source}        shutil.copy({str(folder)!r} + '/' + name, target)\n")
    assert put(service, model_file="beta.tar.gz", remote_storage="cupboard.Cupboard").status == 204
    assert file_of(service) == "beta.tar.gz"


def test_an_unknown_storage_changes_nothing(service: Service) -> None:
    answer = put(service, model_file="beta.tar.gz", remote_storage="attic")
    assert error(answer) == not_loaded("beta.tar.gz")
    assert "attic" in answer.json()["details"]["faults"][0]


# --- no model ---


def test_without_the_model_all_that_needs_one_is_refused(service: Service) -> None:
    assert service.request("DELETE", "/model").status == 204
    assert [service.get(path).status for path in ("/status", "/domain")] == [409, 409]
    assert service.request("POST", "/conversations/c/trigger_intent", {"name": "ask"}).status == 409
    assert ask(service, "nobody") == []


def test_it_can_be_taken_away_twice(service: Service) -> None:
    assert [service.request("DELETE", "/model").status for _ in range(2)] == [204, 204]


def test_without_the_model_the_service_is_ready_and_the_log_goes_on(service: Service) -> None:
    service.request("DELETE", "/model")
    ready = service.get("/readyz")
    shown = [ready.json()[key] for key in ("model", "model_id", "model_origin", "model_since")]
    assert (ready.status, shown) == (200, [None] * 4)
    assert service.post("goes-on", {"event": "slot", "name": "city", "value": "Rome"}).status == 200


# --- what is said of it ---


def test_readyz_says_which_model_it_is_and_where_it_is_from(service: Service, folder: Path) -> None:
    ready, status = service.get("/readyz").json(), service.get("/status").json()
    assert (ready["model"], ready["model_id"]) == (status["model_file"], status["model_id"])
    assert ready["model_origin"] == str(folder / "alpha.tar.gz")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", ready["model_since"])


def test_metrics_say_which_model_it_is(service: Service) -> None:
    model_id = service.get("/status").json()["model_id"]
    text = service.get("/metrics").body.decode()
    assert [line for line in text.splitlines() if line.startswith("turnlog_model_info")] == [
        f'turnlog_model_info{{file="alpha.tar.gz",id="{model_id}"}} 1.0'
    ]


def test_metrics_count_what_became_of_models(service: Service, folder: Path) -> None:
    outcomes = ("installed", "refused", "removed")
    before = [counted(service, outcome) for outcome in outcomes]
    put(service, model_file=str(folder / "beta.tar.gz"))
    put(service, model_file=str(folder / "garbage.tar.gz"))
    service.request("DELETE", "/model")
    assert [counted(service, outcome) for outcome in outcomes] == [number + 1 for number in before]


def counted(service: Service, outcome: str) -> float:
    pattern = rf'^turnlog_models_total\{{outcome="{outcome}"\}} (\S+)$'
    found = re.search(pattern, service.get("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


# --- beside endpoints.yml ---


def test_the_server_in_endpoints_yml_wins_over_one_that_is_put(folder: Path, server: ModelServer) -> None:
    home = folder / "configured"
    home.mkdir()
    (home / "endpoints.yml").write_text(f"models: {{url: '{server.url}'}}\n")
    with Service(home, ["--enable-api"], data_dir=folder / "data") as service:
        service.wait_until_ready()
        wait_until(lambda: service.get("/status").status == 200, "the server's model has come")
        assert put(service, model_server={"url": "http://127.0.0.1:1/"}).status == 204
        assert service.get("/readyz").json()["model_origin"] == server.url
