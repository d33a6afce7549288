"""What the tests of the HTTP surface share: the services they ask, and a client that sends whatever it is told."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tests.service import Answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

SECONDS: Final = 30.0  #: after which a silent server counts as broken
HOST: Final = "127.0.0.1"


class Client:
    """Sends requests over one connection, made again when the server closes it. Paths and bodies go as given."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        if tls is None:
            self._connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
        else:
            self._connection = http.client.HTTPSConnection(HOST, port, timeout=SECONDS, context=tls)

    def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Answer:
        """The answer to a request; a `body` that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self._connection.request(method, path + query, data, dict(headers or {}))
        response = self._connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """The answer to a GET; underscores in the names of headers become dashes."""
        return self.send("GET", path, headers=_headers(headers))

    def tracker(self, conversation: str, query: str = "", **headers: str) -> Answer:
        """The answer to a GET of a tracker."""
        return self.get(f"/conversations/{quote(conversation, safe='')}/tracker{query}", **headers)

    def post(self, conversation: str, body: object, query: str = "", **headers: str) -> Answer:
        """The answer to events that are posted."""
        return self.send("POST", events_of(conversation), body, _headers(headers), query)

    def put(self, conversation: str, body: object, query: str = "", **headers: str) -> Answer:
        """The answer to events that replace a conversation."""
        return self.send("PUT", events_of(conversation), body, _headers(headers), query)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _headers(names: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in names.items()}


def events_of(conversation: str) -> str:
    """The path to which a conversation's events are posted."""
    return f"/conversations/{quote(conversation, safe='')}/tracker/events"


def new_id() -> str:
    """A conversation that nobody has used."""
    return f"c-{secrets.token_hex(6)}"


def slot(value: Any, name: str = "city") -> dict[str, Any]:
    """A slot event."""
    return {"event": "slot", "name": name, "value": value}


def values(answer: Answer) -> list[Any]:
    """The values of the slot events in a document."""
    return [event["value"] for event in answer.json()["events"] if event["event"] == "slot"]


def envelope(answer: Answer, status: int, reason: str) -> dict[str, Any]:
    """The error of an answer, whose shape is checked."""
    assert answer.status == status, answer
    error: dict[str, Any] = answer.json()
    assert list(error) == ["version", "status", "message", "reason", "details", "help", "code"]
    assert (error["version"], error["status"], error["code"]) == ("3.6.21", "failure", status)
    assert error["reason"] == reason, error
    assert error["message"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    return error


def raw(port: int, request: bytes, seconds: float = SECONDS) -> bytes:
    """Everything that comes back for these bytes until the server closes, which the request should ask for."""
    with socket.create_connection((HOST, port), timeout=seconds) as connection:
        connection.sendall(request)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    """All bytes until the server closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # it closed while we still had something to say
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    """The status of a raw answer; 0 when there was none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0
