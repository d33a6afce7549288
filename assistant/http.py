"""Calls to other services: one client for all of them, which keeps its connections for a moment."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

import dialogue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from assistant.endpoint import Endpoint

TIMEOUT_SECONDS: Final = 300.0
# Shorter than any server keeps an idle connection. Else a call may go out on one that the server is just closing, and
# fail; it can't be sent again, because nobody knows whether it has had its effect.
_IDLE_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 2**18
_MOST_CONNECTIONS: Final = 500  # of a process; further calls wait for one
_JSON: Final = re.compile(r"[^/]+/(?:[^+]+\+)?json")


class Answer(msgspec.Struct, frozen=True):
    """What a service answered, whatever its status; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The value in the body.

        Raises:
            InvalidJson: it is not JSON, or the content type names something else.
        """
        content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _JSON.fullmatch(content_type):
            raise dialogue.InvalidJson(f"its content type is {content_type or 'absent'}, not application/json")
        return dialogue.loads(self.body)


class Download(msgspec.Struct, frozen=True):
    """An answer whose body comes bit by bit, as it was sent; the names of its headers are in lower case.

    `body` gives each part once, and raises CallFailed when it breaks off.
    """

    status: int
    headers: dict[str, str]
    body: AsyncIterator[bytes]


class CallFailed(Exception):
    """A call got no answer. The message names the address, without anything secret, and says why in `reason`."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class Client:
    """Calls endpoints, many at a time. Make it inside the event loop, and close it there, best by `async with`.

    A call ends after `seconds`, waiting for a connection included. Nothing is sent twice. Cookies are not kept, since
    all conversations share the connections; redirects are followed.
    """

    def __init__(self, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._trusted: dict[str, ssl.SSLContext] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        await self._session.close()

    async def post(
        self, endpoint: Endpoint, body: bytes, *, path: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Post a JSON text to an endpoint, or to a `path` below it, with all that the endpoint wants to see of us.

        Raises:
            CallFailed: there was no answer.
        """
        return await self._call("POST", endpoint, path, _headers(endpoint, headers or {}), body)

    async def get(self, endpoint: Endpoint, *, path: str = "") -> Answer:
        """Ask an endpoint, or a `path` below it, with its own parameters.

        Raises:
            CallFailed: there was no answer.
        """
        return await self._call("GET", endpoint, path, endpoint.headers, None)

    @asynccontextmanager
    async def download(self, endpoint: Endpoint, headers: Mapping[str, str]) -> AsyncIterator[Download]:
        """Ask an endpoint for something large. The body is neither decoded nor kept.

        All of it, what its reader does with it included, has the time of one call.

        Raises:
            CallFailed: there was no answer.
        """
        wanted = _headers(endpoint, {"Accept-Encoding": "identity", **headers})
        with self._failures(endpoint):
            response = await self._request("GET", endpoint, "", wanted, None, decodes=False)
        async with response, aclosing(self._parts(response, endpoint)) as parts:
            yield Download(response.status, _lowered(response), parts)

    async def _parts(self, response: aiohttp.ClientResponse, endpoint: Endpoint) -> AsyncGenerator[bytes]:
        with self._failures(endpoint):
            async for part in response.content.iter_chunked(_CHUNK_BYTES):
                yield part

    async def _call(
        self, method: str, endpoint: Endpoint, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        with self._failures(endpoint):
            async with await self._request(method, endpoint, path, headers, body) as response:
                return Answer(response.status, _lowered(response), await response.read())

    async def _request(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        decodes: bool = True,
    ) -> aiohttp.ClientResponse:
        if endpoint.url is None:
            raise CallFailed("the endpoint", "its section gives no `url`")
        return await self._session.request(
            method,
            f"{endpoint.url.rstrip('/')}/{path}" if path else endpoint.url,
            data=body,
            params=list(_query(endpoint)),
            headers=headers,
            ssl=self._tls(endpoint),
            auto_decompress=decodes,
        )

    @contextmanager
    def _failures(self, endpoint: Endpoint) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(endpoint.public_url or "", self._reason(error, endpoint)) from error

    def _tls(self, endpoint: Endpoint) -> ssl.SSLContext | bool:
        if endpoint.cafile is None:
            return True
        if endpoint.cafile not in self._trusted:
            self._trusted[endpoint.cafile] = ssl.create_default_context(cafile=endpoint.cafile)
        return self._trusted[endpoint.cafile]

    def _reason(self, error: Exception, endpoint: Endpoint) -> str:
        """Why there was no answer. Not the errors' own texts: those may hold the whole address."""
        match error:
            case TimeoutError():
                return f"no answer within {self._seconds:g} seconds"
            case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as fault):
                return f"its certificate is not trusted: {fault.verify_message}"
            case aiohttp.ClientConnectorError():
                return f"can't connect: {_text_of(error)}"
            case aiohttp.ClientOSError():
                return f"the connection broke: {_text_of(error)}"
            case aiohttp.ServerDisconnectedError():
                return "it closed the connection without an answer"
            case aiohttp.ClientPayloadError():
                return "its answer broke off"
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                return "the address is not one of HTTP; write it as http://host:port/path"
            case aiohttp.TooManyRedirects():
                return "it redirects without end"
            case aiohttp.ClientResponseError():
                return "what it answers is not HTTP"
            case OSError():
                return f"its cafile {endpoint.cafile} can't be used: {_text_of(error)}"
        return f"the request can't be made: {type(error).__name__}"


def _text_of(error: OSError) -> str:
    """The system's words for an error; asyncio and uvloop have their own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def _lowered(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _query(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    for name, value in endpoint.params.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield str(name), str(item).lower() if isinstance(item, bool) else str(item)
    if endpoint.token is not None:
        yield endpoint.token_name, endpoint.token.value


def _headers(endpoint: Endpoint, ours: Mapping[str, str]) -> dict[str, str]:
    """All headers of a request; those that the endpoint asks for replace ours of the same name."""
    theirs = {name.lower() for name in endpoint.headers}
    usual = {"Content-Type": "application/json", **ours, **_credentials(endpoint)}
    return {name: value for name, value in usual.items() if name.lower() not in theirs} | endpoint.headers


def _credentials(endpoint: Endpoint) -> dict[str, str]:
    given = endpoint.basic_auth
    if given is None:
        return {}
    text = f"{given.username}:{given.password.value}".encode()
    return {"Authorization": f"Basic {base64.b64encode(text).decode()}"}
