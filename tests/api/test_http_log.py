"""What Rasa does not have: the log's own pages, the index of conversations, probes and metrics."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.api.http import Client, envelope, new_id, slot
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = "/turnlog/v1/events"
INDEX = "/turnlog/v1/conversations"


def own(name: str) -> str:
    """The path of a conversation's events."""
    return f"{INDEX}/{quote(name, safe='')}/events"


def pages(client: Client, path: str, key: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """All pages to the end."""
    after: int | str | None = None
    while True:
        query = f"limit={limit}" + ("" if after is None else f"&after={after}")
        answer = client.get(f"{path}{'&' if '?' in path else '?'}{query}")
        assert answer.status == 200, answer
        page = answer.json()
        yield page[key]
        after = page["after"]
        if after is None:
            return


class TestEvents:
    def test_of_the_whole_log_are_dense_to_the_end(self, client: Client) -> None:
        client.post(new_id(), [slot(n) for n in range(250)])
        events = [event for page in pages(client, ALL, "events", 97) for event in page]
        assert [event["position"] for event in events] == list(range(1, len(events) + 1))

    def test_of_a_conversation_are_those_of_all_its_generations(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        client.put(name, [slot(2)])
        events = [event for page in pages(client, own(name), "events", 4) for event in page]
        assert [event["version"] for event in events] == list(range(1, 7))
        assert [event["event"]["event"] for event in events[3:]] == ["slot", "tracker_replaced", "slot"]
        assert {event["conversation"] for event in events} == {name}

    def test_after_the_end_there_are_none(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        for path in (ALL, own(name)):
            assert client.get(f"{path}?after={2**61}").json() == {"events": [], "after": None}

    def test_that_fill_the_last_page_lead_to_an_end(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        assert [len(page) for page in pages(client, own(name), "events", 2)] == [2, 2]

    def test_of_a_conversation_with_an_odd_name_are_found(self, client: Client) -> None:
        name = 'ü/"\\😀 ' + new_id()
        client.post(name, slot("\ud800\0"))
        assert client.get(own(name)).json()["events"][3]["conversation"] == name

    def test_of_an_unknown_conversation_are_not_found(self, client: Client) -> None:
        envelope(client.get(own(new_id())), 404, "Not found")

    @pytest.mark.parametrize("path", [ALL, own("x")])
    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after=x", f"after={2**63 - 1}"])
    def test_with_a_number_out_of_bounds_are_refused(self, client: Client, path: str, query: str) -> None:
        error = envelope(client.get(f"{path}?{query}"), 400, "BadRequest")
        assert error["details"] == {"parameter": query.partition("=")[0], "in": "query"}

    def test_of_the_largest_after_are_none(self, client: Client) -> None:
        assert client.get(f"{ALL}?after={2**62}&limit=1000").json()["events"] == []


def said(intent: str, channel: str) -> dict[str, Any]:
    """A user's message."""
    return {"event": "user", "text": "x", "input_channel": channel, "parse_data": {"intent": {"name": intent}}}


def found(client: Client, query: str) -> list[str]:
    """The conversations that a query finds, over all pages."""
    return [row["id"] for page in pages(client, f"{INDEX}?{query}", "conversations", 2) for row in page]


class TestIndex:
    def test_finds_by_channel_and_intent_most_recent_first(self, client: Client) -> None:
        channel, names = new_id(), [new_id() for _ in range(5)]
        for number, name in enumerate(names):
            client.post(name, said("even" if number % 2 == 0 else "odd", channel))
        wait_until(lambda: len(found(client, f"channel={channel}")) == 5, "the index has caught up")
        assert found(client, f"channel={channel}") == names[::-1]
        assert found(client, f"channel={channel}&intent=odd") == [names[3], names[1]]
        assert found(client, f"channel={channel}&intent=none") == []

    def test_finds_by_time(self, client: Client) -> None:
        channel, name = new_id(), new_id()
        client.post(name, said("a", channel))
        wait_until(lambda: found(client, f"channel={channel}"), "the index has caught up")
        ago, ahead = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
        for text in (ago.isoformat(), f"{ago.timestamp():.3f}", ago.strftime("%Y-%m-%dT%H:%M:%SZ")):
            assert found(client, f"channel={channel}&active_since={text}") == [name]
        assert found(client, f"channel={channel}&active_since={ahead.isoformat()}") == []

    def test_tells_what_it_counts(self, client: Client) -> None:
        channel, name = new_id(), new_id()
        client.post(name, [said("a", channel), {"event": "bot", "text": "x"}, {"event": "action", "name": "utter_x"}])
        wait_until(lambda: found(client, f"channel={channel}"), "the index has caught up")
        row = client.get(f"{INDEX}?channel={channel}").json()["conversations"][0]
        counts = {key: row[key] for key in ("version", "generation", "events", "user_events", "bot_events", "action")}
        assert counts == {
            "version": 6, "generation": 1, "events": 6, "user_events": 1, "bot_events": 1, "action": "utter_x",
        }  # fmt: skip
        assert datetime.fromisoformat(row["first_seen"]) <= datetime.fromisoformat(row["last_activity"])

    @pytest.mark.parametrize(
        "query", ["after=x", "after=%00", "after=AQ", "after=" + "A" * 500, "after=%C3%BC", "limit=0", "active_since=x"]
    )
    def test_refuses_what_it_did_not_give(self, client: Client, query: str) -> None:
        wait_until(lambda: client.get(INDEX).status == 200, "the index is built")
        error = envelope(client.get(f"{INDEX}?{query}"), 400, "BadRequest")
        assert error["details"] == {"parameter": query.partition("=")[0], "in": "query"}

    @pytest.mark.parametrize(
        "query", ["channel=%00", "intent=%ED%A0%80", "channel=" + "x" * 2000, "active_since=0001-01-01"]
    )
    def test_finds_nothing_or_all_for_odd_values(self, client: Client, query: str) -> None:
        wait_until(lambda: client.get(INDEX).status == 200, "the index is built")
        assert client.get(f"{INDEX}?{query}").status == 200


class TestProbes:
    def test_readiness_tells_the_database_the_model_and_the_projections(self, client: Client) -> None:
        wait_until(lambda: client.get(INDEX).status == 200, "the index is built")
        answer = client.get("/readyz").json()
        assert (answer["status"], answer["database"], answer["model"]) == ("ok", "ok", "bot")
        names = [projection["name"] for projection in answer["projections"]]
        assert (names, answer["position"] >= 0) == (["conversation_index"], True)

    def test_liveness_says_ok(self, client: Client) -> None:
        assert client.get("/livez").json() == {"status": "ok"}

    def test_metrics_count_answers_by_endpoint_method_and_status(self, client: Client) -> None:
        def counted() -> float:
            text = client.get("/metrics").body.decode()
            pattern = r'^turnlog_http_request_seconds_count\{endpoint="post_events",method="POST",status="400"\} (\S+)$'
            match = re.search(pattern, text, re.MULTILINE)
            return float(match[1]) if match else 0.0

        before = counted()
        for _ in range(3):
            client.post(new_id(), {"event": "nope"})
        assert counted() == before + 3

    def test_metrics_tell_the_log_and_that_the_database_is_up(self, client: Client) -> None:
        client.post(new_id(), slot(1))
        last = client.get("/readyz").json()["position"]
        text = client.get("/metrics").body.decode()
        up, position = (
            re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
            for name in ("turnlog_database_up", "turnlog_log_position")
        )
        assert up
        assert position
        assert (float(up[1]), float(position[1])) == (1.0, last)

    def test_metrics_have_no_names_of_conversations(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        client.get(f"/{name}")
        assert name not in client.get("/metrics").body.decode()
