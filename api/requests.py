"""What requests say in their path, query and headers, and the errors for what they say wrong."""

from __future__ import annotations

import hashlib
import math
import os
import re
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from api.errors import BadRequest
from eventstore import check_conversation_id
from projections import VERBOSITIES, Verbosity

if TYPE_CHECKING:
    from sanic import Request

DEFAULT_CONVERSATION: Final = "default"
MAX_REQUEST_ID: Final = 200
MAX_WHOLE: Final = 2**62  #: half of what the database's integers hold: there is room to add a limit
MAX_DIGITS: Final = 19
MAX_EVENTS: Final = 50_000  #: of one request; more would keep the other requests of the process waiting

_REQUEST_ID: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_REQUEST_ID}}}")
_IF_MATCH: Final = re.compile(r'(?:W/)?"(\d{1,18})(?:-[^"]*)?"')
_NUMBER: Final = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?")
_PROCESS: Final = os.urandom(6).hex()
_numbers = count(1)


def conversation_id(raw: str) -> str:
    """The conversation that a path names: percent-decoded as UTF-8; an empty one is `default`, as in Rasa.

    Raises:
        BadRequest: it can't be a conversation's id.
    """
    if "%" in raw:
        try:
            raw = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise BadRequest("The conversation id is not UTF-8.", "conversation_id", "path") from None
    try:
        check_conversation_id(raw or DEFAULT_CONVERSATION)
    except ValueError as error:
        raise BadRequest(f"Invalid conversation id: {error}.", "conversation_id", "path") from None
    return raw or DEFAULT_CONVERSATION


def request_id(request: Request) -> str:
    """The request's own `X-Request-ID` where it is printable and short, else a new one."""
    given: str | None = request.headers.get("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{_PROCESS}-{next(_numbers):x}"


def query(request: Request, name: str) -> str | None:
    """A query parameter: its first value; an empty one counts as absent."""
    text: str = request.query_string
    if "%" in text or "+" in text:
        return dict(reversed(parse_qsl(text))).get(name)
    for pair in text.split("&"):  # much faster than parse_qsl, on the way of every request
        key, _, value = pair.partition("=")
        if key == name and value:
            return value
    return None


def all_given(request: Request) -> dict[str, str]:
    """Every query parameter: its first value, also where that is empty."""
    text: str = request.query_string
    return dict(reversed(parse_qsl(text, keep_blank_values=True))) if text else {}


def verbosity(request: Request) -> Verbosity:
    """`include_events`, in any case; AFTER_RESTART when it is absent.

    Raises:
        BadRequest: there is no such verbosity.
    """
    given = query(request, "include_events")
    if given is None:
        return "AFTER_RESTART"
    for known in VERBOSITIES:
        if known == given.upper():
            return known
    raise BadRequest(
        f"Invalid parameter value for 'include_events'. Should be one of {', '.join(VERBOSITIES)}",
        "include_events",
        "query",
    )


def truth(request: Request, name: str) -> bool:
    """A query parameter that says `true`, in any case."""
    return (query(request, name) or "").lower() == "true"


def until(request: Request) -> float | None:
    """`until` in Unix seconds; what is not a number counts as absent, as in Rasa."""
    try:
        value = float(query(request, "until") or "nan")
    except ValueError:
        return None
    return None if math.isnan(value) else value


def whole(
    request: Request, name: str, default: int | None = None, *, low: int = 0, high: int = MAX_WHOLE
) -> int | None:
    """A query parameter that is a whole number.

    Raises:
        BadRequest: it is something else, or out of bounds.
    """
    given = query(request, name)
    if given is None:
        return default
    if given.isascii() and given.isdecimal() and len(given) <= MAX_DIGITS and low <= int(given) <= high:
        return int(given)
    raise BadRequest(f"{name!r} must be a whole number from {low} to {high}, is {given[:80]!r}.", name, "query")


def expected_version(request: Request) -> int | None:
    """The version in `If-Match`: the one in the conversation's ETag; -1 for `*`, any but 0; None without the header.

    Raises:
        BadRequest: it is no ETag of a conversation.
    """
    given = request.headers.get("if-match")
    if given is None:
        return None
    if given.strip() == "*":
        return -1
    match = _IF_MATCH.fullmatch(given.strip())
    if match is None:
        raise BadRequest(f'If-Match must be one ETag such as "12", or *, is {given[:80]!r}.', "If-Match", "header")
    return int(match[1])


def is_not_modified(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names this ETag; weak comparison, as RFC 9110 13.1.2 wants."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in given.split(",")]


def idempotency_key(request: Request) -> str | None:
    """`Idempotency-Key`, 1 to 255 bytes.

    Raises:
        BadRequest: it is empty or longer.
    """
    key: str | None = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key.encode("utf-8", "surrogateescape")) <= 255 or not key.isprintable():
        raise BadRequest("Idempotency-Key must have 1 to 255 printable bytes.", "Idempotency-Key", "header")
    return key


def fingerprint(request: Request) -> bytes:
    """A hash of what makes two requests the same: method, path, body, query but for `token` and `include_events`."""
    pairs = parse_qsl(request.query_string, keep_blank_values=True)
    kept = urlencode([pair for pair in pairs if pair[0] not in ("token", "include_events")])
    head = "\n".join((request.method, request.path, kept))
    return hashlib.sha256(head.encode("utf-8", "surrogateescape") + b"\n" + request.body).digest()


def moment(text: str, name: str) -> datetime:
    """A point in time: ISO 8601 (without an offset: UTC), or Unix seconds.

    Raises:
        BadRequest: it is neither.
    """
    try:
        if _NUMBER.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        time = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that the client did not encode
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        message = f"{name!r} must be a time in ISO 8601 or in Unix seconds, is {text[:80]!r}."
        raise BadRequest(message, name, "query") from None
