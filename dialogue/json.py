"""The wire JSON: read as Python's `json` module does, written in one canonical form.

Canonical is pure ASCII, compact, floats by their shortest repr. So U+0000 and lone surrogates survive any text column.
msgspec reads most texts, far faster than the standard library; what it refuses is read again by that one before it is
called wrong. msgspec cannot write ASCII, so writing is the standard library's.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 500
"""How many arrays and objects may stand inside each other. Half of the interpreter's recursion limit: what was read can
still be wrapped, compared and written by code that recurses."""

_DECODER = msgspec.json.Decoder()
_QUICK_ENCODER = msgspec.json.Encoder()
_SORTING_ENCODER = msgspec.json.Encoder(order="sorted")
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))
_SORTED_ENCODER = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"), sort_keys=True
)

# A string, even one that the text's end cuts off: every quote is then looked at once.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


class InvalidJson(ValueError):
    """A text is not JSON, or not within our limits; the message is one sentence that says why."""


def loads(body: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Integers are exact, of two equal keys the last wins, lone surrogates are kept.

    Raises InvalidJson for what is not JSON or not UTF-8, NaN and Infinity, floats that overflow a double, integers over
    4,300 digits, and nesting deeper than MAX_DEPTH.
    """
    refuse_depth(body)
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return loads_slowly(body)


def loads_slowly(body: bytes) -> Any:
    """Read as `loads` does, by the standard library alone; the caller has looked at the depth."""
    try:
        return json.loads(body.decode(), parse_float=_float, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(str(error)) from None
    except RecursionError:
        raise InvalidJson("nested too deep to be read here") from None
    except InvalidJson:
        raise
    except ValueError as error:
        # The interpreter's own limit on the digits of an integer.
        raise InvalidJson(str(error).split(";")[0]) from None


def dumps(value: Any) -> str:
    """Return the canonical text of a value made of dicts, lists, strings, numbers, booleans and None.

    Raises ValueError for NaN and infinities.
    """
    return _ENCODER.encode(value)


def dumps_quickly(value: Any) -> str:
    """Return an ASCII JSON text of a value, for answers: several times faster than the canonical one for most values.

    It says the same, but may write floats with large exponents otherwise (`1e16`, not `1e+16`).
    """
    try:
        text = _QUICK_ENCODER.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return dumps(value)
    return text.decode() if text.isascii() else dumps(value)


def dumps_sorted(value: Any) -> str:
    """Return what `dumps_quickly` does, the keys of every object sorted."""
    try:
        text = _SORTING_ENCODER.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return _SORTED_ENCODER.encode(value)
    return text.decode() if text.isascii() else _SORTED_ENCODER.encode(value)


def refuse_depth(body: bytes) -> None:
    """Raise InvalidJson if brackets nest deeper than MAX_DEPTH; costs two counts for a text with few brackets."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        brackets = _BRACKET.findall(_STRING.sub(b"", body))
        if max(accumulate(_STEP[bracket] for bracket in brackets), default=0) > MAX_DEPTH:
            raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidJson(f"the number {text[:40]} is too large")
    return value


def _constant(text: str) -> NoReturn:
    raise InvalidJson(f"{text} is not JSON")
