"""Texts of users with their entities marked: `from [Rome](city) to [Paris]{"entity": "city", "role": "to"}`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidAnnotation(ValueError):
    """A text's mark of an entity can't be read; the message is one sentence that says which, and why."""


class Annotation(Struct, frozen=True, kw_only=True):
    """An entity marked in a text; start and end are indexes into the plain text."""

    entity: str
    value: Any
    start: int
    end: int
    role: str | None = None
    group: str | None = None


class AnnotatedText(Struct, frozen=True):
    """A plain text, and what is marked in it, in its order."""

    text: str
    entities: tuple[Annotation, ...] = ()


_MARK: Final = re.compile(
    r"\[(?P<text>[^\]]+)\]"
    r"(?:\((?P<entity>[^:)]+)(?::(?P<value>[^)]+))?\)|(?P<one>\{[^}]+\})|(?P<several>\[.*?\]))"
)
_KEYS: Final = ("entity", "value", "role", "group")


def parse_annotated(text: str) -> AnnotatedText:
    """Return what a text says and marks. A bracket that no entity follows is part of the text.

    Raises InvalidAnnotation.
    """
    if "[" not in text:
        return AnnotatedText(text)
    parts: list[str] = []
    entities: list[Annotation] = []
    end = start = 0
    for match in _MARK.finditer(text):
        before = text[end : match.start()]
        start += len(before)
        entities += _annotations(match, start)
        parts += [before, match["text"]]
        start += len(match["text"])
        end = match.end()
    return AnnotatedText("".join(parts) + text[end:], tuple(entities))


def _annotations(match: re.Match[str], start: int) -> Iterator[Annotation]:
    for described in _described(match):
        yield Annotation(
            entity=described["entity"],
            value=described.get("value", match["text"]),
            start=start,
            end=start + len(match["text"]),
            role=described.get("role"),
            group=described.get("group"),
        )


def _described(match: re.Match[str]) -> list[dict[str, Any]]:
    """What the mark says of each entity."""
    if match["entity"]:
        value = {} if match["value"] is None else {"value": match["value"]}
        return [{"entity": match["entity"], **value}]
    written = match["one"] or match["several"]
    try:
        read = json.loads(written)
    except ValueError as error:
        raise InvalidAnnotation(f"{match[0]!r}: {written} is not JSON: {error}") from None
    described = read if isinstance(read, list) else [read]
    for item in described:
        _refuse(item, match[0])
    return described


def _refuse(item: Any, mark: str) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("entity"), str):
        raise InvalidAnnotation(f'{mark!r}: each entity is written {{"entity": "its name"}}, not {json.dumps(item)}')
    for key, value in item.items():
        if key not in _KEYS:
            raise InvalidAnnotation(f"{mark!r}: the unknown key {key!r}; keys are {', '.join(_KEYS)}")
        if key != "value" and not isinstance(value, str):
            raise InvalidAnnotation(f"{mark!r}: {key} must be text, not {json.dumps(value)}")
