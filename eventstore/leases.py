"""Leases: who may do what only one may do, over all processes and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from eventstore.errors import LeaseLost

if TYPE_CHECKING:
    from eventstore.reads import Reader

SECONDS: Final = 5.0  #: how long a lease is valid
RENEW_EVERY: Final = 1.0  #: seconds between two renewals

# $1 text: name; $2 text: owner; $3 float8: seconds
ACQUIRE: Final = """
INSERT INTO @schema@.lease AS l (name, owner, epoch, lease_until)
VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE
SET owner = $2, epoch = l.epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE l.lease_until < clock_timestamp()
RETURNING epoch
"""
# $1 text: name; $2 text: owner; $3 bigint: epoch; $4 float8: seconds
RENEW: Final = """
UPDATE @schema@.lease SET lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND owner = $2 AND epoch = $3 AND lease_until >= clock_timestamp() RETURNING 1
"""
RELEASE: Final = """
UPDATE @schema@.lease SET lease_until = '-infinity' WHERE name = $1 AND owner = $2 AND epoch = $3
"""


class Lease(Struct, frozen=True):
    """A lease that was taken. The epoch is greater than that of every earlier holder."""

    name: str
    owner: str
    epoch: int


class Leases:
    """Takes, renews and gives back leases, by the database's clock."""

    def __init__(self, read: Reader, *, owner: str) -> None:
        self._read, self._owner = read, owner

    async def acquire(self, name: str, *, seconds: float = SECONDS) -> Lease | None:
        """Take a lease that nobody holds, or whose holder did not renew it in time; None when it is held."""
        rows = await self._read.fetch(ACQUIRE, name, self._owner, seconds)
        return Lease(name, self._owner, rows[0][0]) if rows else None

    async def renew(self, lease: Lease, *, seconds: float = SECONDS) -> None:
        """Hold a lease for `seconds` from now.

        Raises:
            LeaseLost: it ran out meanwhile, even if nobody else took it.
        """
        if not await self._read.fetch(RENEW, lease.name, lease.owner, lease.epoch, seconds):
            raise LeaseLost(lease.name, lease.epoch)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that the next one need not wait until it runs out."""
        await self._read.fetch(RELEASE, lease.name, lease.owner, lease.epoch)
