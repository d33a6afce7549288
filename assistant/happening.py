"""Making the events that actions bring about."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from dialogue import Event

EventType = TypeVar("EventType", bound=Event)


def happens(kind: type[EventType], **fields: Any) -> EventType:
    """An event of this kind, with these fields of its own, that happens now."""
    return kind(timestamp=time.time(), metadata={}, **fields)
