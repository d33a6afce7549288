"""Events that a broker takes only as stubs, because they are too large for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore import Reader

# $1 text: broker; $2 bigint[]: positions; $3 bigint[]: bytes
PARK: Final = """
INSERT INTO @schema@.parked (broker, position, bytes) SELECT $1, * FROM unnest($2::bigint[], $3::bigint[])
ON CONFLICT DO NOTHING
"""
# $1 text: broker; $2 bigint: after which position
PARKED: Final = """
SELECT position FROM @schema@.parked WHERE broker = $1 AND position > $2 AND replayed IS NULL ORDER BY position
"""
# $1 text: broker; $2 bigint[]: positions
REPLAYED: Final = """
UPDATE @schema@.parked SET replayed = clock_timestamp() WHERE broker = $1 AND position = ANY ($2)
"""


async def park(read: Reader, broker: str, sizes: Sequence[tuple[int, int]]) -> None:
    """Remember events, as (position, bytes of its body), before their stubs are published."""
    await read.fetch(PARK, broker, [position for position, _ in sizes], [size for _, size in sizes])


async def parked(read: Reader, broker: str, after: int = 0) -> list[int]:
    """Positions of the events that the broker has as stubs only, in order."""
    return [row[0] for row in await read.fetch(PARKED, broker, after)]


async def mark_replayed(read: Reader, broker: str, positions: Sequence[int]) -> None:
    """Note that the broker has got these whole."""
    await read.fetch(REPLAYED, broker, list(positions))
