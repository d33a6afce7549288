"""The runner applies each event exactly once, whatever ends in between, and builds anew beside the live table."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from eventstore import EventStore, StoreUnavailable
from eventstore.hints import HintListener, HintSender, channel
from projections import runner as module
from projections.runner import ProjectionRunner, ProjectionStopped
from projections.slots import statuses
from tests.projections.keeping import active, append, caught_up, kept, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from eventstore import Database
    from projections.slots import LoggedEvent, Status

NAME: Final = "journal"


class Journal:
    """A projection that writes down each position that it is given; one that came twice is there twice."""

    bodies: Final = ("user",)

    def __init__(self, name: str = NAME, version: int = 1) -> None:
        self.name, self.version = name, version
        self.applied: list[int] = []
        self.then: Callable[[Any, Sequence[LoggedEvent]], Awaitable[None]] | None = None

    async def create(self, connection: Any, table: str) -> None:
        await connection.execute(f"CREATE TABLE {table} (position bigint, conversation bigint, type text, body text)")

    async def apply(self, connection: Any, table: str, events: Sequence[LoggedEvent]) -> None:
        rows = [(event[0], event[1], event[3], event[4]) for event in events]
        await connection.executemany(f"INSERT INTO {table} VALUES ($1, $2, $3, $4)", rows)
        self.applied += [event[0] for event in events]
        if self.then is not None:
            await self.then(connection, events)

    async def finish(self, connection: Any, table: str) -> None:
        await connection.execute(f"CREATE INDEX ON {table} (position)")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """Ten events in a transaction."""
    monkeypatch.setattr(module, "BATCH", 10)
    return 10


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that real services need are short."""
    monkeypatch.setattr(module, "STAND_BY", 0.05)
    monkeypatch.setattr(module, "POLL", 0.02)


async def journal(store: EventStore, name: str = NAME) -> list[int]:
    """The positions in the table that readers have."""
    status = await active(store, name)
    assert status is not None
    return [row[0] for row in await store.read.fetch(f"SELECT position FROM @schema@.{name}_{status.slot} ORDER BY 1")]


async def stopped(store: EventStore, name: str = NAME) -> Status:
    """The status of a projection that stands still, once it does."""

    async def find() -> Status | None:
        found = await statuses(store.read)
        return next((status for status in found if status.name == name and status.error is not None), None)

    async def is_stopped() -> bool:
        return await find() is not None

    await until(is_stopped)
    status = await find()
    assert status is not None
    return status


async def tables(store: EventStore) -> list[str]:
    """The names of all journals' tables."""
    statement = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'journal%' ORDER BY 1"
    return [row[0] for row in await store.read.fetch(statement)]


async def fill(store: EventStore, count: int) -> None:
    """Append `count` events to a few conversations."""
    for number in range(count):
        await append(store, f"c{number % 7}", "slot")


def once(action: Callable[[Any], Awaitable[None]]) -> Callable[[Any, Sequence[LoggedEvent]], Awaitable[None]]:
    """A hook that acts the first time only."""
    waiting = [action]

    async def then(connection: Any, _events: Sequence[LoggedEvent]) -> None:
        if waiting:
            await waiting.pop()(connection)

    return then


# ---- following the log ----


async def test_every_event_arrives_once_in_order(store: EventStore, small_batches: int) -> None:
    await fill(store, 3 * small_batches + 1)
    projection = Journal()
    async with kept(store, projection):
        await caught_up(store, NAME)
        await fill(store, 5)
        await caught_up(store, NAME)
    assert projection.applied == await journal(store) == list(range(1, 3 * small_batches + 7))


async def test_only_the_bodies_that_are_asked_for_are_read(store: EventStore) -> None:
    await append(store, "c", "user", "bot")
    async with kept(store, Journal()):
        await caught_up(store, NAME)
    status = await active(store, NAME)
    assert status is not None
    rows = await store.read.fetch(f"SELECT type, body FROM @schema@.journal_{status.slot} ORDER BY position")
    assert [tuple(row) for row in rows] == [("user", '{"event":"user"}'), ("bot", None)]


async def test_a_batch_holds_no_more_bytes_than_allowed(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 20)  # a body has 16
    await append(store, "c", "user", "user", "user", "user", "bot")
    sizes: list[int] = []
    projection = Journal()

    async def measure(_connection: Any, events: Sequence[LoggedEvent]) -> None:
        sizes.append(len(events))

    projection.then = measure
    async with kept(store, projection):
        await caught_up(store, NAME)
    assert sizes == [2, 2, 1]
    assert await journal(store) == [1, 2, 3, 4, 5]


async def test_it_polls_without_any_hint(store: EventStore) -> None:
    async with kept(store, Journal()):
        await caught_up(store, NAME)
        await append(store, "c", "slot")
        await caught_up(store, NAME)
    assert await journal(store) == [1]


async def test_a_hint_wakes_it(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept(store, Journal()) as runner:
        await caught_up(store, NAME)
        monkeypatch.setattr(module, "POLL", 3600)
        sender, listener = HintSender(store.database), HintListener(store.database, runner.notify)
        tasks = [asyncio.create_task(work.run()) for work in (sender, listener)]
        for _ in range(3):
            await append(store, "c", "slot")
            sender.send()
            await caught_up(store, NAME)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await journal(store) == [1, 2, 3]


async def test_the_hint_comes_back_after_its_connection_was_killed(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.hints.AGAIN", 0.05)
    woken = asyncio.Event()
    task = asyncio.create_task(HintListener(store.database, woken.set).run())
    for _ in range(2):
        await woken.wait()  # each connect is a hint
        woken.clear()
        await store.read.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    await woken.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_channel_of_a_schema_with_a_long_name_is_one_that_postgres_takes(database: Database) -> None:
    named = type(database)(database.dsn, "ü" * 31)
    assert len(channel(named).encode()) <= 63
    assert channel(named) != channel(database)


# ---- exactly once ----


async def test_a_connection_lost_between_events_and_checkpoint_changes_nothing(
    store: EventStore, small_batches: int, quick: None
) -> None:
    async def lose(connection: Any) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    projection = Journal()
    projection.then = once(lose)
    await fill(store, 2 * small_batches)
    async with kept(store, projection):
        await caught_up(store, NAME)
    assert projection.applied[:20] == [*range(1, 11), *range(1, 11)], "the first batch was tried twice"
    assert await journal(store) == list(range(1, 21))


@pytest.mark.parametrize("seed", range(4))
async def test_cancelled_anywhere_it_goes_on_where_it_was(
    store: EventStore, small_batches: int, quick: None, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        await fill(store, small_batches)
        task = asyncio.create_task(ProjectionRunner(store, Journal()).run())
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with kept(store, Journal()):
        await caught_up(store, NAME)
    assert await journal(store) == list(range(1, 8 * small_batches + 1))


async def test_a_cancellation_that_comes_together_with_an_error_ends_it(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of tasks then tells of the error and keeps the cancellation to itself."""
    begun = asyncio.Event()

    async def fail_when_cancelled() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailable("gone at the same moment") from None

    async def lead() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_when_cancelled())

    runner = ProjectionRunner(store, Journal())
    monkeypatch.setattr(runner, "_lead", lead)
    work = asyncio.create_task(runner.run())
    await begun.wait()
    work.cancel()
    await asyncio.wait([work], timeout=20)
    assert work.cancelled()


async def test_whoever_lost_the_lease_changes_nothing(store: EventStore, quick: None) -> None:
    async def lose(_connection: Any) -> None:
        await store.read.fetch(
            "UPDATE @schema@.lease SET owner = 'another', epoch = epoch + 1, lease_until = 'infinity'"
            " WHERE name = 'projection journal 1' RETURNING 1"
        )

    projection = Journal()
    projection.then = once(lose)
    await fill(store, 3)
    async with kept(store, projection) as runner:

        async def stands_by() -> bool:
            return runner.mode == "standby" and bool(projection.applied)

        await until(stands_by)
        rows = await store.read.fetch("SELECT count(*) FROM @schema@.checkpoint")
        assert rows[0][0] == 0, "the checkpoint moved without the lease"
        await store.read.fetch("UPDATE @schema@.lease SET lease_until = '-infinity' RETURNING 1")
        await caught_up(store, NAME)
    assert await journal(store) == [1, 2, 3]


async def test_a_second_runner_takes_over_from_one_that_hangs_in_a_transaction(
    database: Database, store: EventStore, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.1)
    monkeypatch.setattr(module, "RENEW_EVERY", 3600)  # as if the whole process hung
    hangs, goes_on = asyncio.Event(), asyncio.Event()

    async def hang(_connection: Any) -> None:
        hangs.set()
        await goes_on.wait()

    first, second = Journal(), Journal()
    first.then = once(hang)
    await fill(store, 3)
    async with EventStore(database) as other, kept(store, first):
        await hangs.wait()
        await store.read.fetch("UPDATE @schema@.lease SET lease_until = '-infinity' RETURNING 1")
        async with kept(other, second):
            await caught_up(store, NAME)
            goes_on.set()
            await fill(store, 2)
            await caught_up(store, NAME)
    assert await journal(store) == [1, 2, 3, 4, 5]


async def test_two_runners_share_one_projection(database: Database, store: EventStore, quick: None) -> None:
    async with EventStore(database) as other, kept(store, Journal()) as first, kept(other, Journal()) as second:
        await fill(store, 5)
        await caught_up(store, NAME)
        assert {first.mode, second.mode} == {"running", "standby"}
    assert await journal(store) == [1, 2, 3, 4, 5]


# ---- standing still ----


async def test_a_failing_event_stops_its_projection_and_no_other(store: EventStore, quick: None) -> None:
    projection, other = Journal(), Journal("journal_b")

    async def refuse(_connection: Any, events: Sequence[LoggedEvent]) -> None:
        if any(event[0] == 8 for event in events):
            raise KeyError("intent")

    projection.then = refuse
    await append(store, "quo'te", *["slot"] * 20)
    async with kept(store, projection) as runner, kept(store, other):
        status = await stopped(store)
        assert (status.position, status.lag_events) == (7, 13)
        assert status.lag_seconds > 0
        assert status.error == "event 8, version 8 of conversation 'quo''te': KeyError: 'intent'"
        await append(store, "c", "slot")
        await caught_up(store, "journal_b")
        projection.then = None
        await runner.retry()
        await caught_up(store, NAME)
    assert await journal(store) == list(range(1, 22))


async def test_a_restart_tries_the_failing_event_again(store: EventStore, quick: None) -> None:
    projection = Journal()

    async def refuse(connection: Any, _events: Sequence[LoggedEvent]) -> None:
        await connection.execute("SELECT nothing FROM nowhere")

    projection.then = refuse
    await fill(store, 2)
    async with kept(store, projection):
        assert "UndefinedTableError" in str((await stopped(store)).error)
    async with kept(store, Journal()):
        await caught_up(store, NAME)
    assert [status.error for status in await statuses(store.read)] == [None]


async def test_a_missing_position_stops_it(store: EventStore, quick: None) -> None:
    await fill(store, 9)
    async with contextlib.AsyncExitStack() as stack:
        connection = await stack.enter_async_context(store.read.acquire())
        await connection.execute(store.read.sql("ALTER TABLE @schema@.event_0 DISABLE TRIGGER only_grows"))
        await connection.execute(store.read.sql("DELETE FROM @schema@.event_0 WHERE position = 5"))
    async with kept(store, Journal()):
        status = await stopped(store)
    assert status.position == 4
    assert "CorruptLog" in str(status.error)


async def test_a_table_of_another_log_stands_still_until_it_is_rebuilt(store: EventStore, quick: None) -> None:
    async with kept(store, Journal()), kept(store, Journal("journal_b")):
        await fill(store, 4)
        await caught_up(store, NAME)
        await caught_up(store, "journal_b")
    await store.read.fetch(
        "UPDATE @schema@.checkpoint SET chain = 'another', position = 3"
        " WHERE name NOT LIKE 'projection journal_b%' RETURNING 1"
    )
    async with kept(store, Journal()) as runner, kept(store, Journal("journal_b")):
        status = await stopped(store)
        assert status.position == 3
        assert "the history up to position 3 is another one" in str(status.error)
        await fill(store, 1)
        await caught_up(store, "journal_b")
        await runner.retry()
        assert (await stopped(store)).position == 3, "a retry does not make the log another one"
        await runner.rebuild()
        await caught_up(store, NAME)
    assert await journal(store) == [1, 2, 3, 4, 5]


async def test_a_table_that_is_ahead_of_the_log_does_not_hold_up_its_rebuild(store: EventStore, quick: None) -> None:
    async with kept(store, Journal()):
        await fill(store, 2)
        await caught_up(store, NAME)
    await store.read.fetch("UPDATE @schema@.checkpoint SET position = 1000 RETURNING 1")
    async with kept(store, Journal()) as runner:
        assert "this log does not reach" in str((await stopped(store)).error)
        await runner.rebuild()
    assert await journal(store) == [1, 2]


# ---- building anew ----


async def test_a_rebuild_beside_appends_and_readers_is_complete(
    store: EventStore, small_batches: int, quick: None
) -> None:
    await fill(store, 5 * small_batches)
    seen: list[int] = []
    is_enough = asyncio.Event()

    async def read() -> None:
        while True:
            status = await active(store, NAME)
            assert status is not None
            seen.append(status.position)
            await asyncio.sleep(0)

    async def write() -> None:
        while not is_enough.is_set():
            await fill(store, 3)

    async with kept(store, Journal()) as runner:
        await caught_up(store, NAME)
        before = await tables(store)
        reading, writing = asyncio.create_task(read()), asyncio.create_task(write())
        for _ in range(3):
            await runner.rebuild()
        is_enough.set()
        await writing  # an append that is cancelled may still be under way, and commit after the look at the log
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await caught_up(store, NAME)

        async def is_tidy() -> bool:
            return len(await tables(store)) == 1

        await until(is_tidy)
    assert await tables(store) != before
    assert seen == sorted(seen), "readers went back in time"
    head = await store.read.last_position()
    assert await journal(store) == list(range(1, head + 1))
    assert len(await store.read.fetch("SELECT 1 FROM @schema@.checkpoint")) == 1


async def test_a_newer_release_builds_its_own_while_the_older_one_goes_on(
    store: EventStore, small_batches: int, quick: None
) -> None:
    goes_on = asyncio.Event()

    async def wait(_connection: Any) -> None:
        await goes_on.wait()

    new = Journal(version=2)
    new.then = once(wait)
    await fill(store, 2 * small_batches)
    async with kept(store, Journal(version=1)) as older:
        await caught_up(store, NAME)
        async with kept(store, new):
            await fill(store, 3)
            await caught_up(store, NAME)
            status = await active(store, NAME)
            assert status is not None
            assert status.code_version == 1
            goes_on.set()

            async def is_superseded() -> bool:
                return older.mode == "superseded"

            await until(is_superseded)
            await fill(store, 3)
            await caught_up(store, NAME)
    status = await active(store, NAME)
    assert status is not None
    assert status.code_version == 2
    assert await journal(store) == list(range(1, 27))


async def test_an_older_release_takes_the_projection_back_on_command_only(store: EventStore, quick: None) -> None:
    await fill(store, 3)
    async with kept(store, Journal(version=2)):
        await caught_up(store, NAME)
    async with kept(store, Journal(version=1)) as older:
        await older.rebuild()
        assert await journal(store) == [1, 2, 3]
    status = await active(store, NAME)
    assert status is not None
    assert status.code_version == 1


async def test_a_rebuild_that_was_killed_goes_on(store: EventStore, small_batches: int, quick: None) -> None:
    await fill(store, 5 * small_batches)
    async with kept(store, Journal()):
        await caught_up(store, NAME)
    reached = asyncio.Event()
    first, second = Journal(version=2), Journal(version=2)

    async def stop_in_the_third_batch(_connection: Any, events: Sequence[LoggedEvent]) -> None:
        if events[0][0] > 2 * small_batches:
            reached.set()
            await asyncio.Event().wait()

    first.then = stop_in_the_third_batch
    async with kept(store, first):
        await reached.wait()
    async with kept(store, second):

        async def is_switched() -> bool:
            status = await active(store, NAME)
            return status is not None and status.code_version == 2

        await until(is_switched)
    assert second.applied == list(range(21, 51)), "it went on after the last transaction that was committed"
    assert await journal(store) == list(range(1, 51))


async def test_a_table_that_lacks_events_never_reaches_its_readers(store: EventStore, quick: None) -> None:
    async def lose_one(connection: Any) -> None:
        await connection.execute(
            store.read.sql("UPDATE @schema@.projection SET processed = processed - 1 WHERE state = 'building'")
        )

    projection = Journal(version=2)
    projection.then = once(lose_one)
    await fill(store, 5)
    async with kept(store, Journal(version=1)):
        await caught_up(store, NAME)
    async with kept(store, projection):
        status = await stopped(store)
    assert status.error == "ProjectionStopped: 4 events were applied, but it is at position 5"
    assert await journal(store) == [1, 2, 3, 4, 5]


async def test_a_rebuild_that_fails_says_so_and_leaves_the_readers_alone(store: EventStore, quick: None) -> None:
    await fill(store, 5)
    projection = Journal()
    async with kept(store, projection) as runner:
        await caught_up(store, NAME)

        async def refuse(_connection: Any, events: Sequence[LoggedEvent]) -> None:
            if events[-1][0] >= 3:
                raise ValueError("no such thing")

        projection.then = refuse
        with pytest.raises(
            ProjectionStopped, match="event 3, version 1 of conversation 'c2': ValueError: no such thing"
        ):
            await runner.rebuild()
        assert await journal(store) == [1, 2, 3, 4, 5]


async def test_a_long_read_of_the_old_table_holds_up_nothing_but_its_drop(store: EventStore, quick: None) -> None:
    await fill(store, 3)
    async with kept(store, Journal()) as runner:
        await caught_up(store, NAME)
        (old,) = await tables(store)
        async with store.read.acquire() as reader, reader.transaction():
            await reader.fetch(store.read.sql(f"SELECT * FROM @schema@.{old}"))
            await runner.rebuild()
            await fill(store, 2)
            await caught_up(store, NAME)
            assert old in await tables(store)

        async def is_dropped() -> bool:
            return old not in await tables(store)

        await until(is_dropped)


async def test_a_rebuild_takes_the_place_of_one_under_way(store: EventStore, quick: None) -> None:
    hangs, goes_on = asyncio.Event(), asyncio.Event()

    async def hang(_connection: Any) -> None:
        hangs.set()
        await goes_on.wait()

    await fill(store, 3)
    projection = Journal()
    async with kept(store, projection) as runner:
        await caught_up(store, NAME)
        projection.then = once(hang)
        first = asyncio.create_task(runner.rebuild())
        await hangs.wait()
        second = asyncio.create_task(runner.rebuild())
        goes_on.set()
        await asyncio.gather(first, second)
        await caught_up(store, NAME)
    assert await journal(store) == [1, 2, 3]
