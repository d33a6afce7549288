"""Checkpoints: moved by the holder of a lease, from where they are, on the log that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from msgspec.structs import replace

from eventstore import Checkpoint, CheckpointMoved, EventStore, ForeignLog, Lease, LeaseLost
from tests.eventstore.helpers import append

if TYPE_CHECKING:
    from eventstore import Database
    from tests.postgres import Server


@pytest.fixture
async def lease(store: EventStore) -> Lease:
    """The right to move the checkpoint, on a log of 5 events in 5 commits."""
    for number in range(5):
        await store.append(append("a", number))
    lease = await store.leases.acquire("relay", seconds=60)
    assert lease is not None
    return lease


async def kept(store: EventStore) -> Checkpoint:
    checkpoint = await store.checkpoints.get("relay")
    assert checkpoint is not None
    return checkpoint


async def test_a_reader_that_never_finished_one_begins_at_zero(store: EventStore) -> None:
    assert await store.checkpoints.resume("relay") == 0


async def test_a_checkpoint_is_made_by_its_first_move(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    assert await store.checkpoints.resume("relay") == 2


async def test_a_checkpoint_may_be_made_at_zero(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 0, lease)
    assert await kept(store) == Checkpoint("relay", 0, (await store.read.identity()).id, b"", 1)


async def test_a_checkpoint_moves_on(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    await store.checkpoints.move("relay", 2, 5, lease)
    assert await store.checkpoints.resume("relay") == 5


async def test_a_checkpoint_holds_the_chain_of_its_commit(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 3, lease)
    [commit] = await store.read.commits(3, 3)
    assert (await kept(store)).chain == commit.chain


@pytest.mark.parametrize("old", [0, 1, 3])
async def test_a_checkpoint_moves_from_where_it_is_only(store: EventStore, lease: Lease, old: int) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    with pytest.raises(CheckpointMoved):
        await store.checkpoints.move("relay", old, 4, lease)
    assert (await kept(store)).position == 2


async def test_a_checkpoint_that_does_not_exist_moves_from_zero_only(store: EventStore, lease: Lease) -> None:
    with pytest.raises(CheckpointMoved):
        await store.checkpoints.move("relay", 1, 2, lease)
    assert await store.checkpoints.get("relay") is None


async def test_a_move_may_be_sent_again(store: EventStore, lease: Lease) -> None:
    for _ in range(2):
        await store.checkpoints.move("relay", 0, 2, lease)
    assert (await kept(store)).position == 2


async def test_a_move_of_an_earlier_holder_is_no_move_sent_again(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    await store.leases.release(lease)
    later = await store.leases.acquire("relay")
    assert later is not None
    with pytest.raises(CheckpointMoved):
        await store.checkpoints.move("relay", 0, 2, later)


async def test_a_lost_lease_moves_nothing(store: EventStore, lease: Lease) -> None:
    await store.leases.release(lease)
    with pytest.raises(LeaseLost):
        await store.checkpoints.move("relay", 0, 2, lease)
    assert await store.checkpoints.get("relay") is None


async def test_a_checkpoint_does_not_move_beyond_the_log(store: EventStore, lease: Lease) -> None:
    with pytest.raises(ForeignLog, match="position 6, which this log does not reach"):
        await store.checkpoints.move("relay", 0, 6, lease)
    assert await store.checkpoints.get("relay") is None


async def test_a_checkpoint_moves_with_the_callers_transaction(store: EventStore, lease: Lease) -> None:
    async with store.read.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await store.checkpoints.move("relay", 0, 2, lease, connection=connection)
        await transaction.rollback()
        assert await store.checkpoints.get("relay") is None
        async with connection.transaction():
            await store.checkpoints.move("relay", 0, 3, lease, connection=connection)
    assert (await kept(store)).position == 3


async def test_a_checkpoint_of_another_log_is_foreign(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    with pytest.raises(ForeignLog, match="it was made on log"):
        await store.checkpoints.verify(replace(await kept(store), log=uuid4()))


async def test_a_checkpoint_beyond_the_head_is_foreign(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 5, lease)
    with pytest.raises(ForeignLog, match="position 6, which this log does not reach"):
        await store.checkpoints.verify(replace(await kept(store), position=6))


async def test_a_checkpoint_of_another_history_is_foreign(store: EventStore, lease: Lease) -> None:
    await store.checkpoints.move("relay", 0, 2, lease)
    with pytest.raises(ForeignLog, match="another one"):
        await store.checkpoints.verify(replace(await kept(store), chain=b"other"))


async def test_a_checkpoint_in_a_copy_that_went_another_way_is_foreign(
    store: EventStore, lease: Lease, server: Server, database: Database
) -> None:
    """A backup was restored, and the log grew again, past where its reader had been."""
    await store.append(append("a", "lost"))
    await store.checkpoints.move("relay", 0, 6, lease)
    seen = await kept(store)
    async with server.database() as restored, EventStore(restored) as other:
        for number in range(8):
            await other.append(append("a", number))
        log = (await other.read.identity()).id
        with pytest.raises(ForeignLog):
            await other.checkpoints.verify(replace(seen, log=log))
