"""A model server: what it is asked, which answers bring a model, and that nothing is left of those that do not."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from assistant.endpoint import BasicAuth, Endpoint
from assistant.fetching import Fetched, ModelUnavailable, from_server
from assistant.http import Client
from assistant.secret import Secret
from tests.certificates import Tls
from tests.model_server import ModelServer, model_server
from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.model_server import Connection

BODY = b"\x1f\x8b not quite an archive"
TAG = '"one"'


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where models go; what is left in it is looked at."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


async def fetch(client: Client, server: ModelServer, folder: Path, known: str | None = None) -> Fetched:
    """A model, which is a new one."""
    fetched = await from_server(client, Endpoint(url=server.url), known, folder)
    assert fetched is not None
    return fetched


async def why(client: Client, endpoint: Endpoint, folder: Path, known: str | None = None, most: int = 10**9) -> str:
    """Why there is no model to be had. Nothing is left in the folder."""
    with pytest.raises(ModelUnavailable) as caught:
        await from_server(client, endpoint, known, folder, most)
    assert list(folder.iterdir()) == []
    return str(caught.value)


# --- asking ---


async def test_a_model_comes_into_a_file(client: Client, server: ModelServer, folder: Path) -> None:
    server.give(BODY, {"ETag": TAG, "filename": "20260101-bot.tar.gz"})
    fetched = await fetch(client, server, folder)
    assert (fetched.file, fetched.etag, fetched.path.read_bytes()) == ("20260101-bot.tar.gz", TAG, BODY)
    assert list(folder.iterdir()) == [fetched.path]


async def test_before_any_model_it_is_asked_for_one_that_nobody_has(
    client: Client, server: ModelServer, folder: Path
) -> None:
    server.give(BODY)
    for _ in range(2):
        await fetch(client, server, folder)
    first, second = (asked.headers["if-none-match"] for asked in server.asked)
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


async def test_the_request_has_all_that_the_section_says(client: Client, server: ModelServer, folder: Path) -> None:
    server.give(BODY)
    endpoint = Endpoint(
        url=server.url + "?code=1",
        params={"env": "prod"},
        headers={"X-Key": "k"},
        basic_auth=BasicAuth("ann", Secret("pass")),
        token=Secret("t0ken"),
        token_name="key",
    )
    assert await from_server(client, endpoint, None, folder) is not None
    (asked,) = server.asked
    assert (asked.path, asked.query) == ("/models/newest", [("code", "1"), ("env", "prod"), ("key", "t0ken")])
    assert asked.headers["x-key"] == "k"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"ann:pass").decode()


@pytest.mark.parametrize("etag", [TAG, 'W/"one"', "bare", '"a b, c"', '"a\\"b"', '"ü-☃"', '""', "W/", "*"])
async def test_an_etag_goes_back_exactly_as_it_came(
    client: Client, server: ModelServer, folder: Path, etag: str
) -> None:
    server.give(BODY, {"ETag": etag})
    fetched = await fetch(client, server, folder)
    assert fetched.etag == etag
    assert await from_server(client, Endpoint(url=server.url), fetched.etag, folder) is None
    assert server.asked[1].headers["if-none-match"] == etag


@pytest.mark.parametrize("etag", [b'"\xff\xfe"', b'"a\x7fb"', b""])
async def test_an_etag_that_cannot_go_back_is_none(
    client: Client, server: ModelServer, folder: Path, etag: bytes
) -> None:
    server.give(BODY, {"ETag": etag})
    fetched = await fetch(client, server, folder)
    assert fetched.etag.startswith('"sha256-')
    assert await from_server(client, Endpoint(url=server.url), fetched.etag, folder) is None


# --- nothing new ---


@pytest.mark.parametrize("status", [204, 304])
async def test_the_server_says_that_nothing_is_new(
    client: Client, server: ModelServer, folder: Path, status: int
) -> None:
    server.answer(lambda connection: connection.begin(status))
    assert await from_server(client, Endpoint(url=server.url), TAG, folder) is None


@pytest.mark.parametrize("status", [204, 304])
async def test_the_server_has_no_model_yet(client: Client, server: ModelServer, folder: Path, status: int) -> None:
    server.answer(lambda connection: connection.begin(status))
    message = f"{server.url}: it has no model yet (status {status})"
    assert await why(client, Endpoint(url=server.url), folder) == message


async def test_a_model_with_the_known_etag_is_not_new(client: Client, server: ModelServer, folder: Path) -> None:
    server.answer(lambda connection: connection.begin(200, {"ETag": TAG, "Content-Length": "9"}))  # sends no body
    assert await from_server(client, Endpoint(url=server.url), TAG, folder) is None


async def test_without_etags_the_content_tells_what_is_new(client: Client, server: ModelServer, folder: Path) -> None:
    server.give(BODY)
    first = await fetch(client, server, folder)
    assert await from_server(client, Endpoint(url=server.url), first.etag, folder) is None
    assert list(folder.iterdir()) == [first.path]
    server.give(BODY + b"!")
    assert (await fetch(client, server, folder, first.etag)).etag != first.etag


# --- names and kinds ---


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("bot.tar.gz", "bot.tar.gz"),
        ("../../etc/passwd", "passwd.tar.gz"),
        ("/etc/cron.d/bot.tgz", "bot.tar.gz"),
        ("..\\..\\bot.zip", "bot.tar.gz"),
        ("C:\\models\\bot.tar.gz", "bot.tar.gz"),
        ("модель.tar.gz", "модель.tar.gz"),
        ("2026.01.bot", "2026.01.bot.tar.gz"),
        ("..", "model.tar.gz"),
        (".tar.gz", "model.tar.gz"),
        ("a/", "model.tar.gz"),
        ("", "model.tar.gz"),
        (b"bot\xff.tar.gz", "model.tar.gz"),
        (b"bot\x1b[2J.tar.gz", "model.tar.gz"),
        ("x" * 300, "model.tar.gz"),
    ],
)
async def test_of_the_name_that_the_server_gives_only_a_harmless_one_is_shown(
    client: Client, server: ModelServer, folder: Path, given: str | bytes, shown: str
) -> None:
    server.give(BODY, {"filename": given})
    fetched = await fetch(client, server, folder)
    assert (fetched.file, fetched.path.parent) == (shown, folder)


@pytest.mark.parametrize(("body", "suffix"), [(b"PK\x03\x04...", ".zip"), (BODY, ".tar.gz"), (b"", ".tar.gz")])
async def test_the_file_is_called_after_what_it_is(
    client: Client, server: ModelServer, folder: Path, body: bytes, suffix: str
) -> None:
    server.give(body)
    fetched = await fetch(client, server, folder)
    assert (fetched.path.name.endswith(suffix), fetched.file) == (True, f"model{suffix}")


async def test_an_archive_that_is_declared_to_be_compressed_stays_one(
    client: Client, server: ModelServer, folder: Path
) -> None:
    server.give(BODY, {"Content-Encoding": "gzip", "Content-Type": "application/x-tar"})
    assert (await fetch(client, server, folder)).path.read_bytes() == BODY
    assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_a_large_model_is_never_whole_in_memory(client: Client, server: ModelServer, folder: Path) -> None:
    def large(connection: Connection) -> None:
        connection.begin(200, {"Content-Length": str(64 * 2**20)})
        for _ in range(64):
            connection.send(bytes(2**20))

    server.answer(large)
    tracemalloc.start()
    fetched = await fetch(client, server, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fetched.path.stat().st_size == 64 * 2**20
    assert peak < 16 * 2**20


# --- no model ---


@pytest.mark.parametrize("status", [201, 206, 400, 401, 404, 500, 503])
async def test_another_status_brings_no_model(client: Client, server: ModelServer, folder: Path, status: int) -> None:
    server.give(BODY, status=status)
    message = f"{server.url}: it answers with status {status} where a model should come"
    assert await why(client, Endpoint(url=server.url), folder, TAG) == message


async def test_a_redirect_is_followed_and_the_password_stays_here(
    client: Client, server: ModelServer, folder: Path
) -> None:
    """As to a bucket that gives who knows the address a model."""
    endpoint = Endpoint(url=server.url, token=Secret("hidden"), basic_auth=BasicAuth("me", Secret("hidden")))
    with model_server() as bucket:
        bucket.give(BODY, {"ETag": TAG})
        server.give(b"", {"Location": f"{bucket.url}?signature=a%2Fb"}, status=302)
        fetched = await from_server(client, endpoint, None, folder)
        assert fetched is not None
        assert (fetched.path.read_bytes(), fetched.etag) == (BODY, TAG)
        assert await from_server(client, endpoint, TAG, folder) is None
    assert all(asked.query == [("signature", "a/b")] for asked in bucket.asked)
    assert not any("authorization" in asked.headers for asked in bucket.asked)


async def test_redirects_without_end_end(client: Client, server: ModelServer, folder: Path) -> None:
    server.give(b"", {"Location": server.url}, status=302)
    assert await why(client, Endpoint(url=server.url), folder) == f"{server.url}: it redirects without end"


async def test_nobody_is_there(client: Client, folder: Path) -> None:
    port = free_port()
    message = f"http://127.0.0.1:{port}/x: can't connect: Connection refused"
    assert await why(client, Endpoint(url=f"http://127.0.0.1:{port}/x?token=hidden"), folder) == message


@pytest.mark.parametrize("url", ["ftp://host/model", "host:8000/model", "file:///etc/passwd", "ws://host/", "/model"])
async def test_the_address_is_not_http(client: Client, folder: Path, url: str) -> None:
    assert await why(client, Endpoint(url=url), folder) == f"{url}: write its `url` as http://host:port/path"


async def test_there_is_no_address_at_all(client: Client, folder: Path) -> None:
    assert await why(client, Endpoint(), folder) == "the model server: write its `url` as http://host:port/path"


def never(connection: Connection) -> None:
    """Leave a client without an answer."""
    connection.server.closing.wait()


def drip(connection: Connection) -> None:
    """Send a body that has no end in time."""
    connection.begin(200, {"Content-Length": str(10**6)})
    while not connection.server.closing.wait(0.01):  # slowness is what this is for
        connection.send(b"x")


@pytest.mark.parametrize("slow", [never, drip])
async def test_a_server_is_too_slow(server: ModelServer, folder: Path, slow: Callable[[Connection], None]) -> None:
    server.answer(slow)
    async with Client(seconds=0.3) as client:
        message = await why(client, Endpoint(url=server.url), folder)
    assert message == f"{server.url}: no answer within 0.3 seconds"


@pytest.mark.parametrize("headers", [{"Content-Length": "100"}, {"Transfer-Encoding": "chunked"}])
async def test_only_half_of_it_comes(
    client: Client, server: ModelServer, folder: Path, headers: dict[str, str]
) -> None:
    def half(connection: Connection) -> None:
        connection.begin(200, headers)
        connection.send(b"14\r\n" + bytes(20) + b"\r\n")

    server.answer(half)
    assert await why(client, Endpoint(url=server.url), folder) == f"{server.url}: its answer broke off"


async def test_the_server_dies_amid_the_body(client: Client, server: ModelServer, folder: Path) -> None:
    def die(connection: Connection) -> None:
        connection.begin(200, {"Content-Length": str(10**6)})
        connection.send(bytes(1000))
        linger = struct.pack("ii", 1, 0)  # closing resets the connection then, as the end of a machine does
        connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    server.answer(die)
    message = await why(client, Endpoint(url=server.url), folder)
    assert message in (f"{server.url}: its answer broke off", f"{server.url}: the connection broke: Connection reset")


async def test_what_it_says_is_not_http(client: Client, server: ModelServer, folder: Path) -> None:
    server.answer(lambda connection: connection.send(b"\x1f\x8b\x08\r\n\r\n"))
    assert await why(client, Endpoint(url=server.url), folder) == f"{server.url}: what it answers is not HTTP"


async def test_a_model_that_is_declared_too_large_is_not_waited_for(
    client: Client, server: ModelServer, folder: Path
) -> None:
    def large(connection: Connection) -> None:
        connection.begin(200, {"Content-Length": "1001"})
        connection.server.closing.wait()

    server.answer(large)
    message = await why(client, Endpoint(url=server.url), folder, most=1000)
    assert message == f"{server.url}: the model is larger than 1,000 bytes"


async def test_a_model_without_end_is_left(client: Client, server: ModelServer, folder: Path) -> None:
    def endless(connection: Connection) -> None:
        connection.begin()
        while True:
            connection.send(bytes(100))

    server.answer(endless)
    message = await why(client, Endpoint(url=server.url), folder, most=1000)
    assert message == f"{server.url}: the model is larger than 1,000 bytes"


async def test_nothing_is_left_of_a_fetch_that_is_cancelled(client: Client, server: ModelServer, folder: Path) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin(connection: Connection) -> None:
        connection.begin(200, {"Content-Length": "1000"})
        connection.send(bytes(500))
        loop.call_soon_threadsafe(begun.set)
        connection.server.closing.wait()

    server.answer(begin)
    fetching = asyncio.create_task(fetch(client, server, folder))
    await begun.wait()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert list(folder.iterdir()) == []


async def test_there_is_no_place_for_it(client: Client, server: ModelServer, folder: Path) -> None:
    server.give(BODY)
    gone = folder / "gone"
    with pytest.raises(ModelUnavailable) as caught:
        await from_server(client, Endpoint(url=server.url), None, gone)
    assert str(caught.value) == f"{server.url}: the model can't be kept in {gone}: No such file or directory"


async def test_cafile_is_trusted(client: Client, folder: Path, tmp_path: Path) -> None:
    tls = Tls.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.server.certificate, tls.server.key)
    with model_server(tls=context) as server:
        server.give(BODY)
        endpoint = Endpoint(url=server.url, cafile=str(tls.authority))
        assert await from_server(client, endpoint, None, folder) is not None
        with pytest.raises(ModelUnavailable, match="its certificate is not trusted"):
            await from_server(client, Endpoint(url=server.url), None, folder)
