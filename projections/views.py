"""A conversation as it is shown: its state at a version, and the texts of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dialogue import SCHEMA_VERSION, Event, Tracker, decode_stored, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore import RecordedEvent


class Window:
    """The texts of a conversation's events from version `first` on, as they go into answers. Grows at its end only."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.types: list[str] = []
        self.texts: list[str] = []
        self.size = 0
        self.unread = 0  #: of the size, what came since somebody asked for events
        self._joined: tuple[int, int, str] = (0, 0, "")

    def add(self, type_: str, text: str) -> None:
        """Put the next event at the end."""
        self.types.append(type_)
        self.texts.append(text)
        size = len(text) + 100
        self.size += size
        self.unread += size

    def extend(self, types: Sequence[str], texts: Sequence[str]) -> None:
        """Put events at the end that were fetched because somebody asks for them."""
        for type_, text in zip(types, texts, strict=True):
            self.add(type_, text)
        self.unread = 0

    def joined(self, after: int, upto: int) -> str:
        """The texts with versions in (`after`, `upto`], with commas between. What was joined last is kept."""
        self.unread = 0
        known_after, known_upto, text = self._joined
        if after != known_after or not after < known_upto <= upto:
            known_upto, text = after, ""
        if known_upto < upto:
            more = ",".join(self.texts[known_upto + 1 - self.first : upto + 1 - self.first])
            text = f"{text},{more}" if text else more
            self._joined = (after, upto, text)
        return text

    def events(self, after: int, upto: int) -> list[tuple[int, Event]]:
        """Version and value of the events with versions in (`after`, `upto`]."""
        self.unread = 0
        first, last = after + 1 - self.first, upto + 1 - self.first
        texts = zip(self.types[first:last], self.texts[first:last], strict=True)
        return [(after + n, decode_stored(type_, SCHEMA_VERSION, text)) for n, (type_, text) in enumerate(texts, 1)]


class View(Struct, frozen=True):
    """A conversation at a version. Immutable: later events do not show."""

    conversation: str
    tracker: Tracker
    window: Window

    @property
    def version(self) -> int:
        """The version that is shown."""
        return self.tracker.version

    @property
    def is_empty(self) -> bool:
        """Whether the conversation has no events, or a replacement left none."""
        return self.tracker.version == self.tracker.generation_version


def window_of(first: int, recorded: Sequence[RecordedEvent]) -> Window:
    """A window of events of the log, the first of which has the version `first`."""
    window = Window(first)
    window.extend([event.type for event in recorded], [_current_text(event) for event in recorded])
    return window


def _current_text(event: RecordedEvent) -> str:
    """The stored text itself, unless an older schema wrote it."""
    if event.schema_version == SCHEMA_VERSION:
        return event.body
    return encode(decode_stored(event.type, event.schema_version, event.body))


def continued(view: View, tail: Window) -> Window:
    """A window of the view's events and those of `tail`, which come right after them."""
    window = Window(view.window.first)
    count = view.version + 1 - window.first
    window.extend(view.window.types[:count], view.window.texts[:count])
    window.extend(tail.types, tail.texts)
    return window
