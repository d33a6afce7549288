"""The log as its followers read it: every event by position, with what they need to tell others of it."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from eventstore.errors import CorruptLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventstore.reads import Reader

WINDOW: Final = 5_000  #: events that are read at once, at most
WINDOW_BYTES: Final = 4_000_000  #: of bodies that are read at once; a larger one comes alone

# $1, $2 bigint: after and up to which position; $3 bigint: bytes of bodies; $4 text[]: conversations;
# $5 text[]: types; $6, $7 float8: timestamps from and before. The columns are the first fields of FeedEvent.
EVENTS: Final = """
SELECT position, id, version, generation, type, "timestamp", schema_version, body FROM (
    SELECT e.position, c.id, e.version, CASE
            WHEN e.version >= c.generation_version THEN c.generation
            ELSE coalesce((SELECT max(g.generation) FROM @schema@.generation g
                WHERE g.conversation = e.conversation AND g.first_version <= e.version), 1)
        END AS generation, e.type, e."timestamp", e.schema_version, e.body,
        sum(octet_length(e.body)) OVER (ORDER BY e.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM @schema@.event e JOIN @schema@.conversation c ON c.no = e.conversation
    WHERE e.position > $1 AND e.position <= $2
        AND ($4::text[] IS NULL OR c.id = ANY ($4)) AND ($5::text[] IS NULL OR e.type = ANY ($5))
        AND ($6::float8 IS NULL OR e."timestamp" >= $6) AND ($7::float8 IS NULL OR e."timestamp" < $7)
) e WHERE coalesce(before, 0) < $3 ORDER BY position
"""
# The commit that holds a position, and the imports before it. $1, $2 bigint: first and last position
COMMITS: Final = """
SELECT m.first_position, m.last_position, m.origin = 'import', m.chain
FROM @schema@.commit m, (
    SELECT last_position FROM @schema@.commit WHERE last_position >= $2 ORDER BY last_position LIMIT 1
) edge
WHERE m.last_position >= $1 AND m.last_position <= edge.last_position
    AND (m.origin = 'import' OR m.last_position = edge.last_position) ORDER BY m.last_position
"""

# $1 text[]: ids of conversations
SPANS: Final = "SELECT id, first_position, last_position FROM @schema@.conversation WHERE id = ANY ($1)"


class FeedEvent(Struct, frozen=True, gc=False):
    """An event of the log as followers get it."""

    position: int
    conversation: str
    version: int
    generation: int
    type: str
    timestamp: float  #: Unix seconds, as the event says
    schema_version: int
    body: str
    imported: bool = False  #: whether it came from another system's history


class Selection(Struct, frozen=True, kw_only=True):
    """Which events are wanted; None asks for all."""

    conversations: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    min_timestamp: float | None = None  #: the event's own, in Unix seconds
    max_timestamp: float | None = None  #: exclusive


class Stretch(Struct, frozen=True):
    """The next events of the log, and where the follower is after them."""

    events: tuple[FeedEvent, ...]
    position: int  #: of the last one; with a selection, up to where was looked
    chain: bytes  #: of the commit that holds this position; empty at 0


class Feed:
    """Reads the log forward."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    async def after(self, position: int, *, limit: int = WINDOW) -> Stretch | None:
        """The next events, at most `limit` and about WINDOW_BYTES; None when there are none yet.

        Raises:
            CorruptLog: a position is missing.
            StoreUnavailable: the database stays away.
        """
        rows = await self._read.fetch(EVENTS, position, position + limit, WINDOW_BYTES, None, None, None, None)
        if not rows:
            return None
        if rows[-1][0] - position != len(rows):
            raise CorruptLog(f"the log has {len(rows)} events at positions {position + 1} to {rows[-1][0]}")
        return await self._stretch(rows, position + 1, rows[-1][0])

    async def selected(self, position: int, upto: int, selection: Selection, *, limit: int = WINDOW) -> Stretch:
        """The selected events among the next ones, looking no farther than `upto`, which the log must reach."""
        end = min(upto, position + limit)
        filters = (
            _array(selection.conversations),
            _array(selection.types),
            selection.min_timestamp,
            selection.max_timestamp,
        )
        rows = await self._read.fetch(EVENTS, position, end, WINDOW_BYTES, *filters)
        if sum(len(row[7]) for row in rows) >= WINDOW_BYTES:
            end = rows[-1][0]  # there may be more that did not come
        return await self._stretch(rows, position + 1, end)

    async def spans(self, conversations: Sequence[str]) -> dict[str, tuple[int, int]]:
        """First and last position of each of these conversations that the log has."""
        return {row[0]: (row[1], row[2]) for row in await self._read.fetch(SPANS, list(conversations))}

    async def _stretch(self, rows: Sequence[Any], first: int, last: int) -> Stretch:
        commits = await self._read.fetch(COMMITS, first, last)
        if not commits:
            raise CorruptLog(f"no commit holds position {last}")
        events = tuple(starmap(FeedEvent, rows))  # a call of ours for each would cost more than all it does
        imports = [(begin, end) for begin, end, imported, _chain in commits if imported]
        return Stretch(_marked(events, imports) if imports else events, last, commits[-1][3])


def _marked(events: Iterable[FeedEvent], imports: Sequence[tuple[int, int]]) -> tuple[FeedEvent, ...]:
    """The events, where those between the positions of an import say so."""
    return tuple(
        replace(event, imported=any(first <= event.position <= last for first, last in imports)) for event in events
    )


def _array(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
