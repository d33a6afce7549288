"""A server that answers as a test tells it: with any bytes, late, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


class Request(Struct, frozen=True):
    """What came; the names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int  #: the how-manieth it came on

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters in the target."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


Answer = bytes | None | Callable[[Request], Awaitable[bytes | None]]


class Scripted:
    """Gives one answer to every request; None closes the connection, as does it after `closes_after` answers.

    All that came is in `requests`.
    """

    def __init__(self, answer: Answer, closes_after: int | None = None) -> None:
        self.requests: list[Request] = []
        self.connections: list[asyncio.Task[object]] = []
        self.port = 0
        self._answer = answer
        self._closes_after = closes_after

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """Where it takes calls."""
        return f"http://{self.address}/webhook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on a connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.append(task)
        number = len(self.connections)
        try:
            for _ in count() if self._closes_after is None else range(self._closes_after):
                answer = await self._answered(await _read(reader, number))
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed
        finally:
            writer.close()

    async def _answered(self, request: Request) -> bytes | None:
        self.requests.append(request)
        if self._answer is None or isinstance(self._answer, bytes):
            return self._answer
        return await self._answer(request)


async def _read(reader: asyncio.StreamReader, connection: int) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, target, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, connection)


@asynccontextmanager
async def scripted(
    answer: Answer, tls: ssl.SSLContext | None = None, closes_after: int | None = None
) -> AsyncIterator[Scripted]:
    """A server on a port of its own."""
    script = Scripted(answer, closes_after)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for connection in script.connections:
            connection.cancel()
        await asyncio.gather(*script.connections, return_exceptions=True)


def reply(value: object, status: int = 200, content_type: str | None = "application/json", more: str = "") -> bytes:
    """An answer; a `value` that is no bytes goes out as JSON. `more` are lines of headers."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"HTTP/1.1 {status} Said\r\n{kind}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
