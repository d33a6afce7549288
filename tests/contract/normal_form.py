"""What an answer looks like when everything that differs from run to run is a placeholder, and how two are compared.

`<TS>` a time about now in Unix seconds, `<ISO>` the same as text, `<HEX32>` and `<UUID>` generated ids, `<CONV>`,
`<CONV%>` and `<CONV%/>` the conversation's id bare or percent-encoded, `<RUN>` a random id, `<ADDR>` an address in
memory, `<REASON>` the words in which a schema's validator puts it. `<IGNORED>` in a recording is equal to anything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable  # read when Like is made
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.client import Names

IGNORED: Final = "<IGNORED>"
NOW: Final = 4000.0  #: seconds around a run that count as now: some requests post times of an hour ago

_HEX32: Final = re.compile(r"\b[0-9a-f]{32}\b")
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{6,16}")
_REASON: Final = re.compile(r"(Failed to validate the events format\..*? Error: ).*", re.DOTALL)
_ISO: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00:00|Z)?")


class Like(Struct, frozen=True):
    """In an expected body: whatever `test` accepts; `what` says in words what that is."""

    what: str
    test: Callable[[Any], bool]


class NormalForm:
    """Puts placeholders into the answers of one run of a scenario, which lasted from `begin` to `end`."""

    def __init__(self, names: Names, begin: float, end: float) -> None:
        self._names = names
        self._first, self._last = begin - NOW, end + NOW

    def of(self, raw: bytes) -> Any:
        """The normal form of a body: of a JSON value, or of text."""
        text = raw.decode("utf-8", "replace")
        try:
            return self._value(json.loads(text))
        except ValueError:
            return self._text(text)

    def _value(self, value: Any) -> Any:
        match value:
            case dict():
                return {self._text(key): self._value(item) for key, item in value.items()}
            case list():
                return [self._value(item) for item in value]
            case float() if self._first <= value <= self._last:
                return "<TS>"
            case str():
                text = self._text(value)
                return "<ISO>" if self._is_about_now(text) else text
        return value

    def _is_about_now(self, text: str) -> bool:
        match = _ISO.fullmatch(text)
        if match is None:
            return False
        return self._first <= datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() <= self._last

    def _text(self, text: str) -> str:
        conv = self._names.conv
        for form, label in (
            (conv, "<CONV>"),
            (conv.replace("/", "\\/"), "<CONV>"),
            (quote(conv, safe=""), "<CONV%>"),
            (quote(conv, safe="/"), "<CONV%/>"),
        ):
            text = text.replace(form, label)
        text = _REASON.sub(r"\1<REASON>", text.replace(self._names.run, "<RUN>"))
        return _ADDRESS.sub("<ADDR>", _UUID.sub("<UUID>", _HEX32.sub("<HEX32>", text)))


def fingerprint(body: Any) -> str:
    """The hash that stands for a large body in the recordings."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def deviations(expected: Any, actual: Any, path: str = "$") -> Iterator[str]:
    """Where two normal forms differ, each as a line. Numbers are equal by value, also whole ones; keys are ordered."""
    if expected == IGNORED:
        return
    if isinstance(expected, Like):
        if not expected.test(actual):
            yield f"{path}: is {_short(actual)}, not {expected.what}"
    elif isinstance(expected, dict) and isinstance(actual, dict):
        if list(expected) != list(actual):
            yield f"{path}: the keys are {list(actual)}, not {list(expected)}"
        for key in expected.keys() & actual.keys():
            yield from deviations(expected[key], actual[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path}: has {len(actual)} items, not {len(expected)}"
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from deviations(one, other, f"{path}[{index}]")
    elif not _is_same(expected, actual):
        yield f"{path}: is {_short(actual)}, not {_short(expected)}"


def _is_same(expected: Any, actual: Any) -> bool:
    both_numbers = {type(expected), type(actual)} <= {int, float}
    return (both_numbers or type(expected) is type(actual)) and (expected == actual or expected != expected)


def _short(value: Any) -> str:
    text = json.dumps(value, default=lambda like: f"<{like.what}>")
    return text if len(text) <= 200 else text[:200] + "…"
