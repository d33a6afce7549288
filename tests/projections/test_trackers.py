"""Trackers in hand are baselines: whatever happened in between, they show what the log says, and read little for it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue import Domain, parse_domain
from eventstore import Database, EventStore, IdempotencyKeyReused, StoreUnavailable, WrongExpectedVersion
from projections import Trackers, Write, tracker_document
from tests.dialogue.data import recorded
from tests.dialogue.strategies import loop_events, postable
from tests.projections.logged import (
    Reads,
    event,
    exact,
    folded,
    logged,
    new_id,
    opening,
    post,
    put,
    slot,
    snapshots_written,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dialogue import Event
    from projections import View
    from tests.postgres import Server

EMPTY = Domain.empty()
BOT = parse_domain([("domain.yml", recorded("tracker_scenarios.json")["domain"])])
DEEPEST = 499  #: levels of a value in a posted event, the deepest that is accepted
HOSTILE = ["\0", "\ud800", "\udfff\ud800", "😀\u2028", "x" * 5000]


@contextlib.asynccontextmanager
async def process(database: Database, domain: Domain = EMPTY, **options: Any) -> AsyncIterator[Trackers]:
    """Trackers over a connection of their own, as another process has them."""
    async with EventStore(database, connections=2) as store:
        trackers = Trackers(store, domain, **options)
        try:
            yield trackers
        finally:
            await trackers.close()


@pytest.fixture
async def ours(store: EventStore) -> AsyncIterator[Trackers]:
    """The trackers of this process."""
    trackers = Trackers(store, EMPTY)
    yield trackers
    await trackers.close()


@pytest.fixture
async def others(database: Database) -> AsyncIterator[Trackers]:
    """Those of another process on the same database."""
    async with process(database) as trackers:
        yield trackers


async def assert_is_truth(store: EventStore, view: View | None, domain: Domain = EMPTY) -> None:
    """The view's state is what all events up to its version make, one after the other."""
    assert view is not None
    assert exact(view.tracker) == exact(folded(await logged(store, view.conversation, view.version), domain))


def slots_of(view: View | None) -> dict[str, Any]:
    """The slots that were set."""
    assert view is not None
    return {name: value for name, value in view.tracker.slots.items() if value is not None}


def nested(levels: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class TestAppend:
    async def test_shows_the_conversation_right_after_it(self, ours: Trackers, store: EventStore) -> None:
        view, appended = await post(ours, "a", slot("Rome"))
        assert (view.version, appended.version, slots_of(view)) == (4, 4, {"city": "Rome"})
        await assert_is_truth(store, view)

    async def test_reads_nothing_for_a_new_conversation_and_for_one_in_hand(
        self, ours: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads = Reads(store, monkeypatch)
        for value in range(5):
            view, _ = await post(ours, "a", slot(value))
        assert (reads.statements, slots_of(view)) == (0, {"city": 4})

    async def test_reads_nothing_for_events_that_are_folded_already_whatever_they_take_back(
        self, ours: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await post(ours, "a", event("user", text="hi"), slot("Rome"))
        events, rewind = await logged(store, "a"), event("rewind")
        state = folded([*events, rewind], EMPTY)
        reads = Reads(store, monkeypatch)
        write = Write(conversation="a", events=[rewind], expected=len(events), folded=state)
        view, _ = await ours.append(write)
        assert (reads.statements, view.version, slots_of(view)) == (0, len(events) + 1, {})
        await assert_is_truth(store, view)

    async def test_makes_opening_events_once_for_a_conversation_in_hand(self, ours: Trackers) -> None:
        made: list[int] = []

        def counted() -> tuple[Event, ...]:
            made.append(1)
            return opening()

        for value in range(3):
            await ours.append(Write(conversation="a", events=[slot(value)], opening=counted))
        assert len(made) == 1

    async def test_opens_a_conversation_once_when_first_requests_race(
        self, ours: Trackers, others: Trackers, store: EventStore
    ) -> None:
        await asyncio.gather(*[post(trackers, "a", slot(n)) for n in range(10) for trackers in (ours, others)])
        kinds = [item.type for item in await logged(store, "a")]
        assert kinds == ["action", "session_started", "action", *["slot"] * 20]

    async def test_opens_again_what_another_process_emptied(
        self, ours: Trackers, others: Trackers, store: EventStore
    ) -> None:
        await post(ours, "a", slot(1))
        await put(others, "a")
        view, appended = await post(ours, "a", slot(2, "size"))
        assert (appended.opened, slots_of(view)) == (True, {"size": 2})
        await assert_is_truth(store, view)

    async def test_fetches_only_what_another_process_appended(
        self, ours: Trackers, others: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await post(ours, "a", *[slot(n) for n in range(50)])
        await post(others, "a", slot(1, "theirs"), slot(2, "theirs"))
        reads = Reads(store, monkeypatch)
        view, _ = await post(ours, "a", slot(1, "mine"))
        assert (reads.heads, reads.events) == (1, 3)
        assert slots_of(view) == {"city": 49, "theirs": 2, "mine": 1}
        await assert_is_truth(store, view)

    async def test_shows_each_of_many_at_once_its_own_version(self, ours: Trackers, store: EventStore) -> None:
        answers = await asyncio.gather(*[post(ours, "a", slot(n)) for n in range(60)])
        assert [view.version for view, _ in answers] == [appended.version for _, appended in answers]
        assert sorted(view.version for view, _ in answers) == list(range(4, 64))
        assert [slots_of(view)["city"] for view, _ in answers] == list(range(60))
        await asyncio.gather(*[assert_is_truth(store, view) for view, _ in answers])

    async def test_shows_each_its_own_version_while_two_processes_write(
        self, ours: Trackers, others: Trackers, store: EventStore
    ) -> None:
        processes = [("a", ours), ("b", others)]
        answers = await asyncio.gather(
            *[post(trackers, "a", slot(f"{name}{n}")) for n in range(20) for name, trackers in processes]
        )
        values = [f"{name}{n}" for n in range(20) for name in "ab"]
        assert [slots_of(view)["city"] for view, _ in answers] == values
        for view, appended in answers:
            assert view.version == appended.version
            await assert_is_truth(store, view)

    async def test_takes_back_what_was_appended_before(self, ours: Trackers, store: EventStore) -> None:
        await post(ours, "a", event("user", text="hi"), slot(1))
        await post(ours, "a", event("action", name="utter_greet"), slot(2))
        view, _ = await post(ours, "a", event("undo"))
        assert slots_of(view) == {"city": 1}
        await assert_is_truth(store, view)

    async def test_begins_a_new_generation_when_it_replaces(self, ours: Trackers, store: EventStore) -> None:
        await post(ours, "a", slot(1))
        view, _ = await put(ours, "a", slot(2, "size"))
        assert (view.version, slots_of(view), view.is_empty) == (6, {"size": 2}, False)
        await assert_is_truth(store, view)

    async def test_leaves_what_is_in_hand_alone_when_the_version_is_another(self, ours: Trackers) -> None:
        await post(ours, "a", slot(1))
        with pytest.raises(WrongExpectedVersion):
            await post(ours, "a", slot(2), expected=3)
        view, _ = await post(ours, "a", slot(3, "size"), expected=4)
        assert slots_of(view) == {"city": 1, "size": 3}

    @pytest.mark.parametrize("text", HOSTILE)
    async def test_keeps_hostile_texts_in_every_place(self, ours: Trackers, others: Trackers, text: str) -> None:
        said = event(
            "user",
            text=text,
            input_channel=text,
            message_id=text,
            metadata={text: text},
            parse_data={"intent": {"name": text}, "entities": [{"entity": text, "value": {text: text}}], text: text},
        )
        view, _ = await post(
            ours, "a", said, slot(text, text), event("active_loop", name=text), event("action", name=text)
        )
        other = await others.current("a")
        assert other is not None
        assert exact(other.tracker) == exact(view.tracker)
        assert await tracker_document(others, other, "ALL") == await tracker_document(ours, view, "ALL")


class TestRepeatedAnswers:
    async def test_show_the_version_that_was_reached_first(
        self, ours: Trackers, others: Trackers, store: EventStore
    ) -> None:
        first, _ = await post(ours, "a", slot(1), key="k", fingerprint=b"1")
        await post(ours, "a", slot(2), event("restart"))
        for trackers in (ours, others):
            view, appended = await post(trackers, "a", slot(1), key="k", fingerprint=b"1")
            assert (appended.repeated, exact(view.tracker)) == (True, exact(first.tracker))
            assert await tracker_document(trackers, view, "ALL") == await tracker_document(ours, first, "ALL")
        assert len(await logged(store, "a")) == 6

    async def test_show_the_old_generation_after_a_replacement(self, ours: Trackers) -> None:
        first, _ = await post(ours, "a", slot(1), key="k", fingerprint=b"1")
        await put(ours, "a", slot(2, "size"))
        view, _ = await post(ours, "a", slot(1), key="k", fingerprint=b"1")
        assert exact(view.tracker) == exact(first.tracker)

    async def test_of_a_replacement_replace_nothing_again(self, ours: Trackers) -> None:
        first, _ = await put(ours, "a", slot(1), key="k", fingerprint=b"1")
        await post(ours, "a", slot(2))
        again, _ = await put(ours, "a", slot(1), key="k", fingerprint=b"1")
        now = await ours.current("a")
        assert (exact(again.tracker), slots_of(now)) == (exact(first.tracker), {"city": 2})

    async def test_at_once_are_appended_once(self, ours: Trackers, others: Trackers, store: EventStore) -> None:
        answers = await asyncio.gather(
            *[post(trackers, "a", slot(1), key="k", fingerprint=b"1") for _ in range(8) for trackers in (ours, others)]
        )
        assert [appended.repeated for _, appended in answers].count(False) == 1
        assert {exact(view.tracker) for view, _ in answers} == {exact(answers[0][0].tracker)}
        assert len(await logged(store, "a")) == 4

    async def test_are_refused_to_another_request(self, ours: Trackers) -> None:
        await post(ours, "a", slot(1), key="k", fingerprint=b"1")
        with pytest.raises(IdempotencyKeyReused):
            await post(ours, "a", slot(2), key="k", fingerprint=b"2")


class TestReading:
    async def test_a_conversation_without_events_is_none(self, ours: Trackers) -> None:
        assert await ours.current("a") is None
        assert await ours.at_version("a", 0) is None
        assert await ours.at_time("a", datetime.now(UTC)) is None

    async def test_shows_what_another_process_appended_and_fetches_nothing_else(
        self, ours: Trackers, others: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await post(ours, "a", *[slot(n) for n in range(30)])
        await post(others, "a", slot("new"))
        reads = Reads(store, monkeypatch)
        view = await ours.current("a")
        assert (slots_of(view), reads.heads, reads.events) == ({"city": "new"}, 1, 1)

    async def test_of_what_did_not_change_asks_for_its_version_alone(
        self, ours: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await post(ours, "a", slot(1))
        reads = Reads(store, monkeypatch)
        await asyncio.gather(*[ours.current("a") for _ in range(5)])
        assert reads.statements == reads.heads
        assert reads.events == 0

    async def test_shows_a_replacement_by_another_process(self, ours: Trackers, others: Trackers) -> None:
        await post(ours, "a", slot(1), event("active_loop", name="form"))
        await put(others, "a", slot(2, "size"))
        view = await ours.current("a")
        assert view is not None
        assert (slots_of(view), view.tracker.loop_names, view.is_empty) == ({"size": 2}, (), False)

    async def test_shows_a_replacement_of_what_it_never_saw(self, ours: Trackers, others: Trackers) -> None:
        await post(ours, "a", slot(1))
        await post(others, "a", slot(2), event("restart"))
        await put(others, "a", slot(3, "size"))
        view = await ours.current("a")
        assert view is not None
        assert (slots_of(view), view.tracker.restart_version, view.version) == ({"size": 3}, 0, 8)

    async def test_shows_an_emptied_conversation_as_empty(self, ours: Trackers, others: Trackers) -> None:
        await post(ours, "a", slot(1))
        await put(others, "a")
        view = await ours.current("a")
        assert view is not None
        assert (view.is_empty, view.version) == (True, 5)

    async def test_gives_every_earlier_version(self, ours: Trackers, others: Trackers, store: EventStore) -> None:
        await post(ours, "a", slot(1), event("action", name="utter_x"), slot(2), event("undo"))
        await put(ours, "a", slot(3, "size"))
        await post(ours, "a", event("restart"), slot(4))
        for version in range(11):
            for trackers in (ours, others):
                await assert_is_truth(store, await trackers.at_version("a", version))

    @pytest.mark.parametrize("version", [-1, 5, 2**62])
    async def test_knows_no_version_that_never_was(self, ours: Trackers, others: Trackers, version: int) -> None:
        await post(ours, "a", slot(1))
        assert await ours.at_version("a", version) is None
        assert await others.at_version("a", version) is None

    async def test_at_a_time_is_after_the_last_commit_until_then(self, ours: Trackers, store: EventStore) -> None:
        for value in range(4):
            await post(ours, "a", slot(value))
            await post(ours, "b", slot(value))
        await put(ours, "a", slot(9, "size"))
        versions = []
        for commit in await store.read.commits(1, await store.read.last_position()):
            view = await ours.at_time("a", commit.time)
            versions.append(view.version if view else 0)
            earlier = await ours.at_time("a", commit.time - timedelta(microseconds=1))
            assert (earlier.version if earlier else 0) == (versions[-2] if len(versions) > 1 else 0)
        assert versions == [4, 4, 5, 5, 6, 6, 7, 7, 9]

    @pytest.mark.parametrize(("timestamp", "values"), [(0, 0), (10, 1), (19.9, 1), (20, 2), (25, 2), (31, 5)])
    async def test_until_stops_before_the_first_later_event(
        self, ours: Trackers, store: EventStore, timestamp: float, values: int
    ) -> None:
        moments = [10, 20, 30, 5, 31]
        await put(ours, "a", *[slot(n, f"s{n}", moment) for n, moment in enumerate(moments)])
        view = await ours.current("a")
        assert view is not None
        earlier = await ours.until(view, timestamp)
        assert len(slots_of(earlier)) == values
        await assert_is_truth(store, earlier)

    async def test_a_view_stays_as_it_is_while_events_come(self, ours: Trackers, others: Trackers) -> None:
        await post(ours, "a", slot(1), event("user", text="hi"), event("action", name="action_listen"))
        view = await ours.current("a")
        assert view is not None
        before = [await tracker_document(ours, view, "ALL"), exact(view.tracker)]
        more, _ = await post(ours, "a", slot(2), event("entities", entities=[{"entity": "e", "value": 1}]))
        assert await tracker_document(ours, more, "ALL") != before[0]
        assert await tracker_document(ours, view, "ALL") == before[0]
        await post(others, "a", event("undo"))
        await post(ours, "a", slot(3, "size"))
        now = await ours.current("a")
        assert now is not None
        assert await tracker_document(ours, now, "ALL") != before[0]
        assert await tracker_document(ours, view, "ALL") == before[0]
        await put(ours, "a")
        assert [await tracker_document(ours, view, "ALL"), exact(view.tracker)] == before


class TestWindow:
    async def test_holds_all_that_is_asked_for_after_a_cold_start(
        self, ours: Trackers, others: Trackers, store: EventStore
    ) -> None:
        for batch in range(4):
            await post(ours, "a", *[slot(batch * 100 + n) for n in range(100)])
        await snapshots_written()
        view = await others.current("a")
        assert view is not None
        for after in (403, 390, 200, 0):
            window = await others.window(view, after)
            events = [item for _, item in window.events(after, view.version)]
            assert events == (await logged(store, "a"))[after:]

    async def test_of_an_old_view_is_whole_after_a_replacement(self, ours: Trackers, others: Trackers) -> None:
        await post(ours, "a", *[slot(n) for n in range(120)])
        await snapshots_written()
        view = await others.current("a")
        assert view is not None
        await put(ours, "a", slot("new"))
        window = await others.window(view, 0)
        assert [item for _, item in window.events(3, view.version)] == [slot(n) for n in range(120)]

    async def test_is_fetched_once(self, ours: Trackers, others: Trackers, monkeypatch: pytest.MonkeyPatch) -> None:
        await post(ours, "a", *[slot(n) for n in range(150)])
        await snapshots_written()
        reads = Reads(others._store, monkeypatch)
        for _ in range(3):
            view = await others.current("a")
            assert view is not None
            await others.window(view, 0)
        assert reads.events == 153


class TestSnapshots:
    async def test_spare_a_cold_process_the_events_before(
        self, ours: Trackers, others: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for batch in range(12):
            await post(ours, "a", *[slot(batch * 100 + n) for n in range(100)])
        await post(ours, "a", slot("last"))
        await snapshots_written()
        reads = Reads(others._store, monkeypatch)
        view = await others.current("a")
        assert reads.events <= 100
        assert view is not None
        assert view.version == 1204
        await assert_is_truth(store, view)

    async def test_are_not_looked_at_by_another_domain(
        self, ours: Trackers, database: Database, store: EventStore
    ) -> None:
        await post(ours, "a", *[slot(n) for n in range(150)], event("slot", name="tags", value="one"))
        await snapshots_written()
        async with process(database, BOT) as trackers:
            view = await trackers.current("a")
            await assert_is_truth(store, view, BOT)
        assert "tags" in slots_of(view)

    @pytest.mark.parametrize("value", [nested(DEEPEST), {"\ud800": {"\0": "\udfff"}}, 10**4000, -0.0, 1e308])
    async def test_hold_whatever_an_event_can_hold(
        self, ours: Trackers, others: Trackers, store: EventStore, value: Any
    ) -> None:
        said = event(
            "user", text="x", parse_data={"more": value if not isinstance(value, list) else nested(DEEPEST - 1)}
        )
        await post(
            ours, "a", *[slot(n) for n in range(120)], slot(value, "\ud800"), said, event("active_loop", name="f")
        )
        await snapshots_written()
        view = await others.current("a")
        assert view is not None
        assert slots_of(view)["\ud800"] == value
        await assert_is_truth(store, view)

    async def test_of_one_conversation_that_fail_lose_no_others(
        self, ours: Trackers, others: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asyncio.gather(*[post(ours, name, *[slot(n) for n in range(120)]) for name in "abc"])
        await snapshots_written()
        reads = Reads(others._store, monkeypatch)
        for name in "abc":
            await assert_is_truth(store, await others.current(name))
        assert reads.events == 0

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["post", "post", "post", "put"]),
                st.lists(postable | loop_events, min_size=1, max_size=6),
                st.sampled_from([0, 0, 1]),
            ),
            min_size=1,
            max_size=9,
        ),
        domain=st.sampled_from([EMPTY, BOT]),
    )
    async def test_make_no_difference_whoever_wrote_and_whoever_reads(
        self, database: Database, steps: list[tuple[str, list[Event], int]], domain: Domain
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("projections.trackers.SNAPSHOT_EVERY", 3)
            async with process(database, domain) as one, process(database, domain) as two:
                await agree(one, two, steps, domain)


async def agree(one: Trackers, two: Trackers, steps: list[tuple[str, list[Event], int]], domain: Domain) -> None:
    """Take the steps by one process or the other; then ask both, and one that starts cold, for every version."""
    conversation, store = new_id(), one._store
    for kind, events, turn in steps:
        write = put if kind == "put" else post
        view, appended = await write((one, two)[turn], conversation, *events)
        assert view.version == appended.version
        await assert_is_truth(store, view, domain)
    await snapshots_written()
    cold = Trackers(store, domain)
    for version in range(view.version + 1):
        await assert_is_truth(store, await cold.at_version(conversation, version), domain)
    for trackers in (one, two, cold):
        now = await trackers.current(conversation)
        assert now is not None
        assert now.version == view.version
        await assert_is_truth(store, now, domain)
    await cold.close()


class TestMemory:
    async def test_lets_go_of_conversations_that_were_used_longest_ago(
        self, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trackers = Trackers(store, EMPTY, memory=100_000)
        names = [new_id() for _ in range(300)]
        for name in names:
            await post(trackers, name, slot(1))
        reads = Reads(store, monkeypatch)
        in_hand = 0
        for name in reversed(names):
            before = reads.events
            await trackers.current(name)
            in_hand += reads.events == before
        assert 5 <= in_hand <= 25
        await trackers.close()

    async def test_counts_what_trackers_hold_from_events_that_it_let_go(
        self, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trackers = Trackers(store, EMPTY, memory=400_000)
        names = [new_id() for _ in range(12)]
        for name in names:
            await post(trackers, name, slot("x" * 150_000))
        reads = Reads(store, monkeypatch)
        in_hand = 0
        for name in reversed(names):
            before = reads.events
            await trackers.current(name)
            in_hand += reads.events == before
        assert 1 <= in_hand <= 3
        await trackers.close()

    async def test_folds_a_conversation_that_is_larger_than_all_memory(
        self, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trackers = Trackers(store, EMPTY, memory=50_000)
        for _ in range(5):
            view, _ = await post(trackers, "a", *[slot("x" * 1000) for _ in range(20)])
        reads = Reads(store, monkeypatch)
        view, _ = await post(trackers, "a", slot("last"))
        assert reads.events == 0
        document = await tracker_document(trackers, view, "ALL")
        assert document.count('"event":') == view.version == 104
        await assert_is_truth(store, view)
        await trackers.close()


class TestCost:
    async def test_of_an_append_and_a_read_does_not_grow_with_the_history(
        self, ours: Trackers, others: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(5):
            await post(ours, "a", *[slot(n) for n in range(1000)])
        await snapshots_written()
        reads = Reads(store, monkeypatch)
        await post(ours, "a", slot("one"))
        await ours.current("a")
        assert (reads.statements, reads.events) == (1, 0)
        cold = Reads(others._store, monkeypatch)
        await post(others, "a", slot("two"))
        assert cold.events <= 2
        assert cold.statements <= 3
        await post(others, "a", event("restart"))
        cold_again = cold.events
        await post(others, "a", slot("three"), event("undo"))
        assert cold.events - cold_again <= 3

    async def test_of_taking_back_is_that_of_the_session(
        self, ours: Trackers, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await post(ours, "a", *[slot(n) for n in range(1000)])
        await post(ours, "a", event("action", name="action_session_start"), event("session_started"), slot(1))
        reads = Reads(store, monkeypatch)
        await post(ours, "a", event("action", name="utter_x"), event("undo"))
        assert reads.events <= 6


class TestStorageFailure:
    async def test_surfaces_with_a_conversation_in_hand_and_heals(self, server: Server) -> None:
        async with server.database(patience=0.3) as database, process(database) as trackers:
            await post(trackers, "a", slot(1))
            name = urlsplit(database.dsn).path[1:]
            await close_to_all(server, name)
            with pytest.raises(StoreUnavailable):
                await post(trackers, "a", slot(2))
            with pytest.raises(StoreUnavailable):
                await trackers.current("a")
            with pytest.raises(StoreUnavailable):
                await trackers.at_version("a", 2)
            await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            view, _ = await post(trackers, "a", slot(3, "size"))
            assert slots_of(view) == {"city": 1, "size": 3}
            assert view.version == 5


async def close_to_all(server: Server, name: str) -> None:
    """Cut all connections of a database and let no new one in."""
    await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
