"""What an import shall do, and what it has done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHOWN: Final = 5  #: invalid records that a tally keeps


class Plan(Struct, frozen=True, kw_only=True):
    """What an import shall do.

    Attributes:
        name: of the import; a later run of the same name goes on where this one ends.
        append: whether conversations that have other events are added to instead of being left out.
        skip_invalid: whether records that are no events are left out instead of stopping the import.
        dry_run: whether nothing is written.
    """

    name: str
    append: bool = False
    skip_invalid: bool = False
    dry_run: bool = False

    @property
    def actor(self) -> str:
        """Who appends, in the log; also the name of the checkpoint."""
        return f"import {self.name}"


class InvalidRecord(Exception):
    """A record is no event; the message names it and says why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} is no valid event: {reason}")
        self.place, self.reason = place, reason


class Tally:
    """What an import has done so far.

    Attributes:
        begin: the number of the last record that earlier runs have come to.
        seconds: since the first record was asked for.
        records: read by this run.
        events: written by this run; in a dry run, that it would write.
        conversations: of these events, how many began a conversation that the log did not have.
        left_out: conversations that have other events, and how many of their records were left out.
        invalid: records left out that are no events; `first_invalid` are the first few.
    """

    def __init__(self, report: Callable[[Mapping[str, object]], None] = lambda _entry: None) -> None:
        self.begin = self.records = self.events = self.conversations = self.invalid = 0
        self._started = time.monotonic()
        self.left_out: dict[str, int] = {}
        self.first_invalid: list[InvalidRecord] = []
        self._report = report

    def start(self, begin: int) -> None:
        """Note that reading begins behind this record."""
        self.begin, self._started = begin, time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def written(self, events: int, *, began: bool) -> None:
        """Count the events of an append, and the conversation if they began it."""
        self.events += events
        self.conversations += began

    def leave_out(self, conversation: str, records: int) -> None:
        """Count records of a conversation that has other events."""
        if conversation not in self.left_out:
            self._report({"conversation": conversation, "reason": "it has other events"})
        self.left_out[conversation] = self.left_out.get(conversation, 0) + records

    def leave_out_invalid(self, record: InvalidRecord) -> None:
        """Count a record that is no event."""
        self._report({"record": record.place, "reason": record.reason})
        self.invalid += 1
        if self.invalid <= SHOWN:
            self.first_invalid.append(record)
