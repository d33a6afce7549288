"""Random bodies never make the service fail, and what it shows can be put elsewhere unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue import dumps, loads, to_wire
from tests.api.http import Client, events_of, new_id
from tests.dialogue.strategies import loop_events, postable, texts, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Service

KINDS = [
    "user", "bot", "action", "slot", "entities", "user_featurization", "reminder", "cancel_reminder", "export",
    "followup", "active_loop", "form", "loop_interrupted", "form_validation", "action_execution_rejected", "agent",
    "reset_slots", "restart", "session_started", "pause", "resume", "rewind", "undo", "tracker_replaced", "topic",
]  # fmt: skip
FIELDS = [
    "timestamp", "metadata", "text", "parse_data", "input_channel", "message_id", "data", "name", "policy",
    "confidence", "action_text", "hide_rule_turn", "value", "entities", "use_text_for_featurization", "intent",
    "date_time", "kill_on_user_msg", "path", "is_interrupted", "validate",
]  # fmt: skip
VERBOSITIES = ["NONE", "APPLIED", "AFTER_RESTART", "ALL"]

parts = st.dictionaries(st.sampled_from(["intent", "entities", "text", "intent_ranking", "response_selector"]), values)
like_events = st.builds(
    lambda kind, fields: {"event": kind, **fields},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), values | parts | st.lists(parts, max_size=2), max_size=5),
)
bodies = st.one_of(
    values.map(dumps),
    like_events.map(dumps),
    st.lists(like_events | values, max_size=4).map(dumps),
    st.lists(postable | loop_events, min_size=1, max_size=8).map(lambda events: dumps([to_wire(e) for e in events])),
    st.text(max_size=20),
).map(lambda text: text.encode(errors="surrogatepass"))
mutilated = st.builds(
    lambda body, at, byte: body[:at] + byte + body[at + 1 :], bodies, st.integers(0, 99), st.binary(max_size=2)
)

alike = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def bare(service: Service) -> Iterator[Client]:
    """A client for all examples of a test."""
    client = Client(service.port)
    yield client
    client.close()


def assert_is_no_fault(client: Client, method: str, conversation: str, body: bytes) -> None:
    """The service took the body or refused it, and shows the conversation in every way it can be asked for."""
    posted = client.send(method, events_of(conversation), body)
    assert posted.status in (200, 400), (method, body, posted)
    for query in ("?include_events=NONE", "?include_events=APPLIED", "?include_events=ALL", "?until=5", "?version=3"):
        shown = client.tracker(conversation, query)
        assert shown.status in ((200, 404) if query == "?version=3" else (200,)), (body, query, shown)
        assert shown.body.isascii()
        loads(shown.body)
    story = client.get(f"/conversations/{conversation}/story?all_sessions=true")
    assert story.status in (200, 404), (body, story)


@alike
@given(body=bodies | mutilated, method=st.sampled_from(["POST", "PUT"]))
def test_no_body_is_a_fault_of_the_service(bare: Client, body: bytes, method: str) -> None:
    assert_is_no_fault(bare, method, new_id(), body)


@alike
@given(batches=st.lists(st.tuples(st.sampled_from(["POST", "POST", "PUT"]), bodies), min_size=2, max_size=4))
def test_nor_are_several_in_one_conversation(bare: Client, batches: list[tuple[str, bytes]]) -> None:
    name = new_id()
    for method, body in batches:
        assert_is_no_fault(bare, method, name, body)


@alike
@given(events=st.lists(postable | loop_events, min_size=1, max_size=10))
def test_what_is_shown_can_be_put_elsewhere(bare: Client, events: list[Any]) -> None:
    first, second, third = new_id(), new_id(), new_id()
    assert bare.put(first, dumps([to_wire(event) for event in events]).encode()).status == 200
    for source, target in ((first, second), (second, third)):
        shown = bare.tracker(source, "?include_events=ALL").body
        bare.put(target, dumps(loads(shown)["events"]).encode())
        assert bare.tracker(target, "?include_events=ALL").body.replace(target.encode(), source.encode()) == shown


@alike
@given(
    query=st.dictionaries(
        st.sampled_from(["until", "at", "version", "include_events", "token", "x"]), texts, max_size=3
    )
)
def test_no_query_is_a_fault_of_the_service(bare: Client, query: dict[str, str]) -> None:
    text = "?" + urlencode(query, errors="surrogatepass")
    assert bare.tracker("queried", text).status in (200, 400, 404), text
    assert bare.get("/turnlog/v1/events" + text).status == 200
