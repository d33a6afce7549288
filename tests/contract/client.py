"""Sends a recorded request: fills its templates, signs its JWT, and gives back the answer as it came.

Templates: `${conv}` is the conversation's id, `${conv_enc}` the same percent-encoded and `${conv_path}` with its
slashes kept; `${run}` a random id, `${runnum}` the same in digits; `${now-10}` Unix seconds, `${iso+60}` and
`${isonaive}` times as text. Not every request that was recorded could be sent by a well-behaved client, so this one is
close to the socket.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from msgspec import Struct

Request = dict[str, Any]

SECONDS: Final = 30.0  #: after which a silent server counts as broken
_TEMPLATE: Final = re.compile(r"\$\{(\w+)([+-][\d.]+)?\}")
_HASHES: Final = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


class Answer(Struct, frozen=True):
    """What came back; `status` is None when the connection broke without an answer. Names of headers are lower-case."""

    status: int | None
    headers: dict[str, str] = {}
    raw: bytes = b""


class Names(Struct, frozen=True):
    """What one run of a scenario puts into its templates."""

    run: str
    conv: str

    @classmethod
    def draw(cls, conv: str) -> Names:
        """Fresh names; `conv` is the template of the conversation's id."""
        run = secrets.token_hex(5)
        return cls(run, cls(run, "").text(conv))

    def text(self, template: str) -> str:
        """The template as text."""
        return _TEMPLATE.sub(lambda match: str(self._value(match)), template)

    def value(self, template: Any) -> Any:
        """A JSON value with its templates filled. A string that is a template and nothing else may become a number."""
        if isinstance(template, str):
            whole = _TEMPLATE.fullmatch(template)
            return self._value(whole) if whole else self.text(template)
        if isinstance(template, list):
            return [self.value(item) for item in template]
        if isinstance(template, dict):
            return {self.text(key): self.value(item) for key, item in template.items()}
        return template

    def _value(self, match: re.Match[str]) -> str | float:
        at = time.time() + float(match[2] or 0)
        utc = datetime.fromtimestamp(at, UTC)
        values: dict[str, str | float] = {
            "conv": self.conv,
            "conv_enc": quote(self.conv, safe=""),
            "conv_path": quote(self.conv, safe="/"),
            "run": self.run,
            "runnum": str(int(self.run, 16)),
            "now": at,
            "iso": utc.isoformat(),
            "isonaive": utc.replace(tzinfo=None).isoformat(),
        }
        return values[match[1]]


def send(port: int, request: Request, names: Names) -> Answer:
    """Send the request to 127.0.0.1 on a connection of its own, as long after the one before as it was recorded."""
    time.sleep(request.get("sleep_before", 0))
    body = _body(request, names)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=request.get("timeout", SECONDS))
    with contextlib.closing(connection):
        try:
            return _exchange(connection, request, body, names)
        except (OSError, http.client.HTTPException):
            return Answer(None)


def _exchange(connection: http.client.HTTPConnection, request: Request, body: bytes | None, names: Names) -> Answer:
    connection.putrequest(request["method"], _target(request, names), skip_accept_encoding=True)
    for name, value in _headers(request, body, names).items():
        connection.putheader(name, value)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while still sending: read why
        connection.endheaders(body)
    response = connection.getresponse()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def _target(request: Request, names: Names) -> str:
    path = names.text(request["path"])
    match request.get("query"):
        case dict() as query:
            return f"{path}?{urlencode(names.value(query))}"
        case str() as query:
            return f"{path}?{names.text(query)}"
    return path


def _headers(request: Request, body: bytes | None, names: Names) -> dict[str, str]:
    headers = {name: names.text(value) for name, value in request.get("headers", {}).items()}
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    if "jwt" in request:
        headers["Authorization"] = f"{request.get('auth_scheme', 'Bearer')} {_jwt(request['jwt'], names)}"
    if body is not None or request["method"] in ("POST", "PUT"):
        headers["Content-Length"] = str(request.get("fake_content_length", len(body or b"")))
    return headers


def _body(request: Request, names: Names) -> bytes | None:
    if "generate" in request:
        return _generated(**request["generate"]).encode()
    if "json" in request:
        return json.dumps(names.value(request["json"])).encode()
    if "body" in request:
        return names.text(request["body"]).encode()
    return base64.b64decode(request["body_b64"]) if "body_b64" in request else None


def _generated(kind: str, n: int) -> str:
    """Bodies that are too large to be in a file."""
    slot = {"event": "slot", "name": "anything"}
    if kind == "many_slots":
        return json.dumps([{**slot, "value": i, "timestamp": 1600000000 + i} for i in range(n)])
    value = {"slot_value_bytes": lambda: json.dumps("x" * n), "deep": lambda: "[" * n + "]" * n}[kind]()
    return f'{json.dumps(slot)[:-1]}, "value": {value}}}'


def _jwt(spec: dict[str, Any], names: Names) -> str:
    """A JWT as `spec` says, whatever is wrong with it."""
    algorithm = spec.get("alg", "HS256")
    claims = names.value(spec.get("payload", {}))
    head = _part({"alg": algorithm, "typ": "JWT", **spec.get("header", {})})
    if algorithm == "none":
        return f"{head}.{_part(claims)}."
    signed = f"{head}.{_part(claims)}".encode()
    signature = _base64url(hmac.new(spec["secret"].encode(), signed, _HASHES[algorithm]).digest())
    if spec.get("tamper") == "payload":
        claims |= {"user": {"username": "evil", "role": "admin"}}
    if spec.get("tamper") == "sig":
        signature = ("B" if signature.startswith("A") else "A") + signature[1:]
    return f"{head}.{_part(claims)}.{signature}"


def _part(value: object) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
