"""The index of conversations: what it counts, and how it is read."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue.text import storable
from eventstore import Append, EventStore, NewEvent
from projections.conversations import (
    NAME,
    ConversationIndex,
    InvalidQuery,
    NotBuilt,
    Page,
    page,
    query,
    read_active,
)
from projections.slots import table_of
from tests.projections.keeping import append, caught_up, kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from eventstore import Database
    from tests.postgres import Server

Request = tuple[str, list[dict[str, Any]]]  # conversation, events; a replacement begins with "tracker_replaced"

# ---- the index by another way: an event after the other, in plain Python ----


def expected_row(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the index holds of a conversation with these events."""
    begins = [number for number, event in enumerate(events) if event["event"] == "tracker_replaced"]
    current = events[begins[-1] + 1 :] if begins else events
    users = [event for event in current if event["event"] == "user"]
    actions = [event for event in current if event["event"] == "action"]
    count = Counter(event["event"] for event in current)
    return {
        "version": len(events),
        "generation": len(begins) + 1,
        "events": len(current),
        "user_events": count["user"],
        "bot_events": count["bot"],
        "action_events": count["action"],
        "intent": label(users[-1]["parse_data"].get("intent", {}).get("name")) if users else None,
        "channel": label(users[-1]["input_channel"]) if users else None,
        "action": label(actions[-1]["name"]) if actions else None,
    }


def label(text: str | None) -> str | None:
    """A text as a column holds it."""
    if text is None:
        return None
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)[:255]


# ---- events ----


def user(intent: str | None = "greet", channel: str | None = "rest") -> dict[str, Any]:
    """A user event."""
    parse_data = {"intent": {"name": intent, "confidence": 1.0}, "entities": []}
    return {"event": "user", "timestamp": 1.0, "text": "\ud83d", "parse_data": parse_data, "input_channel": channel}


def action(name: str | None) -> dict[str, Any]:
    """An action event."""
    return {"event": "action", "timestamp": 1.0, "name": name, "action_text": None}


async def write(store: EventStore, request: Request) -> None:
    """Append a request."""
    conversation, events = request
    replaces = events[0]["event"] == "tracker_replaced"
    new = tuple(NewEvent(event["event"], 1.0, json.dumps(event)) for event in events)
    await store.append(Append(conversation=conversation, events=new, replaces=replaces))


async def say(store: EventStore, conversation: str, intent: str = "greet", channel: str = "rest") -> None:
    """Append one user event."""
    await write(store, (conversation, [user(intent, channel)]))


def hostile() -> st.SearchStrategy[str]:
    """Strings that JSON carries and columns don't."""
    return st.text(st.sampled_from(["a", "é", "\0", "\ud800", "\udfff", "\U0001f600", "\ufffd"]), max_size=4)


def event() -> st.SearchStrategy[dict[str, Any]]:
    """Any event that the index looks at, and some that it doesn't."""
    names = st.one_of(st.none(), hostile(), st.just("x" * 3000))
    without_intent: dict[str, Any] = {"event": "user", "parse_data": {}, "input_channel": None}
    return st.one_of(
        st.builds(user, names, names),
        st.builds(action, names),
        st.just(without_intent),
        st.sampled_from([{"event": "bot", "text": "hi"}, {"event": "slot", "name": "s", "value": 1}]),
    )


def request_of(conversation: str) -> st.SearchStrategy[Request]:
    """An append to a conversation, or its replacement."""
    events = st.lists(event(), min_size=1, max_size=5)
    replacement = st.lists(event(), max_size=5).map(lambda after: [{"event": "tracker_replaced"}, *after])
    return st.tuples(st.just(conversation), st.one_of(events, events, replacement))


# ---- tests ----


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.sampled_from(["a", "b", "ü/c"]).flatmap(request_of), max_size=12),
    batch=st.sampled_from([1, 2, 3, 7, 10_000]),
)
async def test_the_live_index_the_rebuilt_one_and_the_plain_way_agree(
    server: Server, requests: list[Request], batch: int
) -> None:
    async with server.database() as database:
        await agree(database, requests, batch)


async def agree(database: Database, requests: list[Request], batch: int) -> None:
    """Keep the index over requests in small batches, rebuild it in large ones, and compare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.runner.POLL", 0.01)
        patch.setattr("projections.runner.BATCH", batch)
        async with EventStore(database) as store, kept(store, ConversationIndex()) as runner:
            written: dict[str, list[dict[str, Any]]] = {}
            for request in requests:
                await write(store, request)
                # JSON joins two lone surrogates that happen to be a pair.
                written.setdefault(request[0], []).extend(json.loads(json.dumps(request[1])))
            await caught_up(store, NAME)
            live = await rows(store)
            patch.setattr("projections.runner.BATCH", 10_000)
            await runner.rebuild()
            assert await rows(store) == live
            assert live == {conversation: expected_row(events) for conversation, events in written.items()}
            assert (await store.read.last_position()) == sum(row["version"] for row in live.values())


async def rows(store: EventStore) -> dict[str, dict[str, Any]]:
    """The rows of the index that readers have, by conversation, without positions and times."""
    found = (await page(store, limit=1000)).conversations
    return {conversation.id: {name: getattr(conversation, name) for name in expected_row([])} for conversation in found}


async def test_times_are_those_of_the_commits(store: EventStore) -> None:
    await append(store, "c", "user", "bot")
    await append(store, "d", "bot")
    await append(store, "c", "bot")
    first, _, last = await store.read.commits(1, 4)
    found = (await indexed(store)).conversations[0]
    assert (found.id, found.first_seen, found.last_activity, found.position) == ("c", first.time, last.time, 4)


async def indexed(store: EventStore, **query: Any) -> Page:
    """A page of the index once it has everything."""
    async with kept(store, ConversationIndex()):
        await caught_up(store, NAME)
    return await page(store, **query)


def ids(found: Page) -> list[str]:
    """The conversations of a page, in its order."""
    return [conversation.id for conversation in found.conversations]


async def test_the_most_recently_active_comes_first(store: EventStore) -> None:
    for conversation in ("a", "b", "c", "a"):
        await say(store, conversation)
    assert ids(await indexed(store)) == ["a", "c", "b"]


async def test_pages_follow_each_other_without_gap_or_repetition(store: EventStore) -> None:
    for number in range(7):
        await say(store, f"c{number}")
    found = await indexed(store, limit=3)
    seen = [ids(found)]
    while found.after is not None:
        found = await page(store, limit=3, after=found.after)
        seen.append(ids(found))
    assert seen == [["c6", "c5", "c4"], ["c3", "c2", "c1"], ["c0"]]


async def test_no_cursor_comes_with_a_last_page_that_is_full(store: EventStore) -> None:
    await say(store, "a")
    await say(store, "b")
    assert (await indexed(store, limit=2)).after is None


async def test_what_becomes_active_between_two_pages_moves_to_the_front(store: EventStore) -> None:
    for conversation in ("a", "b", "c", "d"):
        await say(store, conversation)
    async with kept(store, ConversationIndex()) as runner:
        await caught_up(store, NAME)
        began = (await store.read.commits(4, 4))[0].time
        first = await page(store, limit=2)
        await say(store, "d")  # was shown
        await say(store, "a")  # was not
        await caught_up(store, NAME)
        assert ids(await page(store, after=first.after)) == ["b"]
        assert ids(await page(store, active_since=began)) == ["a", "d"], "the second walk shows what the first missed"
        await runner.rebuild()
        assert ids(await page(store, after=first.after)) == ["b"], "a cursor survives a rebuild"


async def test_readers_notice_nothing_of_a_rebuild(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.runner.POLL", 0.01)
    for conversation in ("a", "b"):
        await say(store, conversation)
    async with kept(store, ConversationIndex()) as runner:
        await caught_up(store, NAME)
        rebuilds = asyncio.create_task(repeat(runner.rebuild, 10))
        seen = []
        while not rebuilds.done():
            seen.append(ids(await page(store)))
        await rebuilds
    assert len(seen) > 10
    assert all(found == ["b", "a"] for found in seen)


async def test_a_table_dropped_under_a_reader_is_looked_up_again(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(store, "a")
    await indexed(store)
    dropped = ["@schema@.conversation_index_0"]
    monkeypatch.setattr(
        "projections.conversations.table_of", lambda *slot: dropped.pop() if dropped else table_of(*slot)
    )
    assert ids(await page(store)) == ["a"]
    assert not dropped


async def repeat(work: Callable[[], Awaitable[None]], times: int) -> None:
    """Do some work again and again."""
    for _ in range(times):
        await work()


async def test_filters_hold_together(store: EventStore) -> None:
    await say(store, "a", intent="greet", channel="rest")
    await say(store, "b", intent="bye", channel="rest")
    await say(store, "c", intent="greet", channel="slack")
    await say(store, "d", intent="greet", channel="rest")
    await append(store, "e", "bot")
    assert ids(await indexed(store, intent="greet", channel="rest")) == ["d", "a"]
    assert ids(await page(store, channel="slack")) == ["c"]
    assert ids(await page(store, intent="greet", limit=2)) == ["d", "c"]
    third = (await store.read.commits(3, 3))[0].time
    assert ids(await page(store, intent="greet", channel="rest", active_since=third)) == ["d"]
    assert ids(await page(store, active_since=third)) == ["e", "d", "c"], "the time itself counts"
    assert ids(await page(store, active_since=datetime.now(UTC))) == []
    assert ids(await page(store, intent="nothing of that name")) == []


async def test_a_filter_finds_a_name_that_no_column_can_hold(store: EventStore) -> None:
    await say(store, "a", intent="x\0" + "y" * 4000)
    assert ids(await indexed(store, intent="x\0" + "y" * 4000)) == ["a"]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "1",
        "ü",
        "AQ",
        "AQAAAAAAAAAB=",
        "AQAAAAAAAAAB\n",
        "AgAAAAAAAAAB",
        base64.urlsafe_b64encode(b"\x01" + b"\xff" * 8).decode(),
        base64.urlsafe_b64encode(b"\x01" + b"\x00" * 9).decode(),
        "\ud800",
    ],
)
async def test_a_cursor_of_somebody_elses_making_is_refused(store: EventStore, cursor: str) -> None:
    with pytest.raises(InvalidQuery, match=r"^after is .*: that is no cursor which an earlier page gave$"):
        await page(store, after=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_out_of_bounds_is_refused(store: EventStore, limit: int) -> None:
    with pytest.raises(InvalidQuery, match=f"limit is {limit}: it must lie between 1 and 1000"):
        await page(store, limit=limit)


async def test_a_time_without_a_zone_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidQuery, match="active_since is 2030-01-01T00:00:00: it needs a time zone"):
        await page(store, active_since=datetime(2030, 1, 1))


async def test_an_index_that_was_never_built_says_so(store: EventStore) -> None:
    with pytest.raises(NotBuilt):
        await page(store)


async def test_an_empty_log_has_an_empty_index(store: EventStore) -> None:
    assert await indexed(store) == Page([], None)


async def test_a_page_reads_no_more_rows_than_it_shows(store: EventStore) -> None:
    """However many conversations there are, and however long ago a filter matched: a page is a piece of an index."""
    await asyncio.gather(*(say(store, f"old{n}", "old", "old") for n in range(100)))
    await asyncio.gather(*(say(store, f"new{n}") for n in range(5000)))
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert len((await indexed(store, channel="old", limit=1000)).conversations) == 100
    assert "conversation_index_1_position_idx" in await indexes_of(store)
    assert "conversation_index_1_position_idx" in await indexes_of(store, active_since=long_ago)
    for name in ("rest", "old"):
        assert "conversation_index_1_channel_position_idx" in await indexes_of(store, channel=name)
    for name in ("greet", "old"):
        assert "conversation_index_1_intent_position_idx" in await indexes_of(store, intent=name)


async def indexes_of(store: EventStore, **filters: Any) -> set[str]:
    """The indexes that a page of ten is read from, after checks that hold for each plan."""
    statement, values = query(**{"active_since": None, "channel": None, "intent": None, "after": None, **filters})
    found = await read_active(store, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement, 10, *values)
    nodes = list(nodes_of(json.loads(found[0][0])[0]["Plan"]))
    assert not {"Seq Scan", "Sort", "Bitmap Heap Scan"} & {node["Node Type"] for node in nodes}
    assert max(node["Actual Rows"] for node in nodes) <= 10
    assert not any(node.get("Rows Removed by Filter") for node in nodes)
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes_of(child)


def test_storable_replaces_what_columns_refuse_and_nothing_else() -> None:
    assert storable("a\0b\ud800c\udfff\U0001f600é") == "a\ufffdb\ufffdc\ufffd\U0001f600é"


@given(hostile())
def test_a_storable_text_is_storable_already(text: str) -> None:
    assert storable(storable(text)) == storable(text)
    assert "\0" not in storable(text)
    storable(text).encode()
