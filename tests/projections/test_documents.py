"""Documents show what a fold of the whole log would show, whatever of it was in hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dialogue
from dialogue import Domain, encode, loads
from eventstore import Database, EventStore
from projections import VERBOSITIES, Trackers, Verbosity, session_begin, tracker_document
from tests.dialogue.strategies import loop_events, postable
from tests.projections.logged import event, folded, listed, logged, new_id, post, put, slot, snapshots_written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dialogue import Event
    from projections import View

EMPTY = Domain.empty()


@pytest.fixture
async def trackers(store: EventStore) -> AsyncIterator[Trackers]:
    """The trackers of this process."""
    trackers = Trackers(store, EMPTY)
    yield trackers
    await trackers.close()


async def current(trackers: Trackers, conversation: str) -> View:
    """The conversation as it is now."""
    view = await trackers.current(conversation)
    assert view is not None
    return view


async def shown(trackers: Trackers, view: View, verbosity: Verbosity, after: int = 0) -> dict[str, Any]:
    """The document, read by somebody else's JSON."""
    document: dict[str, Any] = json.loads(await tracker_document(trackers, view, verbosity, after))
    return document


def names(document: dict[str, Any]) -> list[str]:
    """What kind of events a document lists."""
    return [item.get("name") or item["event"] for item in document["events"]]


def fresh(events: list[Event], verbosity: Verbosity, after: int, conversation: str) -> str:
    """The document from nothing but the events of the log, by the plainest way there is."""
    tracker = folded(events, EMPTY)
    begin = max(after, tracker.generation_version)
    if verbosity == "NONE":
        return dialogue.document(tracker, conversation, None)
    if verbosity == "AFTER_RESTART":
        begin = max(begin, tracker.restart_version)
    if verbosity == "APPLIED":
        indexes = dialogue.applied(list(enumerate(events))[begin:], tracker.loop_names)
        return dialogue.document(tracker, conversation, listed(events[index] for index in indexes))
    return dialogue.document(tracker, conversation, listed(events[begin:]))


class TestVerbosity:
    async def test_none_shows_null(self, trackers: Trackers) -> None:
        view, _ = await post(trackers, "a", slot(1))
        assert (await shown(trackers, view, "NONE"))["events"] is None

    async def test_all_shows_every_event_of_the_generation(self, trackers: Trackers) -> None:
        await post(trackers, "a", slot(1))
        await put(trackers, "a", slot(2, "x"), event("restart"), slot(3, "y"))
        view, _ = await post(trackers, "a", event("pause"))
        assert names(await shown(trackers, view, "ALL")) == ["x", "restart", "y", "pause"]

    async def test_after_restart_shows_what_came_behind_the_last_one(self, trackers: Trackers) -> None:
        view, _ = await post(
            trackers, "a", slot(1, "x"), event("restart"), slot(2, "y"), event("restart"), slot(3, "z")
        )
        assert names(await shown(trackers, view, "AFTER_RESTART")) == ["z"]

    async def test_applied_shows_what_still_counts(self, trackers: Trackers) -> None:
        events = [event("user", text="u", name="u"), slot(1, "x"), event("action", name="utter_x"), slot(2, "y")]
        view, _ = await post(trackers, "a", *events, event("undo"))
        assert names(await shown(trackers, view, "APPLIED")) == ["action_listen", "user", "x"]

    async def test_an_event_is_shown_as_it_is_stored(self, trackers: Trackers) -> None:
        said = event("user", text="ü\0\ud800", parse_data={"entities": [{"entity": "e", "value": -0.0}], "n": 10**30})
        view, _ = await post(trackers, "a", said)
        assert encode(said) in await tracker_document(trackers, view, "ALL")

    async def test_a_document_is_ascii(self, trackers: Trackers) -> None:
        view, _ = await post(trackers, "ü😀", slot("ü\u2028", "é"))
        for verbosity in VERBOSITIES:
            assert (await tracker_document(trackers, view, verbosity)).isascii()

    async def test_the_sender_is_named_as_it_is(self, trackers: Trackers) -> None:
        view, _ = await post(trackers, 'ü "x"/\\', slot(1))
        assert (await shown(trackers, view, "NONE"))["sender_id"] == 'ü "x"/\\'


class TestSessions:
    async def test_the_current_one_begins_with_its_action(self, trackers: Trackers) -> None:
        start = [event("action", name="action_session_start"), event("session_started")]
        view, _ = await post(trackers, "a", slot(1, "x"), *start, slot(2, "y"))
        document = await shown(trackers, view, "ALL", session_begin(view.tracker))
        assert names(document) == ["action_session_start", "session_started", "y"]

    async def test_without_one_all_of_the_generation_is_shown(self, trackers: Trackers) -> None:
        await post(trackers, "a", slot(1, "x"))
        view, _ = await put(trackers, "a", slot(2, "y"))
        assert names(await shown(trackers, view, "ALL", session_begin(view.tracker))) == ["y"]

    async def test_does_not_show_the_generation_before(self, trackers: Trackers) -> None:
        await post(trackers, "a", slot(1, "x"))
        view, _ = await put(trackers, "a")
        assert names(await shown(trackers, view, "ALL")) == []


class TestColdAndLong:
    @pytest.mark.parametrize("verbosity", VERBOSITIES)
    async def test_a_cold_start_shows_all_of_a_long_conversation(
        self, trackers: Trackers, store: EventStore, verbosity: Verbosity
    ) -> None:
        events = [slot(n) if n % 7 else event("action", name=f"a{n}") for n in range(1500)]
        await post(trackers, "a", *events[:700], event("restart"), *events[700:])
        await post(trackers, "a", event("undo"))
        await snapshots_written()
        cold = Trackers(store, EMPTY)
        view = await current(cold, "a")
        assert await tracker_document(cold, view, verbosity) == fresh(await logged(store, "a"), verbosity, 0, "a")
        await cold.close()

    async def test_an_old_version_shows_its_own_generation(self, trackers: Trackers) -> None:
        await post(trackers, "a", slot(1, "x"))
        await put(trackers, "a", slot(2, "y"))
        view = await trackers.at_version("a", 4)
        assert view is not None
        assert names(await shown(trackers, view, "ALL"))[-1] == "x"


class TestAgreement:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        batches=st.lists(
            st.tuples(st.booleans(), st.lists(postable | loop_events, min_size=1, max_size=8)), min_size=1, max_size=5
        ),
        memory=st.sampled_from([1, 3_000, 1_000_000]),
    )
    async def test_every_document_is_that_of_a_fresh_fold(
        self, database: Database, batches: list[tuple[bool, list[Event]]], memory: int
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("projections.trackers.SNAPSHOT_EVERY", 4)
            async with EventStore(database, connections=2) as store:
                trackers, conversation = Trackers(store, EMPTY, memory=memory), new_id()
                for replaces, events in batches:
                    view, _ = await (put if replaces else post)(trackers, conversation, *events)
                    await assert_agree(trackers, store, view)
                await snapshots_written()
                cold = Trackers(store, EMPTY, memory=memory)
                await assert_agree(cold, store, await current(cold, conversation))
                await trackers.close()
                await cold.close()


async def assert_agree(trackers: Trackers, store: EventStore, view: View) -> None:
    """All documents of the view are those of the log up to its version, and JSON for everybody."""
    events = await logged(store, view.conversation, view.version)
    for verbosity in VERBOSITIES:
        for after in (0, session_begin(view.tracker)):
            document = await tracker_document(trackers, view, verbosity, after)
            assert document == fresh(events, verbosity, after, view.conversation)
            assert loads(document.encode())["sender_id"] == view.conversation
