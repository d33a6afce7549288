"""What relays say of themselves, readable from every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from eventstore import Reader

State = Literal["publishing", "paused", "unreachable", "stopped"]

# $1 text: name; $2 text: kind; $3 text: state; $4 text: reason; $5 text: owner; $6 bigint: reconnects to add
SAY: Final = """
INSERT INTO @schema@.relay AS r (name, kind, state, reason, owner, reconnects) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET kind = $2, state = $3, reason = $4, owner = $5, reconnects = r.reconnects + $6,
    since = CASE WHEN r.state = $3 THEN r.since ELSE clock_timestamp() END
"""
STATUSES: Final = """
SELECT r.name, r.kind, CASE WHEN l.lease_until >= clock_timestamp() OR r.state IN ('stopped', 'unreachable')
        THEN r.state ELSE 'absent' END, r.reason, r.position, greatest(h.head - r.position, 0),
    coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT m."time" FROM @schema@.commit m WHERE m.last_position > r.position ORDER BY m.last_position LIMIT 1
    )), 0)::float8, r.reconnects,
    (SELECT count(*) FROM @schema@.parked p WHERE p.broker = r.name AND p.replayed IS NULL)
FROM (
    SELECT r.*, coalesce(c.position, 0) AS position
    FROM @schema@.relay r LEFT JOIN @schema@.checkpoint c ON c.name = 'relay ' || r.name
) r LEFT JOIN @schema@.lease l ON l.name = 'relay ' || r.name,
(SELECT coalesce((SELECT last_position FROM @schema@.commit ORDER BY last_position DESC LIMIT 1), 0) AS head) h
ORDER BY r.name
"""
# $1 text: name
FORGET: Final = """
WITH gone AS (DELETE FROM @schema@.relay WHERE name = $1 RETURNING 1),
    mark AS (DELETE FROM @schema@.checkpoint WHERE name = 'relay ' || $1 RETURNING 1),
    stubs AS (DELETE FROM @schema@.parked WHERE broker = $1 RETURNING 1)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM mark) + (SELECT count(*) FROM stubs)
"""


class RelayStatus(Struct, frozen=True):
    """How far a broker is behind the log.

    Attributes:
        name: of the broker.
        kind: its type in endpoints.yml.
        state: `absent` when no process runs its relay.
        reason: why it is in that state, one line.
        position: of the last event that the broker has confirmed.
        lag_events: events behind the head of the log.
        lag_seconds: age of the oldest event that is not published, 0 when there is none.
        reconnects: times that a connection had to be made again, since the broker is known.
        parked: events that the broker has as stubs only.
    """

    name: str
    kind: str
    state: State | Literal["absent"]
    reason: str
    position: int
    lag_events: int
    lag_seconds: float
    reconnects: int
    parked: int


class Sayings:
    """Tells other processes how a relay is; only changes are written."""

    def __init__(self, read: Reader, name: str, kind: str, owner: str) -> None:
        self._read, self._name, self._kind, self._owner = read, name, kind, owner
        self._said: tuple[str, str] | None = None
        self._stands = False  # what was said last is what others read

    def renew(self) -> None:
        """Write the next state in any case: another process may have said something meanwhile."""
        self._stands = False

    async def say(self, state: State, reason: str = "", *, reconnected: bool = False) -> bool:
        """Write the state down; False when it is what this process said last.

        Raises:
            StoreUnavailable: the database is away.
        """
        is_new = (state, reason) != self._said
        if is_new or reconnected or not self._stands:
            await self._read.fetch(SAY, self._name, self._kind, state, reason, self._owner, int(reconnected))
            self._said, self._stands = (state, reason), True
        return is_new


async def relays(read: Reader) -> list[RelayStatus]:
    """How every relay is, from any process.

    Raises:
        StoreUnavailable: the database is away.
    """
    return [RelayStatus(*row) for row in await read.fetch(STATUSES)]


async def forget(read: Reader, name: str) -> bool:
    """Remove all that is known of a broker that is not used any more; False when nothing was."""
    return bool((await read.fetch(FORGET, name))[0][0])
