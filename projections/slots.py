"""Where the tables of each projection are: which one is read, which is being filled, and how far each has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore import Reader

# An event as projections get it: position, conversation (its number in the log), version, type, body. The body is None
# for types that the projection does not ask for.
LoggedEvent = tuple[int, int, int, str, str | None]

State = Literal["active", "building", "retired"]

# $1 text: name of the projection
SLOTS: Final = """
SELECT p.slot, p.name, p.code_version, p.state, coalesce(c.position, 0), p.error
FROM @schema@.projection p LEFT JOIN @schema@.checkpoint c ON c.name = 'projection ' || p.name || '_' || p.slot
WHERE p.name = $1 ORDER BY p.slot
"""
# $1 text: name of the projection
ACTIVE: Final = "SELECT slot FROM @schema@.projection WHERE name = $1 AND state = 'active'"
# $1 text: name of the projection; held until the transaction ends
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('projection ' || $1::text || $n$ @schema@$n$, 0))"
# $1 text: name of the projection; $2 int: version of its code
ABANDON: Final = """
UPDATE @schema@.projection SET state = 'retired' WHERE name = $1 AND code_version = $2 AND state = 'building'
"""
# $1 text: name of the projection; $2 int: version of its code
MAKE: Final = """
INSERT INTO @schema@.projection (name, code_version, state) VALUES ($1, $2, 'building') RETURNING slot
"""
STATUSES: Final = """
SELECT p.name, p.slot, p.code_version, p.state, p.position, greatest(h.head - p.position, 0),
    coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT m."time" FROM @schema@.commit m WHERE m.last_position > p.position ORDER BY m.last_position LIMIT 1
    )), 0)::float8, p.error
FROM (
    SELECT p.*, coalesce(c.position, 0) AS position
    FROM @schema@.projection p LEFT JOIN @schema@.checkpoint c ON c.name = 'projection ' || p.name || '_' || p.slot
) p, (SELECT coalesce((SELECT last_position FROM @schema@.commit ORDER BY last_position DESC LIMIT 1), 0) AS head) h
WHERE p.state <> 'retired' ORDER BY p.name, p.slot
"""


class Projection(Protocol):
    """A read model folded from the log, in one table of Postgres for each slot.

    Whatever a verb does it does in the transaction of the connection that it is given, and it leaves that open.
    `table` is the table's name as SQL, schema included.
    """

    @property
    def name(self) -> str:
        """A plain SQL word, of at most 40 letters."""

    @property
    def version(self) -> int:
        """Of the code and its table. A greater one than the stored one is built anew."""

    @property
    def bodies(self) -> Sequence[str]:
        """The event types whose bodies it needs; all others come without, which saves most of the reading."""

    async def create(self, connection: Any, table: str) -> None:
        """Make the empty table."""

    async def apply(self, connection: Any, table: str, events: Sequence[LoggedEvent]) -> None:
        """Fold events into the table: all that follow what it holds, in the order of positions, none left out.

        An exception takes the batch back. The projection then stands still before the event at fault, and shows it.
        """

    async def finish(self, connection: Any, table: str) -> None:
        """Make a filled table ready for its readers: indexes that would have slowed the filling, statistics."""


class Slot(Struct, frozen=True):
    """One table of a projection."""

    number: int
    name: str
    code_version: int
    state: State
    position: int  #: of the last event in it
    error: str | None

    @property
    def table(self) -> str:
        """The table's name as a statement says it, with ``@schema@`` for the schema."""
        return table_of(self.name, self.number)

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoint."""
        return f"projection {self.name}_{self.number}"


class Status(Struct, frozen=True):
    """How far a table of a projection is behind the log."""

    name: str
    slot: int
    code_version: int
    state: State
    position: int
    lag_events: int
    lag_seconds: float  #: the age of the oldest event that is not in it, 0 when there is none
    error: str | None  #: why it stands still; None while all is well


def table_of(name: str, slot: int) -> str:
    """A slot's table as a statement says it, with ``@schema@`` for the schema."""
    return f"@schema@.{name}_{slot}"


async def statuses(read: Reader) -> list[Status]:
    """How far every projection is, from any process.

    Raises:
        StoreUnavailable: the database is away.
    """
    return [Status(*row) for row in await read.fetch(STATUSES)]


async def load(connection: Any, read: Reader, name: str) -> list[Slot]:
    """All slots of a projection, in the order in which they were made."""
    return [Slot(*row) for row in await connection.fetch(read.sql(SLOTS), name)]


async def make(connection: Any, read: Reader, projection: Projection) -> int:
    """Make an empty slot to be filled, in the caller's transaction, and return its number.

    One that the same code is filling already is abandoned.
    """
    await connection.execute(read.sql(LOCK), projection.name)
    await connection.execute(read.sql(ABANDON), projection.name, projection.version)
    number: int = await connection.fetchval(read.sql(MAKE), projection.name, projection.version)
    await projection.create(connection, read.sql(table_of(projection.name, number)))
    return number


async def make_missing(connection: Any, read: Reader, projection: Projection) -> None:
    """Make a slot in the caller's transaction unless there is one of the same code by now."""
    await connection.execute(read.sql(LOCK), projection.name)
    found = await load(connection, read, projection.name)
    if not any(slot.code_version == projection.version and slot.state != "retired" for slot in found):
        await make(connection, read, projection)
