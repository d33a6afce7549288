"""What can go wrong with the log.

EventStoreError
├── WrongExpectedVersion        the conversation is at another version
├── IdempotencyKeyReused        the key was used by a request with other content
├── OpeningNeeded               the generation is empty and the request brought no opening events
├── CheckpointMoved             somebody else moved the checkpoint
├── LeaseLost                   somebody else holds the lease
├── TurnLost                    the conversation may have gone on without this turn
├── EventRefused                Postgres can't store what was handed in
├── AppendTooLarge              more than one append may have
├── StoreUnavailable            no answer from Postgres; says what is known of the write
│   └── QueueFull               too many writes wait already
├── ForeignLog                  a checkpoint was made on another log, or on a longer one
├── CorruptLog                  digests, chain or positions don't hold
└── DatabaseNotUsable           wrong version, settings, schema or rights; found at the start
"""

from __future__ import annotations

from typing import Literal

Outcome = Literal["not_written", "unknown"]


class EventStoreError(Exception):
    """The root of everything that this package raises on purpose."""


class WrongExpectedVersion(EventStoreError):
    """The conversation is not at the version that the writer expected. `expected` -1 stands for "any but 0"."""

    def __init__(self, conversation: str, expected: int, actual: int) -> None:
        wanted = "to exist" if expected < 0 else f"at version {expected}"
        super().__init__(f"conversation {conversation!r} was expected {wanted}, it is at version {actual}")
        self.conversation, self.expected, self.actual = conversation, expected, actual


class IdempotencyKeyReused(EventStoreError):
    """The key was used before, by a request with another content. Nothing was written."""

    def __init__(self, conversation: str, key: str) -> None:
        super().__init__(f"idempotency key {key!r} of conversation {conversation!r} was used by another request")
        self.conversation, self.key = conversation, key


class OpeningNeeded(EventStoreError):
    """The current generation has no events; send the request again with its opening events. Nothing was written."""

    def __init__(self, conversation: str, version: int) -> None:
        super().__init__(f"conversation {conversation!r} has no events at version {version}")
        self.conversation, self.version = conversation, version


class CheckpointMoved(EventStoreError):
    """The checkpoint is not where the caller believed it to be. Nothing was written."""

    def __init__(self, name: str, expected: int) -> None:
        super().__init__(f"checkpoint {name!r} is not at {expected} any more")
        self.name, self.expected = name, expected


class LeaseLost(EventStoreError):
    """Another owner holds the lease by now, or it ran out; whoever sees this stops at once."""

    def __init__(self, name: str, epoch: int) -> None:
        super().__init__(f"lease {name!r} of epoch {epoch} is lost")
        self.name, self.epoch = name, epoch


class TurnLost(EventStoreError):
    """A turn did not renew its lease in time: another one may have answered meanwhile. Whoever sees this stops."""

    def __init__(self, conversation: str) -> None:
        super().__init__(f"the turn no longer holds conversation {conversation!r}")
        self.conversation = conversation


class EventRefused(EventStoreError):
    """Postgres refused the data of one request; no other request was harmed. Nothing was written."""

    def __init__(self, conversation: str, reason: str) -> None:
        super().__init__(f"conversation {conversation!r}: the database refused the events: {reason}")
        self.conversation, self.reason = conversation, reason


class AppendTooLarge(EventStoreError, ValueError):
    """An append of `size` bytes, about, is more than the `limit` of what may wait at all. Nothing was written."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes are too many for one append: it may have {limit}")
        self.size, self.limit = size, limit


class StoreUnavailable(EventStoreError):
    """Postgres did not answer.

    `outcome` is "not_written" when nothing can have been written, and "unknown" when the call had been sent and its
    answer was lost. `retry_after` is in seconds.
    """

    def __init__(self, reason: str, outcome: Outcome = "not_written", retry_after: int = 1) -> None:
        super().__init__(f"the database is not available: {reason}")
        self.reason, self.outcome, self.retry_after = reason, outcome, retry_after


class QueueFull(StoreUnavailable):
    """More writes wait for the database than this process may hold."""


class ForeignLog(EventStoreError):
    """A checkpoint does not belong to this log: a restored backup, a lost tail, or another database."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"checkpoint {name!r} does not belong to this log: {reason}")
        self.name, self.reason = name, reason


class CorruptLog(EventStoreError):
    """The log was changed behind our back. The message names the first place found."""


class DatabaseNotUsable(EventStoreError):
    """The database can't hold the log as it is; the message says what to change."""
