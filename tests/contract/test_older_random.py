"""Whatever a client of the older protocol does, one thing after the other, the service answers by its rules."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.client import Names, send
from tests.contract.normal_form import NormalForm, deviations
from tests.contract.older_model import LISTEN, LISTS, SHOWING_ALL, SLOTS, Conversation
from tests.contract.older_transcripts import older_scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.conftest import Port
    from tests.contract.transcripts import Scenario

Json = dict[str, Any]
Move = tuple[str, str, Any]

values = st.sampled_from(["mexican", "rome", "", 4, 0.5, True, None])
names = st.sampled_from([name for name in SLOTS if name not in LISTS])
actions = st.sampled_from(
    ["utter_ask_howcanhelp", "utter_on_it", "utter_ask_location", "utter_default", "suggest", "action_restart", LISTEN]
)
intents = st.sampled_from(["greet", "inform", "affirm", "deny", "thankyou", "tick", "restart", "unknown"])
everything = '/inform{"cuisine": "mexican", "location": "rome", "people": "four", "price": "cheap"}'
TOLD: Final = (
    *("/greet", "/inform", everything, "/affirm", "/deny", "/thankyou", "/tick", '/request_info{"info": "phone"}'),
    *(f'/inform{{"{name}": "{value}"}}' for name, value in json.loads(everything.removeprefix("/inform")).items()),
)
"""What users say in the stories."""

texts = st.one_of(
    st.sampled_from(["/restart", "hello there", "", "/", "  _greet ", "//greet", "/inform{", '{"cuisine": "mexican"}']),
    st.builds(
        lambda intent, entities: f"/{intent}{json.dumps(entities)}",
        intents,
        st.dictionaries(names, values | st.lists(values, min_size=1, max_size=2), max_size=3),
    ),
)
matches = {"event": "slot", "name": "matches", "value": ["Papi's Pizza Place"]}
events = st.one_of(
    st.builds(lambda name, value: {"event": "slot", "name": name, "value": value}, names, values),
    st.sampled_from(
        [
            *({"event": kind} for kind in ("restart", "reset_slots", "pause", "resume", "undo", "rewind")),
            {"event": "slot", "name": "unheard_of", "value": 1},
            matches,
            {"event": "action", "name": "utter_on_it"},
            {"event": "action", "name": LISTEN},
            {"event": "bot", "text": "hi", "data": None},
            {"event": "agent", "text": "hi", "data": {"a": [1]}},
            {
                "event": "user",
                "text": "hello",
                "parse_data": {"entities": [], "intent": {"confidence": 1.0, "name": "greet"}, "text": "hello"},
            },
        ]
    ),
)
some = st.lists(events, max_size=3)
led = st.builds(lambda texts: ("POST", "led", texts), st.permutations(TOLD))
"""The client does what it is told, or says what a story goes on with: the first such text."""

moves = st.one_of(
    led,
    st.builds(lambda text: ("POST", "parse", {"query": text}), texts | st.sampled_from(TOLD)),
    st.builds(lambda did, happened: ("POST", "continue", {"executed_action": did, "events": happened}), actions, some),
    st.builds(lambda happened: ("POST", "continue", {"events": happened}), some),
    st.builds(lambda happened: ("POST", "tracker/events", happened), some),
    st.builds(lambda happened: ("PUT", "tracker", happened), some),
)

BEYOND: Final = re.compile(
    "0_9_nlu/.*|0_9/(bad_events/.*|continue/events_string|loop/(handoff|old_underscore_form)|message/message_underscore_brackets|"
    "event_types/event_(action_none|reminder.*|slot_(key_not_name|no_value|object|ts_.*)|user|user_restart_intent)|"
    "pause/paused_(parse|continue)|tracker/(post_ts_string|put_item_without_event|put_round_trip))"
)
"""Scenarios with messages, events and times that the rules of the model do not speak of, and with mended faults."""


def _is_within(scenario: Scenario) -> bool:
    """Whether the model knows the requests of a scenario."""
    requests = [step.request for step in scenario.steps]
    return (
        all(step.status == 200 for step in scenario.steps)
        and all(request["path"].startswith("/conversations/") for request in requests)
        and all(request.keys() <= {"method", "path", "json", "query"} for request in requests)
        and all(request.get("query", SHOWING_ALL) == SHOWING_ALL for request in requests)
        and not any(request["path"].endswith("/respond") for request in requests)
        and BEYOND.fullmatch(scenario.path) is None
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(led, max_size=12), then=st.lists(moves, min_size=1, max_size=8))
def test_random_clients_are_answered_by_the_rules(port: Port, first: list[Move], then: list[Move]) -> None:
    model, names, begin = Conversation(), Names.draw("o-${run}"), time.time()
    for request, expected in _requests(model, [*first, *then]):
        answer = send(port("rasa_core_0_9"), request, names)
        assert answer.status == 200, (request, answer)
        found = list(deviations(expected, NormalForm(names, begin, time.time()).of(answer.raw)))
        assert not found, (request, found)


def _requests(model: Conversation, made: list[Move]) -> Iterator[tuple[Json, Json]]:
    """The requests that a client makes, with a look at the conversation after each, and the answers to them."""
    next_action = None
    for method, path, said in made:
        if path == "led":
            path, said = _led(model, next_action, said)
        request = {"method": method, "path": f"/conversations/${{conv_enc}}/{path}", "json": said}
        answer = model.answer(request)
        next_action = answer.get("next_action", next_action)
        yield request, answer
        look = {"method": "GET", "path": "/conversations/${conv_enc}/tracker"}
        yield look, model.answer(look)


def _led(model: Conversation, next_action: str | None, texts: list[str]) -> tuple[str, Json]:
    if next_action in (None, LISTEN):
        return "parse", {"query": next(filter(model.goes_on_with, texts), texts[0])}
    found = [matches] if next_action == "search_restaurants" else []
    return "continue", {"executed_action": next_action, "events": found}


@pytest.mark.parametrize("scenario", [*filter(_is_within, older_scenarios())], ids=lambda scenario: scenario.path)
def test_the_rules_are_those_of_the_recordings(scenario: Scenario) -> None:
    """The model answers as rasa_core did, where the few rules that it knows are all that matters."""
    model = Conversation()
    for step in scenario.steps:
        assert list(deviations(model.answer(step.request), step.body)) == []
