"""A model server that answers as a test tells it, in threads of its own: services in other processes use it too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping


class Asked(Struct, frozen=True):
    """A request; the names of its headers are in lower case."""

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]


class ModelServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1. All that it was asked is in `asked`; `closing` is set when it ends."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.answering: Answering = lambda connection: connection.begin(404)
        self._scheme = "https" if tls else "http"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where its model is."""
        return f"{self._scheme}://localhost:{self.server_port}/models/newest"

    def answer(self, answering: Answering) -> None:
        """Answer every request so from now on; the connection is closed when that is done."""
        self.answering = answering

    def give(self, body: bytes, headers: Mapping[str, str | bytes] | None = None, status: int = 200) -> None:
        """Give a model from now on, but to nobody who says that he has the one with this ETag."""
        given = dict(headers or {})

        def answering(connection: Connection) -> None:
            if "ETag" in given and connection.asked.headers.get("if-none-match") == given["ETag"]:
                connection.begin(304)
            else:
                connection.begin(status, {"Content-Length": str(len(body)), **given})
                connection.send(body)

        self.answer(answering)


class Connection(BaseHTTPRequestHandler):
    """The server's end of a connection, and what came on it."""

    server: ModelServer
    asked: Asked

    def do_GET(self) -> None:
        """Answer as the server was told."""
        target = urlsplit(self.path)
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()}
        self.asked = Asked(unquote(target.path), parse_qsl(target.query), headers)
        self.server.asked.append(self.asked)
        with suppress(ConnectionError):  # the client may go
            self.server.answering(self)

    def begin(self, status: int = 200, headers: Mapping[str, str | bytes] | None = None) -> None:
        """Send status and headers."""
        lines = [b"HTTP/1.1 %d Said" % status, b"Connection: close"]
        for name, value in (headers or {}).items():
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


Answering = Callable[[Connection], None]


@contextmanager
def model_server(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[ModelServer]:
    """One that runs in the block; on a free port, unless one is named."""
    with ModelServer(port, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
