"""Turns hold a conversation, one after the other over all processes; those that were cut off are taken over."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from eventstore import EventStore, TurnLost
from eventstore.turns import Turns
from tests.eventstore.helpers import append

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database


@asynccontextmanager
async def process(database: Database) -> AsyncIterator[EventStore]:
    """What a process of the service has, its turns at work."""
    async with EventStore(database) as store:
        work = asyncio.create_task(store.turns.run())
        try:
            yield store
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def is_awaited(store: EventStore) -> None:
    """Wait until somebody waits for the end of a turn."""
    while not await store.read.fetch("SELECT 1 FROM @schema@.turn WHERE awaited"):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


async def run_out(store: EventStore, conversation: str) -> None:
    """Let the lease of a turn be over, as if its process had stood still for long."""
    await store.read.fetch("UPDATE @schema@.turn SET lease_until = '-infinity' WHERE conversation = $1", conversation)


async def test_a_conversation_has_one_turn_over_all_processes(database: Database) -> None:
    async with process(database) as one, process(database) as other:
        held = await one.turns.take("a")
        assert held is not None
        assert await other.turns.take("a") is None
        assert await one.turns.take("a") is None
        await one.turns.end(held)
        assert await other.turns.take("a") is not None


async def test_turns_of_other_conversations_are_free(database: Database) -> None:
    async with process(database) as store:
        assert await store.turns.take("a") is not None
        assert await store.turns.take("b") is not None


async def test_a_turn_that_ended_leaves_no_row(database: Database) -> None:
    async with process(database) as store:
        held = await store.turns.take("a")
        assert held is not None
        await store.turns.end(held)
        assert await store.read.fetch("SELECT 1 FROM @schema@.turn") == []


async def test_the_end_of_a_turn_wakes_who_waits_in_another_process(database: Database) -> None:
    async with process(database) as one, process(database) as other:
        held = await one.turns.take("a")
        assert held is not None
        waiting = asyncio.create_task(other.turns.other_ends("a"))
        await is_awaited(one)
        await one.turns.end(held)
        async with asyncio.timeout(4):  # before the lease would have run out
            await waiting
        assert await other.turns.take("a") is not None


async def test_waiting_for_a_free_conversation_returns_at_once(database: Database) -> None:
    async with process(database) as store:
        await store.turns.other_ends("a")


async def test_a_turn_that_was_cut_off_is_taken_over_and_known_as_such(database: Database) -> None:
    async with process(database) as one, process(database) as other:
        held = await one.turns.take("a")
        assert held is not None
        assert not held.follows_abandoned
        await run_out(one, "a")
        after = await other.turns.take("a")
        assert after is not None
        assert after.follows_abandoned
        with pytest.raises(TurnLost):
            await one.turns.confirm(held)


async def test_an_abandoned_turn_is_free_at_once(database: Database) -> None:
    async with process(database) as store:
        held = await store.turns.take("a")
        assert held is not None
        await store.turns.abandon(held)
        after = await store.turns.take("a")
        assert after is not None
        assert after.follows_abandoned


async def test_a_turn_is_renewed_while_it_lasts(database: Database) -> None:
    async with process(database) as store:
        held = await store.turns.take("a")
        assert held is not None
        (first,) = await store.read.fetch("SELECT lease_until FROM @schema@.turn")
        async with asyncio.timeout(10):
            while True:
                (later,) = await store.read.fetch("SELECT lease_until FROM @schema@.turn")
                if later[0] > first[0]:
                    break
                await asyncio.sleep(0.05)
        store.turns.check(held)


async def test_a_turn_whose_lease_may_be_over_knows_it_without_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EventStore(database) as store:
        monkeypatch.setattr("eventstore.turns.SECONDS", 0.0)
        held = await store.turns.take("a")
        assert held is not None
        with pytest.raises(TurnLost):
            store.turns.check(held)


async def test_a_repeated_take_is_the_same_turn(database: Database) -> None:
    """An answer that was lost on the way makes the statement be sent again."""
    async with EventStore(database) as store:
        turns = Turns(store.read, database, node="node")
        first = await turns.take("a")
        again = await Turns(store.read, database, node="node").take("a")
        assert first == again


async def test_the_head_of_a_conversation_tells_of_its_turn(database: Database) -> None:
    async with process(database) as store:
        await store.append(append("a", 1))
        head = await store.read.head("a")
        assert head is not None
        assert head.turn_seconds is None
        held = await store.turns.take("a")
        assert held is not None
        head = await store.read.head("a")
        assert head is not None
        assert head.turn_seconds is not None
        assert 0 < head.turn_seconds <= 5
