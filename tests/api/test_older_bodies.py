"""What rasa_core 0.9 says of events and messages that it did not know all of."""

from __future__ import annotations

from typing import Any

import pytest

from api import older
from dialogue import BotUttered, Domain, decode_posted, fold, initial
from dialogue.json import dumps_sorted


def shown(*wires: str) -> list[dict[str, Any]]:
    """The events of a conversation, as they are shown."""
    domain = Domain.empty()
    events = [event for wire in wires for event in decode_posted(wire.encode(), 1.0)]
    state = older.state(fold(initial(domain), events, domain, ()), "c", domain, events)
    listed: list[dict[str, Any]] = state["events"]
    return [{key: value for key, value in event.items() if key != "timestamp"} for event in listed]


def said(text: str | None = None, **data: Any) -> list[dict[str, Any]]:
    """The messages of one event, without their recipient."""
    event = BotUttered(timestamp=1.0, metadata={}, text=text, data=data)
    messages = list(older.messages_of(event, "ann"))
    assert [message.pop("recipient_id") for message in messages] == ["ann"] * len(messages)
    return messages


def test_events_have_the_keys_of_their_age() -> None:
    assert shown(
        '{"event": "action", "name": "a", "policy": "p", "confidence": 1}',
        '{"event": "slot", "name": "s", "value": 1, "metadata": {"x": 1}}',
        '{"event": "user", "text": "t", "input_channel": "c", "parse_data": {"intent": {}, "text_tokens": []}}',
        '{"event": "resume"}',
    ) == [
        {"event": "action", "name": "a"},
        {"event": "slot", "name": "s", "value": 1},
        {"event": "user", "text": "t", "parse_data": {"intent": {}, "entities": [], "text": "t"}},
        {"event": "resume"},
    ]


@pytest.mark.parametrize("event", ["session_started", "followup", "active_loop", "user_featurization"])
def test_events_of_later_ages_are_not_shown(event: str) -> None:
    assert shown(f'{{"event": "{event}"}}') == []


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ("{}", None),
        ('{"buttons": null, "image": "i", "attachment": "i"}', {"attachment": "i"}),
        ('{"buttons": [], "own": null}', {"buttons": [], "own": None}),
        ("[1]", [1]),
    ],
)
def test_what_a_message_has_beside_its_text_is_shown_where_there_is_any(data: str, seen: object) -> None:
    assert shown(f'{{"event": "bot", "text": "t", "data": {data}}}') == [{"event": "bot", "text": "t", "data": seen}]


def test_elements_stand_in_the_place_of_the_text() -> None:
    card = {"title": "card", "subtitle": "sub", "buttons": [{"title": "b"}]}
    assert said("text", elements=[card, "?"]) == [{"text": "card : sub", "data": [{"title": "b"}]}]


def test_an_image_is_said_as_text() -> None:
    assert said("look", image="http://i", attachment="http://i") == [{"text": "look"}, {"text": "Image: http://i"}]


def test_what_is_of_no_age_is_said_as_it_is() -> None:
    assert said(custom={"a": 1}) == [{"custom": {"a": 1}}]


@pytest.mark.parametrize("value", [{"b": 1, "a": {"d": "ä", "c": []}}, {"b": "\ud800", "a": 1}, {"a": 1.5}])
def test_keys_are_sorted_in_ascii(value: dict[str, Any]) -> None:
    text = dumps_sorted(value)
    assert text.isascii()
    assert text.startswith('{"a":')
    assert older.body_of(text.encode()) == value
