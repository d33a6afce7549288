"""Values that nobody may see in a line of log, a traceback or a list of settings."""

from __future__ import annotations

import re

import msgspec


class Secret(msgspec.Struct, frozen=True):
    """A text that shows itself as `***`; `value` is the text."""

    value: str

    def __repr__(self) -> str:
        return "***"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("value", "***")]


def public_url(url: str) -> str:
    """A URL or DSN without user, password, query and fragment; also one whose password is wrongly quoted."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    shown, *hidden = re.split(r"[?#]", rest, maxsplit=1)
    if "@" in "".join(hidden):
        return f"{scheme}{separator}***"
    return scheme + separator + shown.rpartition("@")[2]
