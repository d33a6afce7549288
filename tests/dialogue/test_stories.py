"""Stories: as recorded from real Rasa, and YAML whatever was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from dialogue import Event, InvalidYaml, from_wire, load_yaml, story
from tests.dialogue.data import recorded
from tests.dialogue.strategies import histories, texts

RECORDED: dict[str, Any] = recorded("story_scenarios.json")


def of(*wire: dict[str, Any]) -> list[Event]:
    return [from_wire({"timestamp": index, **item}, 1.0) for index, item in enumerate(wire, 1) if "event" in item]


def steps(*wire: dict[str, Any]) -> list[dict[str, Any]]:
    (only,) = load_yaml(story("c", of(*wire)), "story")["stories"]
    result: list[dict[str, Any]] = only["steps"]
    return result


def user(text: str | None, **parse_data: Any) -> dict[str, Any]:
    return {"event": "user", "text": text, "parse_data": parse_data}


LISTEN = {"event": "action", "name": "action_listen"}
START = {"event": "action", "name": "action_session_start"}


@pytest.mark.parametrize("scenario", RECORDED)
def test_one_story_is_as_recorded(scenario: str) -> None:
    assert story("default", of(*RECORDED[scenario]["events_in"])) == RECORDED[scenario]["story"]


@pytest.mark.parametrize("scenario", RECORDED)
def test_the_stories_of_all_sessions_are_as_recorded(scenario: str) -> None:
    text = story("default", of(*RECORDED[scenario]["events_in"]), all_sessions=True)
    assert text == RECORDED[scenario]["story_all_sessions"]


def test_a_time_ends_every_session_and_drops_those_that_are_empty() -> None:
    listed = of(LISTEN, user("a"), START, user("b"), START)
    assert story("c", listed, all_sessions=True, time=4).count("- story: c, story ") == 2
    assert story("c", listed, all_sessions=True, time=2).count("- story: c\n") == 1
    assert story("c", listed, time=0) == 'version: "3.1"\n'


class TestEntities:
    def marked(self, text: str, *entities: dict[str, Any]) -> str:
        given_entities = [{"entity": "city", "value": None, **entity} for entity in entities]
        (step,) = steps(user(text, entities=given_entities))
        result: str = step["user"]
        return result

    def test_several_on_one_place_are_listed(self) -> None:
        place = {"start": 3, "end": 7, "value": "Rome"}
        marked = self.marked("to Rome now", place, {**place, "entity": "town", "role": "to"})
        assert marked == 'to [Rome][{"entity": "city"}, {"entity": "town", "role": "to"}] now'

    def test_they_are_marked_in_the_order_of_the_text(self) -> None:
        first, second = {"start": 0, "end": 1, "value": "a"}, {"start": 2, "end": 3, "value": "b"}
        assert self.marked("a b", second, first) == "[a](city) [b](city)"

    def test_a_text_with_a_slash_is_left_alone(self) -> None:
        assert self.marked("/greet", {"start": 0, "end": 6, "value": "x"}) == "/greet"

    def test_entities_that_came_later_are_marked(self) -> None:
        later = {"event": "entities", "entities": [{"entity": "city", "value": "Rome", "start": 3, "end": 7}]}
        assert steps(LISTEN, user("to Rome"), later) == [{"user": "to [Rome](city)"}]

    def test_entities_that_came_after_another_action_belong_to_no_message(self) -> None:
        later = {"event": "entities", "entities": [{"entity": "city", "value": "Rome", "start": 3, "end": 7}]}
        action = {"event": "action", "name": "utter_greet"}
        assert steps(LISTEN, user("to Rome"), action, later)[0] == {"user": "to Rome"}


def test_a_message_that_counts_by_its_text_shows_no_intent() -> None:
    by_text = {"event": "user_featurization", "use_text_for_featurization": True}
    assert steps(LISTEN, user("hi", intent={"name": "greet"}), by_text) == [{"user": "hi"}]


def test_a_message_without_text_and_intent_is_left_out() -> None:
    assert steps(user(None), {"event": "pause"}) == []


@pytest.mark.parametrize(
    "text", ["12", "null", "true", "2020-01-01", "a: b", "- a", "", "é😀", "a\n b \n", "#", "~", " a"]
)
def test_texts_that_look_like_something_else_stay_texts(text: str) -> None:
    assert steps({"event": "slot", "name": "s", "value": text}) == [{"slot_was_set": [{"s": text}]}]
    assert steps({"event": "action", "name": text or "x"}) == [{"action": text or "x"}]


def test_a_value_nested_as_deep_as_is_accepted_is_still_yaml() -> None:
    deep: Any = 1
    for _ in range(495):
        deep = [deep]
    assert "[[[[[" in story("c", of({"event": "slot", "name": "s", "value": deep}))


@given(histories, texts)
def test_any_conversation_gives_yaml(listed: list[Event], name: str) -> None:
    for all_sessions in (False, True):
        text = story(name, listed, all_sessions=all_sessions)
        try:
            read = load_yaml(text, "story")
        except InvalidYaml as fault:
            assert "U+D" in fault.reason or "\\uD" in text  # noqa: PT017 - YAML has no way to say a lone surrogate
        else:
            assert read["version"] == "3.1"
