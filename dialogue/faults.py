"""What is wrong with an event, said in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import msgspec

_LONGEST_VALUE = 200
_REASON = re.compile(r"(?:Expected `(?P<types>[^`]*)`|Object missing required field `(?P<field>[^`]*)`)")
_WHERE = re.compile(r" - at `\$(?P<path>.*)`$")
_STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<index>\d+)\]")
_JSON_TYPES = {"int": "number", "float": "number", "str": "string", "bool": "boolean"}


class InvalidEvent(ValueError):
    """A JSON value is no event. `message` is one short line; `path` the keys and indexes that lead to what is wrong."""

    def __init__(self, message: str, path: list[str | int] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path or []

    def under(self, *prefix: str | int) -> InvalidEvent:
        """The same fault, seen from further outside."""
        return InvalidEvent(self.message, [*prefix, *self.path])


def explained(error: msgspec.ValidationError, root: Any) -> InvalidEvent:
    """Return msgspec's finding about `root` in the words of a JSON schema validator, which Rasa's clients know."""
    where = _WHERE.search(str(error))
    path = _steps(where["path"]) if where else []
    value = root
    for step in path:
        value = value[step]
    reason = _REASON.match(str(error))
    if reason is None:
        return InvalidEvent(f"{short(value)} is not valid: {error}", path)
    if reason["field"]:
        return InvalidEvent(f"'{reason['field']}' is a required property", path)
    types = dict.fromkeys(_JSON_TYPES.get(name, name) for name in reason["types"].split(" | "))
    return InvalidEvent(f"{short(value)} is not of type {', '.join(map(repr, types))}", path)


def _steps(path: str) -> list[str | int]:
    return [step["key"] or int(step["index"]) for step in _STEP.finditer(path)]


def short(value: Any) -> str:
    """Return a value as one line for people, cut when it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
