"""Whatever breaks on the way to the database: an append is done once, or its writer is told what is known of it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from eventstore import Append, Appended, Database, EventStore, OpeningNeeded, StoreUnavailable, group_commit, verify
from tests.eventstore.helpers import (
    LONG,
    append,
    bodies,
    everything,
    holding_lock,
    together,
    version,
    wait_for_backends,
)
from tests.eventstore.proxy import Proxy, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from eventstore.database import Connection

IMPATIENT = 0.4


@pytest.fixture
async def path(database: Database) -> AsyncIterator[tuple[Proxy, Database]]:
    """What can fail, and the database behind it."""
    async with proxied(database) as path:
        yield path


@pytest.fixture
async def proxy(path: tuple[Proxy, Database]) -> Proxy:
    """What can fail between `far` and the database."""
    return path[0]


@pytest.fixture
async def far(path: tuple[Proxy, Database]) -> AsyncIterator[EventStore]:
    """The log behind the proxy, connected."""
    async with EventStore(path[1]) as store:
        await connect(store)
        yield store


@pytest.fixture
async def impatient(path: tuple[Proxy, Database]) -> AsyncIterator[EventStore]:
    """The log behind the proxy, connected, for somebody who gives up soon."""
    async with EventStore(replace(path[1], patience=IMPATIENT)) as store:
        await connect(store)
        yield store


async def connect(store: EventStore) -> None:
    await store.append(append("first"))
    await store.read.head("first")


async def call(connection: Connection, database: Database, batch: UUID, request: Append, *, again: bool) -> Any:
    """What the log answers to a call of one request: (status, base, version, generation)."""
    columns = group_commit._columns([request])
    statement = database.sql(group_commit._APPEND)
    return (await connection.fetchrow(statement, batch, "node", "api", *columns, again))["results"]  # type: ignore[index]  # one row always


async def terminate(connection: Connection, pids: list[int]) -> None:
    await connection.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)


# ------------------------------------------------------------------------------------------------------------- once


async def test_an_answer_that_is_lost_after_the_commit_is_given_again(proxy: Proxy, far: EventStore) -> None:
    proxy.drops_answer = True
    assert await far.append(append("a", 1, 2)) == Appended(0, 2, 1, opened=False, repeated=False)
    assert not proxy.drops_answer
    assert await bodies(far, "a") == ["1", "2"]


async def test_a_backend_that_dies_waiting_for_the_lock_appends_nothing_twice(
    store: EventStore, database: Database
) -> None:
    async with holding_lock(database) as connection:
        task = asyncio.ensure_future(store.append(append("a", 1)))
        await terminate(connection, await wait_for_backends(connection, 1))
    await task
    assert await bodies(store, "a") == ["1"]


async def test_a_call_whose_client_is_gone_and_its_repetition_append_once(
    proxy: Proxy, far: EventStore, database: Database
) -> None:
    async with holding_lock(database) as connection:
        task = asyncio.ensure_future(far.append(append("a", 1)))
        await wait_for_backends(connection, 1)
        proxy.cut()
        await wait_for_backends(connection, 2)
    assert await task == Appended(0, 1, 1, opened=False, repeated=False)
    await far.append(append("b"))
    assert await bodies(far, "a") == ["1"]


async def test_a_call_that_begins_after_its_repetition_was_accepted_appends_nothing(
    store: EventStore, database: Database, connection: Connection
) -> None:
    batch = group_commit._new_batch_id()
    first = await call(connection, database, batch, append("a", 1), again=True)
    assert await call(connection, database, batch, append("a", 1), again=False) == first
    assert await bodies(store, "a") == ["1"]


async def test_a_call_that_begins_after_its_repetition_was_refused_appends_nothing(
    store: EventStore, database: Database, connection: Connection
) -> None:
    batch = group_commit._new_batch_id()
    refused = await call(connection, database, batch, append("a", 1, opening=None), again=True)
    await store.append(append("a", "opened meanwhile"))
    assert await call(connection, database, batch, append("a", 1, opening=None), again=False) == refused
    assert await bodies(store, "a") == ["opened meanwhile"]


async def test_a_refusal_that_is_lost_is_given_again(proxy: Proxy, far: EventStore) -> None:
    proxy.drops_answer = True
    with pytest.raises(OpeningNeeded):
        await far.append(append("a", opening=None))
    assert not proxy.drops_answer


async def test_appends_while_backends_are_terminated_are_all_done_once(
    store: EventStore, connection: Connection
) -> None:
    async def write(name: int) -> None:
        for number in range(25):
            await store.append(append(str(name % 3), f"{name}-{number}"))

    async def kill() -> None:
        choose = random.Random(7)
        for _ in range(25):
            await asyncio.sleep(choose.random() * 0.02)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE '%append(%' AND pid <> pg_backend_pid()"
            )

    async with asyncio.timeout(LONG):
        await asyncio.gather(kill(), *(write(name) for name in range(6)))
    found = sorted(event.body for event in await everything(store))
    assert found == sorted(f"{name}-{number}" for name in range(6) for number in range(25))
    assert (await verify(store.read)).last == 150


async def test_appends_through_a_path_that_breaks_are_all_done_once(proxy: Proxy, far: EventStore) -> None:
    async def write(name: int) -> None:
        for number in range(20):
            await far.append(append("a", f"{name}-{number}"))

    async def cut() -> None:
        choose = random.Random(11)
        for number in range(20):
            await asyncio.sleep(choose.random() * 0.03)
            proxy.drops_answer = number % 2 == 0
            if number % 2:
                proxy.cut()

    async with asyncio.timeout(LONG):
        await asyncio.gather(cut(), *(write(name) for name in range(6)))
    proxy.drops_answer = False
    assert sorted(await bodies(far, "a")) == sorted(f"{name}-{number}" for name in range(6) for number in range(20))


# --------------------------------------------------------------------------------------------------- what is known


async def outcome_of(store: EventStore, request: Append) -> str:
    async with asyncio.timeout(LONG):
        with pytest.raises(StoreUnavailable) as caught:
            await store.append(request)
    return caught.value.outcome


async def test_nothing_is_written_when_the_database_takes_no_connection(proxy: Proxy, impatient: EventStore) -> None:
    proxy.refuses = True
    proxy.cut()
    await asyncio.sleep(0.05)  # until the news has arrived: else it was sent
    assert await outcome_of(impatient, append("a")) == "not_written"


async def test_nothing_is_written_when_the_database_may_not_write(database: Database, connection: Connection) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with EventStore(replace(database, patience=1.5)) as store:
        assert await outcome_of(store, append("a")) == "not_written"


async def test_the_outcome_is_unknown_when_no_answer_comes(impatient: EventStore, database: Database) -> None:
    async with holding_lock(database):
        assert await outcome_of(impatient, append("a")) == "unknown"


async def test_the_outcome_is_unknown_when_the_answer_was_lost(proxy: Proxy, impatient: EventStore) -> None:
    proxy.drops_answer = proxy.refuses = True
    assert await outcome_of(impatient, append("a")) == "unknown"
    proxy.refuses = False
    assert await bodies(impatient, "a") == ["{}"]


async def test_a_request_that_waited_too_long_is_not_sent(
    impatient: EventStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_EVENTS", 1)
    async with holding_lock(database):
        outcomes = await asyncio.gather(*(outcome_of(impatient, append("a", number)) for number in range(5)))
    assert outcomes == ["unknown"] + ["not_written"] * 4


async def test_a_path_that_swallows_everything_hangs_nobody(proxy: Proxy, impatient: EventStore) -> None:
    proxy.swallows = True
    async with asyncio.timeout(LONG):
        assert await outcome_of(impatient, append("a")) == "unknown"
        for read in (impatient.read.head("first"), impatient.read.positions(0, 10)):
            with pytest.raises(StoreUnavailable):
                await read


async def test_each_request_of_a_batch_that_fails_has_an_error_of_its_own(proxy: Proxy, impatient: EventStore) -> None:
    proxy.refuses = True
    proxy.cut()
    errors = await together(impatient, [append("a"), append("b"), append("c")])
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    assert len(set(map(id, errors))) == 3


# -------------------------------------------------------------------------------------------------------- afterwards


async def test_appends_go_on_by_themselves_when_the_database_is_back(proxy: Proxy, impatient: EventStore) -> None:
    proxy.refuses = True
    proxy.cut()
    await outcome_of(impatient, append("a", 1))
    proxy.refuses = False
    await impatient.append(append("b", 2))
    assert await bodies(impatient, "b") == ["2"]


async def test_a_fault_of_ours_harms_its_own_batch_only(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_requests: object) -> None:
        raise RuntimeError("a fault")

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    with monkeypatch.context() as patch:
        patch.setattr(group_commit, "_columns", fail)
        assert await outcome_of(store, append("a")) == "unknown"
    assert (await store.append(append("a"))).version == 1
    asyncio.get_running_loop().set_exception_handler(None)
    assert [str(error) for error in reported] == ["a fault"]


async def test_reads_go_on_when_every_connection_was_cut(proxy: Proxy, far: EventStore) -> None:
    await asyncio.gather(*(far.read.positions(0, 10) for _ in range(4)))
    proxy.cut()
    assert await version(far, "first") == 1
    assert len(await asyncio.gather(*(far.read.positions(0, 10) for _ in range(4)))) == 4


async def test_everyone_who_asks_for_a_head_is_told_that_the_database_is_away(
    proxy: Proxy, impatient: EventStore
) -> None:
    proxy.refuses = True
    proxy.cut()
    async with asyncio.timeout(LONG):
        answers = await asyncio.gather(*(impatient.read.head(name) for name in "aab"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    proxy.refuses = False
    assert await version(impatient, "first") == 1


async def test_whoever_stops_asking_for_a_head_stops_nobody_else(store: EventStore) -> None:
    await store.append(append("a"))
    asking = [asyncio.ensure_future(store.read.head("a")) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    heads = await asyncio.gather(*asking[1:])
    assert [head.version for head in heads if head] == [1, 1]


async def test_a_read_that_is_cancelled_leaves_the_others_their_connections(store: EventStore) -> None:
    await store.append(append("a"))
    for _ in range(10):
        task = asyncio.ensure_future(store.read.positions(0, 10))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
    async with asyncio.timeout(LONG):
        assert len(await store.read.positions(0, 10)) == 1


async def test_reads_that_are_under_way_at_the_end_are_told(path: tuple[Proxy, Database]) -> None:
    proxy, database = path
    async with EventStore(database) as closing:
        await connect(closing)
        proxy.swallows = True
        reads = [asyncio.ensure_future(closing.read.head(name)) for name in "abc"]
        reads.append(asyncio.ensure_future(closing.read.head("d")))
        await asyncio.sleep(0.01)
        reads.append(asyncio.ensure_future(closing.read.head("e")))
        await asyncio.sleep(0.01)
    async with asyncio.timeout(LONG):
        answers = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5


async def test_a_closed_reader_refuses_at_once(database: Database) -> None:
    async with EventStore(database) as closed:
        pass
    with pytest.raises(StoreUnavailable):
        await closed.read.positions(0, 1)
