"""Models that a service fetches itself: from a model server that it follows, and from a storage."""

from __future__ import annotations

import io
import signal
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.models import texts_of, write_archive
from tests.model_server import ModelServer, model_server
from tests.s3 import S3
from tests.service import Service, free_port, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.model_server import Connection

SECONDS = 0.2  #: between two pulls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of bots, and the data of all services."""
    folder = tmp_path_factory.mktemp("pulling")
    for name in ("alpha", "beta"):
        write_archive(folder, name)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def pair(folder: Path, server: ModelServer) -> Iterator[Service]:
    """A service of two workers that follows the server."""
    with started(folder, f"{{url: {server.url}, wait_time_between_pulls: {SECONDS}}}", SANIC_WORKERS="2") as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def service(pair: Service, server: ModelServer, folder: Path) -> Service:
    """It serves with alpha, and found nothing wrong since."""
    give(server, folder, "alpha")
    wait_until(lambda: serves(pair, "alpha") and fault(pair) is None, "it serves with alpha")
    server.asked.clear()
    return pair


def started(folder: Path, models: str, *flags: str | Path, **environment: str) -> Service:
    """A service with this section `models`; it uses the database that all share."""
    port = free_port()
    endpoints = folder / f"endpoints-{port}.yml"
    endpoints.write_text(f"models: {models}\n" if models else "")
    given = ["--enable-api", "--endpoints", endpoints, *flags]
    return Service(folder, given, environment=environment, data_dir=folder / "data", port=port)


def give(server: ModelServer, folder: Path, name: str, **headers: str) -> None:
    """Have the server give a bot, with an ETag that nobody has seen."""
    server.give((folder / f"{name}.tar.gz").read_bytes(), {"ETag": f'"{name}-{free_port()}"', **headers})


def serves(service: Service, name: str, times: int = 1) -> bool:
    """Whether the bot of this name answers, over so many new connections."""
    said = [service.request("POST", "/webhooks/rest/webhook", {"sender": "a", "message": "/ask"}) for _ in range(times)]
    return all([line["text"] for line in answer.json()] == texts_of(name) for answer in said)


def fault(service: Service) -> dict[str, Any] | None:
    """What `/readyz` says about models."""
    found: dict[str, Any] | None = service.get("/readyz").json()["model_fault"]
    return found


def complaint(service: Service, server: ModelServer, reason: str) -> dict[str, Any]:
    """The fault, as soon as it is this one; the server was asked again since."""
    wait_until(lambda: reason in (fault(service) or {"reason": ""})["reason"], reason)
    pulled = len(server.asked)
    wait_until(lambda: len(server.asked) > pulled + 2, "it asks further")
    found = fault(service)
    assert found is not None
    return found


# --- following a server ---


def test_every_worker_serves_with_what_the_server_has_now(service: Service, server: ModelServer, folder: Path) -> None:
    give(server, folder, "beta")
    wait_until(lambda: serves(service, "beta"), "it serves with beta")
    assert serves(service, "beta", times=30)


def test_a_model_is_fetched_once(service: Service, server: ModelServer) -> None:
    installed = len(service.logged("model installed"))
    wait_until(lambda: len(server.asked) > 3, "it asks again")
    assert len({asked.headers["if-none-match"] for asked in server.asked}) == 1
    assert len(service.logged("model installed")) == installed


def test_a_model_without_an_etag_is_served_and_installed_once(
    service: Service, server: ModelServer, folder: Path
) -> None:
    installed = len(service.logged("model installed"))
    server.give((folder / "beta.tar.gz").read_bytes())
    wait_until(lambda: serves(service, "beta") and len(server.asked) > 5, "it serves with beta, and asks further")
    assert len(service.logged("model installed")) == installed + 1


def test_the_server_s_name_of_a_model_is_shown_without_its_folders(
    service: Service, server: ModelServer, folder: Path
) -> None:
    give(server, folder, "beta", filename="../../20260101-beta.tar.gz")
    wait_until(lambda: serves(service, "beta"), "it serves with beta")
    assert service.get("/status").json()["model_file"] == "20260101-beta.tar.gz"
    ready = service.get("/readyz").json()
    assert (ready["model"], ready["model_origin"]) == ("20260101-beta.tar.gz", server.url)


def tar(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("domain.yml", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>not a model</html>", "can't be read as"),
        (b"", "can't be read as"),
        (tar("domain.yml", bytes(10_000))[:60], "can't be read as"),
        (tar("../../../tmp/evil", b"x"), "leads out of the archive"),
        (tar("readme.txt", b"x"), "holds neither a model"),
        (tar("domain.yml", b"slots: [a: {"), "domain.yml"),
        (zip_bomb(), "is too large"),
    ],
    ids=["garbage", "nothing", "half", "traversal", "no model", "no domain", "bomb"],
)
def test_what_is_no_model_changes_nothing(
    service: Service, server: ModelServer, folder: Path, body: bytes, reason: str
) -> None:
    said = len(service.logged("the model can't be used"))
    server.give(body, {"ETag": '"broken"'})
    found = complaint(service, server, reason)
    assert found["origin"] == server.url
    assert serves(service, "alpha", times=10)
    assert len(service.logged("the model can't be used")) == said + 1
    give(server, folder, "beta")
    wait_until(lambda: serves(service, "beta") and fault(service) is None, "it serves with beta")


def half(connection: Connection) -> None:
    """Send the beginning of a model."""
    connection.begin(200, {"ETag": '"half"', "Content-Length": "100000"})
    connection.send(b"\x1f\x8b" + bytes(1000))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (half, "its answer broke off"),
        (lambda connection: connection.begin(404), "it answers with status 404"),
        (lambda connection: connection.begin(302, {"Location": "/models/newest"}), "it redirects without end"),
        (lambda connection: None, "it closed the connection without an answer"),
    ],
    ids=["half", "404", "redirect", "nothing"],
)
def test_a_server_that_gives_none_changes_nothing(
    service: Service, server: ModelServer, answer: Any, reason: str
) -> None:
    said, before = len(service.logged("no model can be fetched")), server.answering
    server.answer(answer)
    complaint(service, server, reason)
    assert serves(service, "alpha", times=10)
    assert len(service.logged("no model can be fetched")) == said + 1
    server.answer(before)
    wait_until(lambda: fault(service) is None, "there is no fault any more")
    assert serves(service, "alpha", times=10)


def test_what_is_broken_stays_said_after_the_server_was_away(service: Service, server: ModelServer) -> None:
    server.give(b"garbage", {"ETag": '"broken"'})
    complaint(service, server, "can't be read as")
    before = server.answering
    server.answer(lambda connection: connection.begin(503))
    complaint(service, server, "503")
    server.answer(before)
    complaint(service, server, "can't be read as")


def test_a_model_that_was_deleted_does_not_come_back_by_itself(service: Service, server: ModelServer) -> None:
    assert service.request("DELETE", "/model").status == 204
    server.asked.clear()
    wait_until(lambda: len(server.asked) > 3, "it asks again")
    assert service.get("/status").status == 409


def test_a_background_process_that_is_started_again_knows_the_model(service: Service, server: ModelServer) -> None:
    wait_until(lambda: server.asked, "it asks")
    etag, installed = server.asked[-1].headers["if-none-match"], len(service.logged("model installed"))
    before = service.pid_of("background")
    send_signal(before, signal.SIGKILL)
    wait_until(lambda: service.pid_of("background") != before, "it is started again")
    server.asked.clear()
    wait_until(lambda: server.asked, "it asks")
    assert server.asked[0].headers["if-none-match"] == etag
    assert len(service.logged("model installed")) == installed


# --- at the start ---


def test_a_server_that_comes_later_is_waited_for_and_asked_once(folder: Path) -> None:
    port = free_port()
    with started(folder, f"{{url: 'http://localhost:{port}/', wait_time_between_pulls: None}}") as service:
        service.wait_until_ready()
        wait_until(lambda: fault(service) is not None, "it has found nobody")
        assert "can't connect: Connection refused" in (fault(service) or {})["reason"]
        assert service.get("/status").status == 409
        with model_server(port) as server:
            give(server, folder, "alpha")
            wait_until(lambda: serves(service, "alpha"), "it serves with alpha")
            assert fault(service) is None
            assert len(server.asked) == 1


def test_a_wrong_time_between_pulls_is_told_with_file_and_key(folder: Path) -> None:
    with started(folder, "{url: 'http://localhost/', wait_time_between_pulls: soon}") as service:
        assert service.status() == 1
    assert "models.wait_time_between_pulls: must be a number of seconds, is 'soon'" in service.log.read_text()


# --- a server that a request names ---


def test_a_server_that_a_request_names_is_followed(server: ModelServer, folder: Path) -> None:
    with started(folder, "") as service:
        service.wait_until_ready()
        give(server, folder, "alpha")
        named = {"url": server.url, "wait_time_between_pulls": SECONDS}
        assert service.request("PUT", "/model", {"model_server": named}).status == 204
        assert serves(service, "alpha")
        server.asked.clear()
        wait_until(lambda: len(server.asked) > 3, "it asks again")
        assert len(service.logged("model installed")) == 1  # what the request fetched is known
        give(server, folder, "beta")
        wait_until(lambda: serves(service, "beta"), "it serves with beta")


# --- storages ---


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3.start(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


def test_a_model_comes_from_a_storage_as_soon_as_it_is_there(s3: S3, folder: Path) -> None:
    flags = ("--remote-storage", "aws", "-m", "20260101-bot")
    with started(folder, "", *flags, **s3.environment, BUCKET_NAME="models") as service:
        service.wait_until_ready()
        wait_until(lambda: fault(service) is not None, "it has found no bucket")
        assert "there is no bucket or container 'models'" in (fault(service) or {})["reason"]
        assert service.get("/status").status == 409
        s3.make_bucket("models")
        s3.put("models", "20260101-bot.tar.gz", (folder / "alpha.tar.gz").read_bytes())
        wait_until(lambda: serves(service, "alpha"), "it serves with alpha")
        assert service.get("/status").json()["model_file"] == "20260101-bot.tar.gz"
        assert fault(service) is None


def test_a_storage_without_its_variables_is_no_start(folder: Path) -> None:
    with started(folder, "", "--remote-storage", "gcs") as service:
        assert service.status() == 1
    assert "--remote-storage gcs: the environment variable BUCKET_NAME is not set" in service.log.read_text()
