"""The client of other services: what it sends, which answers it takes, and what it says when there is none."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from assistant.endpoint import BasicAuth, Endpoint
from assistant.http import Answer, CallFailed, Client
from assistant.secret import Secret
from dialogue import InvalidJson
from tests.assistant.scripted import Request, reply, scripted
from tests.certificates import Tls
from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = reply({"answer": 42})


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


async def why(client: Client, endpoint: Endpoint) -> str:
    """The whole message of a call that fails."""
    with pytest.raises(CallFailed) as caught:
        await client.post(endpoint, b"{}")
    return str(caught.value)


async def test_the_answer_has_status_headers_and_body(client: Client) -> None:
    async with scripted(reply({"x": 1}, 418, more="X-Thing: Tea\r\n")) as server:
        answer = await client.post(Endpoint(url=server.url), b"[1]")
    assert (answer.status, answer.headers["x-thing"], answer.json()) == (418, "Tea", {"x": 1})
    assert (server.requests[0].method, server.requests[0].path, server.requests[0].body) == ("POST", "/webhook", b"[1]")
    assert server.requests[0].headers["content-type"] == "application/json"


async def test_parameters_and_the_token_join_the_query_of_the_address(client: Client) -> None:
    async with scripted(OK) as server:
        endpoint = Endpoint(
            url=server.url + "?code=1",
            params={"a": "é&", "flag": True, "many": [1, 2], "none": None},
            token=Secret("t?"),
            token_name="key",
        )
        await client.post(endpoint, b"{}")
    query = [("code", "1"), ("a", "é&"), ("flag", "true"), ("many", "1"), ("many", "2"), ("key", "t?")]
    assert server.requests[0].query == query


async def test_headers_of_the_endpoint_come_before_ours(client: Client) -> None:
    async with scripted(OK) as server:
        endpoint = Endpoint(url=server.url, headers={"X-Key": "k", "content-type": "application/x+json"})
        await client.post(endpoint, b"{}", headers={"Content-Encoding": "identity"})
    assert server.requests[0].headers["x-key"] == "k"
    assert server.requests[0].headers["content-type"] == "application/x+json"
    assert server.requests[0].headers["content-encoding"] == "identity"


async def test_basic_authentication_is_in_utf_8(client: Client) -> None:
    async with scripted(OK) as server:
        await client.post(Endpoint(url=server.url, basic_auth=BasicAuth("jörg", Secret("pä:ß"))), b"{}")
    scheme, _, credentials = server.requests[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(credentials).decode()) == ("Basic", "jörg:pä:ß")


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_path_stands_below_the_address(client: Client, slash: str) -> None:
    async with scripted(OK) as server:
        await client.post(Endpoint(url=server.url + slash), b"{}", path="model/parse")
    assert server.requests[0].path == "/webhook/model/parse"


async def test_connections_are_used_again(client: Client) -> None:
    async with scripted(OK) as server:
        for _ in range(3):
            await client.post(Endpoint(url=server.url), b"{}")
        assert [request.connection for request in server.requests] == [1, 1, 1]


async def test_cookies_are_not_kept(client: Client) -> None:
    async with scripted(reply({}, more="Set-Cookie: who=me\r\n")) as server:
        for _ in range(2):
            await client.post(Endpoint(url=server.url), b"{}")
    assert "cookie" not in server.requests[1].headers


async def test_redirects_are_followed(client: Client) -> None:
    async def answer(request: Request) -> bytes:
        return OK if request.path == "/there" else reply(b"", 307, more="Location: /there\r\n")

    async with scripted(answer) as server:
        assert (await client.post(Endpoint(url=server.url), b"[7]")).json() == {"answer": 42}
    assert (server.requests[1].method, server.requests[1].body) == ("POST", b"[7]")


def test_many_calls_are_under_way_at_once_on_uvloop() -> None:
    together = 250

    async def ask() -> list[Any]:
        everybody_is_there = asyncio.Barrier(together)

        async def answer(request: Request) -> bytes:
            await everybody_is_there.wait()
            return reply(request.json())

        async with scripted(answer) as server, Client() as client:
            endpoint = Endpoint(url=server.url)
            answers = await asyncio.gather(*(client.post(endpoint, str(n).encode()) for n in range(together)))
            return [each.json() for each in answers]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == list(range(together))


# --- reading ---


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "text/x.y+json"])
def test_json_is_known_by_its_content_type(content_type: str) -> None:
    assert Answer(200, {"content-type": content_type}, b'{"a": 1.0}').json() == {"a": 1.0}


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-type": "application/jsonx"}])
def test_another_content_type_is_not_json(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidJson, match="its content type is"):
        Answer(200, headers, b"{}").json()


def test_broken_json_is_refused() -> None:
    with pytest.raises(InvalidJson):
        Answer(200, {"content-type": "application/json"}, b'{"a":').json()


# --- failing ---


async def test_nobody_listens(client: Client) -> None:
    port = free_port()
    message = await why(client, Endpoint(url=f"http://127.0.0.1:{port}/x"))
    assert message == f"http://127.0.0.1:{port}/x: can't connect: Connection refused"


async def test_there_is_no_such_host(client: Client) -> None:
    assert "http://none.invalid: can't connect: " in await why(client, Endpoint(url="http://none.invalid"))


@pytest.mark.parametrize("url", ["localhost:5055/webhook", "ftp://x/y", "http://:80/", "/webhook", ""])
async def test_the_address_is_not_one_of_http(client: Client, url: str) -> None:
    assert "is not one of HTTP; write it as http://host:port/path" in await why(client, Endpoint(url=url))


async def test_there_is_no_address(client: Client) -> None:
    assert await why(client, Endpoint()) == "the endpoint: its section gives no `url`"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "it closed the connection without an answer"),
        (b"hello\r\n\r\n", "what it answers is not HTTP"),
        (reply(b"", 302, more="Location: /webhook\r\n"), "it redirects without end"),
    ],
)
async def test_there_is_no_answer(client: Client, answer: bytes | None, reason: str) -> None:
    async with scripted(answer) as server:
        assert await why(client, Endpoint(url=server.url)) == f"{server.url}: {reason}"


async def test_the_answer_breaks_off(client: Client) -> None:
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", closes_after=1) as server:
        assert (await why(client, Endpoint(url=server.url))).endswith(": its answer broke off")


async def test_the_answer_takes_too_long() -> None:
    async def never(_request: Request) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with scripted(never) as server, Client(seconds=0.05) as client:
        assert (await why(client, Endpoint(url=server.url))).endswith(": no answer within 0.05 seconds")


async def test_nothing_is_sent_twice(client: Client) -> None:
    async with scripted(None) as server:
        await why(client, Endpoint(url=server.url))
        assert len(server.requests) == 1


async def test_no_secret_is_named(client: Client) -> None:
    endpoint = Endpoint(
        url="http://user:hidden1@none.invalid/x?code=hidden2",
        params={"key": "hidden3"},
        headers={"X": "hidden4"},
        token=Secret("hidden5"),
    )
    message = await why(client, endpoint)
    assert message.startswith("http://none.invalid/x: ")
    assert "hidden" not in message + repr(endpoint)


async def test_a_header_that_cannot_be_sent(client: Client) -> None:
    async with scripted(OK) as server:
        message = await why(client, Endpoint(url=server.url, headers={"X": "a\nhidden"}))
    assert message == f"{server.url}: the request can't be made: ValueError"


# --- certificates ---


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls.make(tmp_path)


def server_side(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.server.certificate, tls.server.key)
    return context


async def test_cafile_is_trusted(client: Client, tls: Tls) -> None:
    async with scripted(OK, server_side(tls)) as server:
        endpoint = Endpoint(url=f"https://{server.address}/", cafile=str(tls.authority))
        assert (await client.post(endpoint, b"{}")).json() == {"answer": 42}


async def test_an_unknown_certificate_is_not_trusted(client: Client, tls: Tls) -> None:
    async with scripted(OK, server_side(tls)) as server:
        message = await why(client, Endpoint(url=f"https://{server.address}/"))
        assert f"https://{server.address}/: its certificate is not trusted: " in message


async def test_cafile_is_not_there(client: Client) -> None:
    message = await why(client, Endpoint(url="https://127.0.0.1:1/", cafile="/no/such.pem"))
    assert message == "https://127.0.0.1:1/: its cafile /no/such.pem can't be used: No such file or directory"
