"""Putting values into the texts of responses: `{name}` is replaced, `{{` and `}}` are single braces."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("turnlog.assistant")

_PART: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[^\n{}]+)\}|[{}]")


class InvalidTemplate(ValueError):
    """The braces of a text do not match; the message shows the text and says why."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r}: {reason}; a brace that shall be seen is written twice")


class _UnknownName(Exception):
    """A text speaks of a value that there is not."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def interpolated(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value with variables put into all its texts, but not into keys. A value is written as Python shows it.

    A text that names something else than a variable stays as it is, whole, with all its braces.

    Raises:
        InvalidTemplate: the braces of a text do not match.
    """
    if isinstance(value, str):
        return _text(value, variables)
    if isinstance(value, dict):
        return {key: interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, variables) for item in value]
    return value


def _text(text: str, variables: Mapping[str, Any]) -> str:
    try:
        return _PART.sub(lambda part: _part(part, variables), text)
    except _UnknownName as unknown:
        log.warning("a text is said as it is written: it names no slot and no argument", text=text, name=unknown.name)
        return text


def _part(part: re.Match[str], variables: Mapping[str, Any]) -> str:
    """What stands in place of braces. A text is read from its left: what is found first decides."""
    name = part["name"]
    if name is None:
        return part[0][0] if len(part[0]) == 2 else _refused(part)
    if name not in variables:
        raise _UnknownName(name)
    return str(variables[name])


def _refused(part: re.Match[str]) -> str:
    """For a lone brace: one that could open or close something (`{"city": {e}}`) names no variable."""
    try:
        _, name, _, _ = next(iter(Formatter().parse(part.string[part.start() :])))
    except ValueError as error:
        raise InvalidTemplate(part.string, str(error)) from None
    raise _UnknownName(str(name))
