from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dialogue import UserUtteranceReverted
from dialogue.policies.history import history
from dialogue.policies.prediction import Situation
from dialogue.policies.states import State
from tests.dialogue.policies.conversations import (
    DOMAIN,
    TIME,
    by_intent,
    by_text,
    did,
    in_loop,
    more_entities,
    past,
    reset_slots,
    said,
    set_slot,
    situation,
    turn,
    uttered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import Event

UNSET = (("vip", (1.0, 0.0)),)


def _now(*parts: Sequence[Event]) -> State:
    return past(*parts).states[-1]


def test_there_is_a_state_before_each_action_and_one_now() -> None:
    assert past(turn("greet", "utter_greet")).states == [
        State(slots=UNSET),
        State(slots=UNSET, action="action_listen", intent="greet"),
        State(slots=UNSET, action="utter_greet", intent="greet"),
        State(slots=UNSET, action="action_listen", intent="greet"),
    ]


def test_a_state_has_the_entities_that_count_sorted() -> None:
    assert _now(said("greet", entities=["size", "city", "color", "city"])).entities == ("city", "size")


def test_a_state_has_the_roles_of_entities_that_the_domain_knows() -> None:
    [message] = said("greet")
    message.parse_data["entities"] += [  # type: ignore[attr-defined]
        {"entity": "size", "value": "v", "role": "big"},
        {"entity": "city", "value": "v", "role": "from"},
    ]
    assert _now([message]).entities == ("city", "size", "size#big")


def test_entities_that_are_found_later_count() -> None:
    assert _now(said("greet", entities=["size"]), more_entities("city")).entities == ("city", "size")


def test_entities_that_are_found_after_an_answer_do_not_count() -> None:
    assert _now(said("greet"), did("utter_greet"), more_entities("city")).entities == ()


def test_the_features_of_slots_are_seen() -> None:
    assert _now(set_slot("size", "big"), set_slot("vip", True)).slots == (("size", (1.0,)), ("vip", (1.0, 1.0)))


def test_slots_without_a_value_are_not_seen() -> None:
    assert _now(set_slot("size", "big"), set_slot("size", None), set_slot("vip", None)).slots == ()


def test_slots_that_are_reset_have_their_initial_values() -> None:
    assert _now(set_slot("size", "big"), set_slot("vip", None), reset_slots()).slots == UNSET


def test_slots_that_the_domain_does_not_know_are_not_seen() -> None:
    assert _now(set_slot("other", 1)).slots == UNSET


def test_the_active_loop_is_seen() -> None:
    assert _now(in_loop("order_form")).loop == "order_form"
    assert _now(in_loop("order_form"), in_loop(None)).loop is None


@pytest.mark.parametrize("name", [5, ["order_form"], {}])
def test_a_loop_whose_name_is_no_text_is_not_seen(name: Any) -> None:
    assert _now(in_loop(name)).loop is None


def test_what_the_bot_said_word_for_word_is_its_last_action() -> None:
    state = _now(said("greet"), by_intent(), uttered("Good day"))
    assert (state.action, state.action_text) == (None, "Good day")


def test_a_message_without_an_intent_counts_by_its_text_only_once_something_was_done() -> None:
    assert _now(said(None, text="x")).text is None
    assert _now(said(None, text="x"), did("utter_greet")).text == "x"
    assert _now(said(None, text="x"), by_intent(), did("utter_greet")).text is None


def test_a_message_that_counted_by_its_text_has_no_intent() -> None:
    state = _now(said("greet", text="hi", entities=["city"]), by_text(), did("utter_greet"))
    assert (state.intent, state.entities, state.text) == (None, (), "hi")


def test_by_text_only_the_latest_message_has_its_text() -> None:
    states = past(turn("greet", "utter_greet"), said("bye", text="ciao")).text_states
    assert [(state.intent, state.text) for state in states[1:]] == [
        ("greet", None),
        ("greet", None),
        (None, "ciao"),
    ]


def test_what_was_taken_back_is_not_seen() -> None:
    found = past(turn("greet", "utter_greet"), said("bye"), [UserUtteranceReverted(**TIME)])
    assert found.states == past(said("greet"), by_intent(), did("utter_greet")).states


def test_sessions_before_are_not_seen() -> None:
    before = situation(turn("greet", "utter_greet"))
    both = situation(turn("greet", "utter_greet"), situation(said("bye")).events)
    assert len(before.events) < len(both.events)
    assert history(both, DOMAIN).states == past(said("bye")).states


def test_events_of_sessions_before_need_not_be_given() -> None:
    both = situation(turn("greet", "utter_greet"), situation(said("bye")).events)
    short = Situation(both.tracker, both.events[both.tracker.reset_version :])
    assert history(short, DOMAIN).states == history(both, DOMAIN).states


def test_an_equal_state_is_the_one_that_was_first() -> None:
    found = past(said("greet"))
    first = found.shared(State(intent="greet"))
    assert found.shared(State(intent="greet")) is first
