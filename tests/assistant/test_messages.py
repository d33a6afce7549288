"""What the bot says, as messages: what was recorded, and each part of an event alone."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.messages import messages_of
from assistant.wording import uttered
from dialogue import BotUttered
from tests.assistant.bots import PLAYABLE, dialogues_of, event_of

BUTTON = {"title": "Yes", "payload": "/yes"}


def shown(**message: Any) -> list[dict[str, Any]]:
    """The messages of what a response makes the bot say, without the recipient."""
    found = messages_of(uttered(message), "c")
    assert all(next(iter(each.items())) == ("recipient_id", "c") for each in found)
    return [{key: value for key, value in each.items() if key != "recipient_id"} for each in found]


def test_every_recorded_answer_is_made_from_its_events() -> None:
    compared = 0
    for bot in PLAYABLE:
        for step in (step for dialogue in dialogues_of(bot) for step in dialogue if "responses" in step):
            said = [event_of(event) for event in step["events"] if event["event"] == "bot"]
            got = [message for event in said if isinstance(event, BotUttered) for message in messages_of(event, "<ID>")]
            assert got == step["responses"], (bot, step["send"])
            compared += len(got)
    assert compared > 400


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("one", ["one"]),
        ("one\ntwo", ["one\ntwo"]),
        (" \n\none\n\ntwo\n\n ", ["one", "two"]),
        ("one\n\n\ntwo", ["one", "\ntwo"]),
        ("one\n\n\n\ntwo", ["one", "", "two"]),
        ("", []),
        (None, []),
        (5, [5]),
    ],
)
def test_paragraphs_are_messages(text: Any, paragraphs: list[Any]) -> None:
    assert shown(text=text) == [{"text": paragraph} for paragraph in paragraphs]


def test_buttons_stand_below_the_whole_text() -> None:
    assert shown(text=" a\n\nb", buttons=[BUTTON]) == [{"text": " a\n\nb", "buttons": [BUTTON]}]


def test_quick_replies_come_before_buttons() -> None:
    assert shown(text="a", buttons=[BUTTON], quick_replies=[{"title": "q"}]) == [
        {"text": "a", "buttons": [{"title": "q"}]}
    ]


def test_buttons_without_a_text() -> None:
    assert shown(buttons=[BUTTON]) == [{"buttons": [BUTTON]}]


def test_the_order_of_parts() -> None:
    elements = [{"title": "t", "subtitle": "s", "buttons": [BUTTON]}, {"title": "u"}]
    assert shown(text="a", elements=elements, attachment={"type": "file"}, image="i", custom={"x": 1}) == [
        {"text": "a"},
        {"custom": {"x": 1}},
        {"image": "i"},
        {"attachment": {"type": "file"}},
        {"text": "t : s", "buttons": [BUTTON]},
        {"text": "u : ", "buttons": []},
    ]


def test_an_image_is_not_sent_again_as_attachment() -> None:
    assert uttered({"image": "i"}).data["attachment"] == "i"
    assert shown(image="i") == [{"image": "i"}]


@pytest.mark.parametrize("data", [None, {}, "text", {"elements": "x"}, {"elements": ["x"]}, {"buttons": []}])
def test_odd_events_of_clients_do_no_harm(data: Any) -> None:
    event = BotUttered(timestamp=1.0, metadata={}, text="a", data=data)
    assert messages_of(event, "c") == [{"recipient_id": "c", "text": "a"}]
