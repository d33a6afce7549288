"""Snapshots: the nearest state of the present generation, made by the same fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventstore import Head, Snapshot
from tests.eventstore.helpers import append

if TYPE_CHECKING:
    from eventstore import EventStore


@pytest.fixture
async def _events(store: EventStore) -> None:
    """Ten versions of one conversation, at positions 2 to 11."""
    await store.append(append("b"))
    await store.append(append("a", *range(10)))


async def head(store: EventStore, conversation: str = "a") -> Head:
    head = await store.read.head(conversation)
    assert head is not None
    return head


pytestmark = pytest.mark.usefixtures("_events")


async def test_there_is_none_at_first(store: EventStore) -> None:
    assert await store.snapshots.nearest(await head(store), "fold") is None


async def test_the_nearest_one_is_found(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "three"), ("a", 7, "seven")])
    assert await store.snapshots.nearest(await head(store), "fold") == Snapshot(7, 8, "seven")


async def test_one_after_the_asked_version_is_not_used(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "three"), ("a", 7, "seven")])
    past = await store.read.head_at(await head(store), 6)
    assert await store.snapshots.nearest(past, "fold") == Snapshot(3, 4, "three")


async def test_another_fold_does_not_see_it(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "three")])
    assert await store.snapshots.nearest(await head(store), "another") is None


async def test_another_conversation_does_not_see_it(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 1, "one")])
    assert await store.snapshots.nearest(await head(store, "b"), "fold") is None


async def test_one_of_an_older_generation_is_not_used(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "three")])
    await store.append(append("a", "r", "new", replaces=True))
    assert await store.snapshots.nearest(await head(store), "fold") is None


async def test_at_an_older_version_one_of_that_generation_is_used(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "three")])
    await store.append(append("a", "r", "new", replaces=True))
    past = await store.read.head_at(await head(store), 5)
    assert await store.snapshots.nearest(past, "fold") == Snapshot(3, 4, "three")


async def test_versions_and_conversations_that_the_log_does_not_have_are_left_out(store: EventStore) -> None:
    assert await store.snapshots.keep("fold", [("a", 11, "x"), ("none", 1, "x"), ("a", 0, "x"), ("a", 10, "ten")]) == 1


async def test_one_that_is_kept_already_stays(store: EventStore) -> None:
    await store.snapshots.keep("fold", [("a", 3, "first")])
    assert await store.snapshots.keep("fold", [("a", 3, "second")]) == 0
    assert await store.snapshots.nearest(await head(store), "fold") == Snapshot(3, 4, "first")


async def test_nothing_is_kept_of_nothing(store: EventStore) -> None:
    assert await store.snapshots.keep("fold", []) == 0
