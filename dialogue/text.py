"""Strings on their way from events into places that do not take every string."""

from __future__ import annotations

import re
from typing import Final

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD in place of every U+0000 and lone surrogate.

    JSON can carry both; Postgres text, Kafka keys, AMQP headers and metric labels can't.
    """
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)
