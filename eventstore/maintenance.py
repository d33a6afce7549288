"""What the log needs now and then, outside of every request: partitions made ahead, and old keys forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from eventstore.reads import Reader

KEEP_KEYS: Final = "24 hours"  #: how long an idempotency key is kept at least

MAKE_PARTITIONS: Final = "SELECT @schema@.make_partitions()"
# $1 text: interval; $2 bigint: how many rows at most
EXPIRE: Final = """
WITH gone AS (
    DELETE FROM @schema@.{table} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM @schema@.{table} WHERE created < now() - $1::text::interval ORDER BY created LIMIT $2::bigint
    )) RETURNING 1
)
SELECT count(*) FROM gone
"""
_AT_ONCE: Final = 10_000  # rows that one statement deletes, so that none takes long


class Maintained(Struct, frozen=True):
    """What a round of maintenance did."""

    partitions: int  #: made
    keys: int  #: idempotency keys forgotten


async def maintain(read: Reader) -> Maintained:
    """Make partitions ahead of the head, and forget idempotency keys that are older than :data:`KEEP_KEYS`.

    Call it every minute or so, from any number of processes. It never holds the append lock; appends that outrun it
    make their partitions themselves.

    Raises:
        StoreUnavailable: no answer from the database.
    """
    partitions = (await read.fetch(MAKE_PARTITIONS))[0][0]
    keys = await _expire(read, "idempotency_key")
    await _expire(read, "refusal")
    return Maintained(partitions, keys)


async def _expire(read: Reader, table: str) -> int:
    statement = EXPIRE.format(table=table)
    gone, last = 0, _AT_ONCE
    while last == _AT_ONCE:
        last = (await read.fetch(statement, KEEP_KEYS, _AT_ONCE))[0][0]
        gone += last
    return gone
