"""Storages that hold models: S3 as a server of its own, Google's and Azure's as far as one GET shows, own classes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from assistant.fetching import Fetched, ModelUnavailable, from_storage
from assistant.fetching.storage import faults_of
from tests.model_server import ModelServer, model_server
from tests.s3 import S3
from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.model_server import Connection

BODY = b"\x1f\x8b not quite an archive"
OBJECT = {"ETag": '"1"', "Last-Modified": "Mon, 05 Jan 2026 10:00:00 GMT"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server with a bucket named `models`."""
    server = S3.start(tmp_path_factory.mktemp("s3"))
    server.make_bucket("models")
    yield server
    server.close()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server of ours that stands for a cloud's."""
    with model_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where models go; what is left in it is looked at."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def models(s3: S3, **more: str) -> dict[str, str]:
    """The environment of a service that has its models in that bucket."""
    return s3.environment | {"BUCKET_NAME": "models"} | more


async def why(storage: str, name: str, folder: Path, environment: dict[str, str], most: int = 10**9) -> str:
    """Why there is no model to be had. Nothing is left in the folder."""
    with pytest.raises(ModelUnavailable) as caught:
        await from_storage(storage, name, folder, environment, most)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def content(fetched: Fetched) -> tuple[str, bytes]:
    return fetched.file, fetched.path.read_bytes()


# --- S3 ---


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("20260101-bot", "20260101-bot.tar.gz"),
        ("bot.tar.gz", "bot.tar.gz"),
        ("my bot é+%", "my bot é+%.tar.gz"),
    ],
)
async def test_a_model_is_found_by_its_name(s3: S3, folder: Path, name: str, key: str) -> None:
    s3.put("models", key, BODY)
    fetched = await from_storage("aws", name, folder, models(s3))
    assert content(fetched) == (key, BODY)
    assert list(folder.iterdir()) == [fetched.path]


async def test_a_model_may_be_a_zip_file(s3: S3, folder: Path) -> None:
    s3.put("models", "old.zip", b"PK\x03\x04...")
    assert content(await from_storage("aws", "old.zip", folder, models(s3))) == ("old.zip", b"PK\x03\x04...")


async def test_a_name_may_lie_below_folders_of_the_bucket(s3: S3, folder: Path) -> None:
    s3.put("models", "prod/bot.tar.gz", BODY)
    assert content(await from_storage("aws", "prod/bot", folder, models(s3))) == ("bot.tar.gz", BODY)


async def test_a_large_model_comes_in_parts(s3: S3, folder: Path) -> None:
    body = bytes(range(256)) * 2**16
    s3.put("models", "large.tar.gz", body)
    assert (await from_storage("aws", "large", folder, models(s3))).path.read_bytes() == body


async def test_the_same_content_has_the_same_etag(s3: S3, folder: Path) -> None:
    s3.put("models", "one.tar.gz", BODY)
    s3.put("models", "two.tar.gz", BODY)
    s3.put("models", "three.tar.gz", BODY + b"!")
    one, two, three = [await from_storage("aws", name, folder, models(s3)) for name in ("one", "two", "three")]
    assert one.etag == two.etag != three.etag


async def test_requests_are_signed_with_the_session_token(server: ModelServer, folder: Path) -> None:
    server.give(BODY, OBJECT)
    environment = {
        "BUCKET_NAME": "models",
        "AWS_ENDPOINT_URL": f"http://localhost:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_SESSION_TOKEN": "session",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    await from_storage("aws", "bot", folder, environment)
    (asked,) = server.asked
    assert (asked.path, asked.headers["x-amz-security-token"]) == ("/models/bot.tar.gz", "session")
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAX/")
    assert "/eu-central-1/s3/aws4_request" in asked.headers["authorization"]


async def test_there_is_no_such_model(s3: S3, folder: Path) -> None:
    assert await why("aws", "none", folder, models(s3)) == "aws: 'models' holds no 'none.tar.gz'"


async def test_a_bucket_that_is_missing_is_not_made(s3: S3, folder: Path) -> None:
    message = "aws: there is no bucket or container 'others'; it must be made, it never is here"
    for _ in range(2):
        assert await why("aws", "bot", folder, models(s3, BUCKET_NAME="others")) == message


@pytest.mark.parametrize("name", ["../bot", "a//b", "a/./b"])
async def test_a_name_that_is_no_key(s3: S3, folder: Path, name: str) -> None:
    assert (await why("aws", name, folder, models(s3))).startswith("aws: 'models' can't be read: Could not parse path")


async def test_a_model_that_is_too_large(s3: S3, folder: Path) -> None:
    s3.put("models", "too-large.tar.gz", bytes(1001))
    assert await why("aws", "too-large", folder, models(s3), most=1000) == "aws: the model is larger than 1,000 bytes"


async def test_who_asks_is_not_let_in(server: ModelServer, folder: Path) -> None:
    error = b"<Error><Code>AccessDenied</Code><Message>hidden</Message></Error>"
    server.give(error, status=403)
    environment = {
        "BUCKET_NAME": "models",
        "AWS_ENDPOINT_URL": f"http://localhost:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }
    assert await why("aws", "bot", folder, environment) == "aws: 'models' can't be read: 403 Forbidden, AccessDenied"


async def test_nobody_is_there(s3: S3, folder: Path) -> None:
    message = await why("aws", "bot", folder, models(s3, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}"))
    assert message == "aws: 'models' can't be read: HTTP error: error sending request"


async def test_it_breaks_off(server: ModelServer, folder: Path) -> None:
    def half(connection: Connection) -> None:
        connection.begin(200, {"Content-Length": "1000", **OBJECT})
        connection.send(bytes(500))

    server.answer(half)
    environment = {
        "BUCKET_NAME": "models",
        "AWS_ENDPOINT_URL": f"http://localhost:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }
    assert (await why("aws", "bot", folder, environment)).startswith("aws: 'models' can't be read: ")


# --- Google ---


async def test_a_model_comes_from_google(server: ModelServer, folder: Path, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "private_key_id": "1",
        "client_email": "turnlog@example.com",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    server.give(BODY, OBJECT)
    environment = {
        "BUCKET_NAME": "models",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"),
        "GOOGLE_BASE_URL": f"http://localhost:{server.server_port}",
    }
    assert content(await from_storage("gcs", "bot", folder, environment)) == ("bot.tar.gz", BODY)
    (asked,) = server.asked
    claims = jwt.decode(asked.headers["authorization"].removeprefix("Bearer "), key.public_key(), ["RS256"])
    assert (asked.path, claims["iss"]) == ("/models/bot.tar.gz", "turnlog@example.com")


async def test_the_account_s_file_is_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text('{"private_key": "hidden"')
    environment = {"BUCKET_NAME": "models", "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json")}
    message = await why("gcs", "bot", folder, environment)
    assert message.startswith("gcs: 'models' can't be read: Unable to decode service account file: ")
    assert "hidden" not in message


# --- Azure ---


def azure(server: ModelServer, **more: str) -> dict[str, str]:
    return {
        "AZURE_CONTAINER": "models",
        "AZURE_ACCOUNT_NAME": "acme",
        "AZURE_ACCOUNT_KEY": "aGlkZGVu",
        "AZURE_STORAGE_ENDPOINT": f"http://localhost:{server.server_port}",
    } | more


async def test_a_model_comes_from_azure(server: ModelServer, folder: Path) -> None:
    server.give(BODY, OBJECT)
    assert content(await from_storage("azure", "bot", folder, azure(server))) == ("bot.tar.gz", BODY)
    (asked,) = server.asked
    assert asked.path == "/models/bot.tar.gz"
    assert asked.headers["authorization"].startswith("SharedKey acme:")


async def test_a_container_that_is_missing_is_not_made(server: ModelServer, folder: Path) -> None:
    server.give(b"<Error><Code>ContainerNotFound</Code></Error>", status=404)
    message = "azure: there is no bucket or container 'models'; it must be made, it never is here"
    assert await why("azure", "bot", folder, azure(server)) == message


async def test_a_key_that_is_none_is_not_named(server: ModelServer, folder: Path) -> None:
    message = await why("azure", "bot", folder, azure(server, AZURE_ACCOUNT_KEY="hidden!"))
    assert message.startswith("azure: 'models' can't be read: Invalid Access Key: ")
    assert "hidden" not in message


# --- classes ---

CLASSES = """
import shutil

class Folder:
    def retrieve(self, model_name, target_path):
        shutil.copy({source!r}, f"{{target_path}}/{{model_name}}.tar.gz")

class Failing:
    def retrieve(self, model_name, target_path):
        raise RuntimeError("the vault is closed")

class Lazy:
    def retrieve(self, model_name, target_path):
        pass

class Other:
    pass
"""


@pytest.fixture
def storages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive that the module `own_storages` in the working directory brings."""
    (tmp_path / "archive").write_bytes(BODY)
    (tmp_path / "own_storages.py").write_text(CLASSES.format(source=str(tmp_path / "archive")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_storages", None)


@pytest.mark.usefixtures("storages")
async def test_a_class_brings_a_model(folder: Path) -> None:
    fetched = await from_storage("own_storages.Folder", "bot", folder, {})
    assert content(fetched) == ("bot.tar.gz", BODY)
    assert list(folder.iterdir()) == [fetched.path]


@pytest.mark.usefixtures("storages")
async def test_a_class_fails(folder: Path) -> None:
    message = "own_storages.Failing: failed at 'bot': RuntimeError: the vault is closed"
    assert await why("own_storages.Failing", "bot", folder, {}) == message


@pytest.mark.usefixtures("storages")
async def test_a_class_brings_nothing(folder: Path) -> None:
    assert (await why("own_storages.Lazy", "bot", folder, {})).endswith("there are 0")


# --- what is wrong from the start ---


@pytest.mark.parametrize(
    ("storage", "environment", "faults"),
    [
        ("aws", {"BUCKET_NAME": "b"}, []),
        ("aws", {}, ["the environment variable BUCKET_NAME is not set"]),
        ("aws", {"BUCKET_NAME": ""}, ["the environment variable BUCKET_NAME is not set"]),
        (
            "aws",
            {"BUCKET_NAME": "b", "AWS_SECRET_ACCESS_KEY": "hidden"},
            ["the environment variable AWS_ACCESS_KEY_ID is not set, though AWS_SECRET_ACCESS_KEY is"],
        ),
        (
            "aws",
            {"BUCKET_NAME": "b", "AWS_ENDPOINT_URL": "minio:9000"},
            ["AWS_ENDPOINT_URL: must be http://host:port or https://host, is 'minio:9000'"],
        ),
        (
            "aws",
            {"BUCKET_NAME": "b ", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "hidden\n"},
            [
                "BUCKET_NAME: holds a blank, the end of a line, or another character that can't be sent",
                "AWS_SECRET_ACCESS_KEY: holds a blank, the end of a line, or another character that can't be sent",
            ],
        ),
        ("gcs", {"BUCKET_NAME": "b"}, []),
        ("gcs", {}, ["the environment variable BUCKET_NAME is not set"]),
        (
            "gcs",
            {"BUCKET_NAME": "b", "GOOGLE_APPLICATION_CREDENTIALS": "/no/such.json"},
            ["GOOGLE_APPLICATION_CREDENTIALS: /no/such.json: no such file"],
        ),
        (
            "azure",
            {"AZURE_ACCOUNT_NAME": "a"},
            [
                "the environment variable AZURE_CONTAINER is not set",
                "the environment variable AZURE_ACCOUNT_KEY is not set",
            ],
        ),
    ],
)
def test_what_the_environment_lacks_is_named(storage: str, environment: dict[str, str], faults: list[str]) -> None:
    assert faults_of(storage, environment) == faults


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("http://minio:9000", True),
        ("https://s3.example.com/", True),
        ("http://[::1]:9000", True),
        ("https://storage.example.com/below", True),
        ("http://user:hidden@minio:9000", False),
        ("http://minio:99999", False),
        ("http://minio:", False),
        ("http://mi nio", False),
        ("http://", False),
        ("ftp://minio", False),
    ],
)
def test_addresses_that_can_be_asked(address: str, is_one: bool) -> None:
    found = faults_of("aws", {"BUCKET_NAME": "b", "AWS_ENDPOINT_URL": address})
    assert (not found, "hidden" in str(found)) == (is_one, False)


@pytest.mark.parametrize(
    ("storage", "fault"),
    [
        ("s3", "ValueError: Empty module name"),
        ("no_such_module.Class", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("own_storages.Missing", "AttributeError: module 'own_storages' has no attribute 'Missing'"),
        ("own_storages.Other", "TypeError: it has no method `retrieve(model_name, target_path)`"),
        ("json.dumps", "TypeError: it has no method `retrieve(model_name, target_path)`"),
    ],
)
@pytest.mark.usefixtures("storages")
def test_a_name_that_is_no_storage(storage: str, fault: str) -> None:
    assert faults_of(storage, {}) == [f"{storage!r} is none of aws, gcs, azure, and can't be used as a class: {fault}"]


async def test_a_fault_is_said_when_a_model_is_wanted(folder: Path) -> None:
    assert await why("aws", "bot", folder, {}) == "aws: the environment variable BUCKET_NAME is not set"
