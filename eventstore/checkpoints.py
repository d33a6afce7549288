"""Checkpoints: the last position that a named reader of the log has finished, and how it knows its log again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from msgspec import Struct

from eventstore.errors import CheckpointMoved, ForeignLog, LeaseLost

if TYPE_CHECKING:
    from eventstore.leases import Lease
    from eventstore.reads import Reader

GET: Final = "SELECT position, log, chain, epoch FROM @schema@.checkpoint WHERE name = $1"
# The chain of the commit that holds a position; $1 bigint
CHAIN_AT: Final = """
SELECT chain FROM @schema@.commit WHERE last_position >= $1 ORDER BY last_position LIMIT 1
"""
# Moves a checkpoint, or makes it when the old position is 0. It may be repeated: under one lease, nobody but the sender
# of the first one can have moved it to where it is. $1 text: name; $2, $3 bigint: old and new position;
# $4 text: name of the lease; $5 text: its owner; $6 bigint: its epoch
MOVE: Final = """
WITH held AS (
    SELECT epoch FROM @schema@.lease
    WHERE name = $4 AND owner = $5 AND epoch = $6 AND lease_until >= clock_timestamp() FOR SHARE
), target AS (
    SELECT l.id AS log, CASE WHEN $3::bigint = 0 THEN '' ELSE (
        SELECT chain FROM @schema@.commit WHERE last_position >= $3::bigint ORDER BY last_position LIMIT 1
    ) END AS chain, held.epoch FROM @schema@.log l, held
), moved AS (
    INSERT INTO @schema@.checkpoint AS c (name, position, log, chain, epoch, updated)
    SELECT $1, $3::bigint, t.log, t.chain, t.epoch, clock_timestamp() FROM target t
    WHERE t.chain IS NOT NULL
    AND ($2::bigint = 0 OR EXISTS (SELECT 1 FROM @schema@.checkpoint WHERE name = $1))
    ON CONFLICT (name) DO UPDATE
    SET position = excluded.position, log = excluded.log, chain = excluded.chain, epoch = excluded.epoch,
        updated = excluded.updated
    WHERE c.position = $2::bigint OR (c.position = excluded.position AND c.epoch = excluded.epoch)
    RETURNING 1
)
SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM target WHERE chain IS NULL) AS beyond,
    (SELECT count(*) FROM moved) AS moved
"""


class Checkpoint(Struct, frozen=True):
    """Where a reader is. `chain` is that of the commit that holds the position, empty at 0."""

    name: str
    position: int
    log: UUID
    chain: bytes
    epoch: int


class Checkpoints:
    """Reads and moves checkpoints."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    async def get(self, name: str) -> Checkpoint | None:
        """A checkpoint as it was kept, unverified."""
        rows = await self._read.fetch(GET, name)
        return Checkpoint(name, *rows[0]) if rows else None

    async def resume(self, name: str) -> int:
        """The position after which a reader goes on; 0 for a reader that never finished one.

        Raises:
            ForeignLog: the checkpoint was made on another log, or this one lost or changed what the reader has seen.
        """
        checkpoint = await self.get(name)
        if checkpoint is None:
            return 0
        await self.verify(checkpoint)
        return checkpoint.position

    async def verify(self, checkpoint: Checkpoint) -> None:
        """Raise ForeignLog unless this log still holds what the checkpoint's reader has seen."""
        log = (await self._read.identity()).id
        if checkpoint.log != log:
            raise ForeignLog(checkpoint.name, f"it was made on log {checkpoint.log}, this is {log}")
        if checkpoint.position == 0:
            return
        rows = await self._read.fetch(CHAIN_AT, checkpoint.position)
        if not rows:
            raise ForeignLog(checkpoint.name, f"it is at position {checkpoint.position}, which this log does not reach")
        if rows[0][0] != checkpoint.chain:
            raise ForeignLog(checkpoint.name, f"the history up to position {checkpoint.position} is another one")

    async def move(self, name: str, old: int, new: int, lease: Lease, *, connection: Any = None) -> None:
        """Move a checkpoint from `old` to `new`, as the holder of a lease.

        With a `connection`, which stays the caller's, it happens in the caller's transaction, at the end of which it
        belongs: until the commit nobody can renew or take the lease.

        Raises:
            LeaseLost: the lease is not held any more.
            ForeignLog: the log does not reach `new`.
            CheckpointMoved: the checkpoint is not at `old`.
        """
        arguments = (name, old, new, lease.name, lease.owner, lease.epoch)
        if connection is None:
            row = (await self._read.fetch(MOVE, *arguments))[0]
        else:
            row = await connection.fetchrow(self._read.sql(MOVE), *arguments)
        if not row["held"]:
            raise LeaseLost(lease.name, lease.epoch)
        if row["beyond"]:
            raise ForeignLog(name, f"it should move to position {new}, which this log does not reach")
        if not row["moved"]:
            raise CheckpointMoved(name, old)
