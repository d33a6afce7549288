"""Snapshots: states of conversations at a version, so that a read need not begin at the first event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from eventstore.events import Head
    from eventstore.reads import Reader

# $1 bigint: number of the conversation; $2 text: fold; $3, $4 bigint: versions after and up to which it lies
NEAREST: Final = """
SELECT version, position, state FROM @schema@.snapshot
WHERE conversation = $1 AND fold = $2 AND version > $3 AND version <= $4 ORDER BY version DESC LIMIT 1
"""
# $1 text[]: ids of conversations; $2 text: fold; $3 bigint[]: versions; $4 text[]: states
KEEP: Final = """
INSERT INTO @schema@.snapshot (conversation, fold, version, position, state)
SELECT c.no, $2, s.version, e.position, s.state
FROM unnest($1::text[], $3::bigint[], $4::text[]) s(id, version, state)
JOIN @schema@.conversation c ON c.id = s.id
JOIN @schema@.event e ON e.conversation = c.no AND e.version = s.version
    AND e.position >= c.first_position AND e.position <= c.last_position
ON CONFLICT DO NOTHING RETURNING 1
"""


class Snapshot(Struct, frozen=True):
    """The state of a conversation at a version."""

    version: int
    position: int  #: of the event with that version
    state: str


class Snapshots:
    """Keeps and finds snapshots. Losing any of them costs time and nothing else.

    A `fold` names what made a state: another fold does not see it.
    """

    def __init__(self, read: Reader) -> None:
        self._read = read

    async def nearest(self, head: Head, fold: str) -> Snapshot | None:
        """The latest snapshot of the head's generation that is not after the head's version."""
        rows = await self._read.fetch(NEAREST, head.number, fold, head.generation_version, head.version)
        return Snapshot(*rows[0]) if rows else None

    async def keep(self, fold: str, states: list[tuple[str, int, str]]) -> int:
        """Store states, given as (conversation, version, state); returns how many were new.

        A state of a version that the log does not have is left out.
        """
        if not states:
            return 0
        conversations, versions, texts = (list(column) for column in zip(*states, strict=True))
        return len(await self._read.fetch(KEEP, conversations, fold, versions, texts))
