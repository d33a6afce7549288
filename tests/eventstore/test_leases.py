"""Leases: one holder at a time, by the database's clock, with growing epochs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from eventstore import EventStore, Lease, LeaseLost

if TYPE_CHECKING:
    from eventstore import Database
    from eventstore.database import Connection

OVER = -1.0  #: seconds of a lease that runs out as it is taken


async def taken(store: EventStore, seconds: float = 60) -> Lease:
    lease = await store.leases.acquire("relay", seconds=seconds)
    assert lease is not None
    return lease


async def test_a_lease_that_nobody_holds_is_taken(store: EventStore) -> None:
    assert await taken(store) == Lease("relay", store.node, 1)


async def test_a_lease_that_is_held_is_not_taken(store: EventStore, database: Database) -> None:
    await taken(store)
    async with EventStore(database) as other:
        assert await other.leases.acquire("relay") is None


async def test_a_lease_is_not_even_taken_twice_by_its_holder(store: EventStore) -> None:
    await taken(store)
    assert await store.leases.acquire("relay") is None


async def test_leases_of_other_names_are_free(store: EventStore) -> None:
    await taken(store)
    assert await store.leases.acquire("another") is not None


async def test_a_lease_that_ran_out_is_taken_with_a_greater_epoch(store: EventStore, database: Database) -> None:
    await taken(store, OVER)
    async with EventStore(database) as other:
        assert (await taken(other)).epoch == 2


async def test_of_many_who_race_for_a_lease_one_takes_it(store: EventStore) -> None:
    leases = await asyncio.gather(*(store.leases.acquire("relay") for _ in range(8)))
    assert [lease for lease in leases if lease] == [Lease("relay", store.node, 1)]


async def test_a_renewed_lease_is_held_for_so_long_from_then(store: EventStore, connection: Connection) -> None:
    await store.leases.renew(await taken(store, 60), seconds=6000)
    assert await connection.fetchval("SELECT lease_until > now() + interval '5000 seconds' FROM turnlog.lease")


async def test_a_lease_that_ran_out_is_not_renewed(store: EventStore) -> None:
    lease = await taken(store, OVER)
    with pytest.raises(LeaseLost):
        await store.leases.renew(lease)


@pytest.mark.parametrize("change", [{"epoch": 2}, {"owner": "another"}, {"name": "another"}], ids=str)
async def test_only_its_holder_renews_a_lease(store: EventStore, change: dict[str, object]) -> None:
    lease = await taken(store)
    with pytest.raises(LeaseLost):
        await store.leases.renew(replace(lease, **change))


async def test_a_released_lease_is_free_at_once(store: EventStore) -> None:
    await store.leases.release(await taken(store))
    assert (await taken(store)).epoch == 2


async def test_a_lease_of_an_earlier_epoch_releases_nothing(store: EventStore) -> None:
    old = await taken(store, OVER)
    await taken(store)
    await store.leases.release(old)
    assert await store.leases.acquire("relay") is None
