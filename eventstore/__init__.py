"""The append-only log of conversations in Postgres. It knows no event type: bodies are text to it."""

from __future__ import annotations

from eventstore.checkpoints import Checkpoint, Checkpoints
from eventstore.conversation_id import check_conversation_id
from eventstore.database import Database
from eventstore.errors import (
    AppendTooLarge,
    CheckpointMoved,
    CorruptLog,
    DatabaseNotUsable,
    EventRefused,
    EventStoreError,
    ForeignLog,
    IdempotencyKeyReused,
    LeaseLost,
    OpeningNeeded,
    QueueFull,
    StoreUnavailable,
    TurnLost,
    WrongExpectedVersion,
)
from eventstore.events import Append, Appended, CheckpointMove, Commit, Head, LogIdentity, NewEvent, RecordedEvent
from eventstore.leases import Lease, Leases
from eventstore.maintenance import Maintained, maintain
from eventstore.migrate import migrate
from eventstore.reads import Reader
from eventstore.snapshots import Snapshot, Snapshots
from eventstore.store import EventStore
from eventstore.turns import Turn, Turns
from eventstore.verify import Verified, verify

__all__ = [
    "Append",
    "AppendTooLarge",
    "Appended",
    "Checkpoint",
    "CheckpointMove",
    "CheckpointMoved",
    "Checkpoints",
    "Commit",
    "CorruptLog",
    "Database",
    "DatabaseNotUsable",
    "EventRefused",
    "EventStore",
    "EventStoreError",
    "ForeignLog",
    "Head",
    "IdempotencyKeyReused",
    "Lease",
    "LeaseLost",
    "Leases",
    "LogIdentity",
    "Maintained",
    "NewEvent",
    "OpeningNeeded",
    "QueueFull",
    "Reader",
    "RecordedEvent",
    "Snapshot",
    "Snapshots",
    "StoreUnavailable",
    "Turn",
    "TurnLost",
    "Turns",
    "Verified",
    "WrongExpectedVersion",
    "check_conversation_id",
    "maintain",
    "migrate",
    "verify",
]
