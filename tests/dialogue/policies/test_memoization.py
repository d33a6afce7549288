from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from dialogue import ActionExecuted
from dialogue.policies.configuration import MemoizationConfig
from dialogue.policies.history import History
from dialogue.policies.history import by_intent as shown
from dialogue.policies.learning import StoryTable
from dialogue.policies.memoization import WHOLE, MemoizationPolicy, RuleOnly, seen
from dialogue.policies.states import State, story_key
from tests.dialogue.policies.conversations import (
    by_intent,
    by_text,
    did,
    followed_by,
    in_loop,
    more_entities,
    past,
    reset_slots,
    said,
    set_slot,
    turn,
    uttered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import Event
    from dialogue.policies.opinion import Opinion

FORM = "order_form"
UNSET = (("vip", (1.0, 0.0)),)
"""What is seen of the slots of a new session: one has an initial value."""

START = State(slots=UNSET)
NOTHING = RuleOnly()


def _state(action: str, intent: str | None = None, slots: Any = UNSET, **more: Any) -> State:
    return State(action=action, intent=intent, slots=slots, **more)


def _policy(*pieces: tuple[Sequence[State], str], rule_only: RuleOnly = NOTHING, **config: Any) -> MemoizationPolicy:
    table = StoryTable({story_key(states): action for states, action in pieces})
    return MemoizationPolicy(MemoizationConfig(**config), table, rule_only)


def _opinion(found: History, *pieces: tuple[Sequence[State], str], **config: Any) -> Opinion:
    return _policy(*pieces, **config).opinion(found)


GREETED = ([START, _state("action_listen", "greet")], "utter_greet")
THEN_BYE = (
    [*GREETED[0], _state("utter_greet", "greet"), _state("action_listen", "bye")],
    "utter_bye",
)


def test_a_story_is_followed_from_the_start_of_the_session() -> None:
    assert _opinion(past(turn("greet", "utter_greet"), said("bye")), GREETED, THEN_BYE).scores == {"utter_bye": 1.0}


def test_where_no_story_leads_it_says_nothing() -> None:
    assert _opinion(past(said("bye")), GREETED, THEN_BYE).scores == {}


def test_without_any_story_it_says_nothing() -> None:
    assert _opinion(past(said("bye"))).scores == {}


def test_a_story_ends_where_something_else_happened() -> None:
    assert _opinion(past(turn("faq", "utter_faq"), said("greet")), GREETED).scores == {}


def test_with_a_bounded_history_what_was_before_does_not_matter() -> None:
    piece = ([_state("utter_faq", "faq"), _state("action_listen", "greet")], "utter_greet")
    found = past(turn("bye", "utter_bye"), turn("faq", "utter_faq"), said("greet"))
    assert _opinion(found, piece, max_history=2).scores == {"utter_greet": 1.0}


def test_the_score_can_be_the_confidence_of_the_intent() -> None:
    found = past(said("greet", confidence=0.4))
    assert _opinion(found, GREETED, use_nlu_confidence_as_score=True).scores == {"utter_greet": 0.4}


def test_a_text_that_nobody_understood_is_a_message_without_intent() -> None:
    piece = ([START, _state("action_listen")], "utter_default")
    assert _opinion(past(said(None, text="gibberish")), piece).scores == {"utter_default": 1.0}


def test_what_the_bot_said_word_for_word_is_part_of_a_story() -> None:
    said_so = State(action_text="Good day", intent="greet", slots=UNSET)
    piece = ([*GREETED[0], said_so], "action_listen")
    assert _opinion(past(said("greet"), by_intent(), uttered("Good day")), piece).scores == {"action_listen": 1.0}


# --- what stories do not see ------------------------------------------------------------------------------------------


def test_turns_of_rules_are_not_seen() -> None:
    found = past(turn("greet", "utter_greet"), turn("faq", "utter_faq", hides=True), said("bye"))
    assert seen(found, WHOLE, NOTHING) == THEN_BYE[0]


def test_within_a_turn_only_actions_of_rules_are_not_seen() -> None:
    found = past(said("greet"), by_intent(), did("utter_faq", hides=True), did("utter_greet"))
    assert seen(found, WHOLE, NOTHING) == [START, _state("action_listen"), _state("utter_greet")]


def test_a_loop_that_a_rule_began_is_not_seen() -> None:
    run = [*did(FORM, hides=True), *in_loop(FORM), *did("action_listen")]
    found = past(turn("greet", "utter_greet"), said("order"), by_intent(), run, said("bye"))
    assert seen(found, WHOLE, RuleOnly(loops=frozenset({FORM}))) == THEN_BYE[0]


def test_slots_that_only_rules_use_are_not_seen() -> None:
    found = past(set_slot("size", "big"), said("greet"))
    assert seen(found, WHOLE, RuleOnly(slots=frozenset({"size"}))) == GREETED[0]


def test_loops_that_only_rules_use_are_not_seen() -> None:
    found = past(in_loop(FORM), said("greet"))
    assert seen(found, WHOLE, RuleOnly(loops=frozenset({FORM}))) == GREETED[0]


def test_surprise_at_an_intent_is_not_seen() -> None:
    found = past(turn("greet", "utter_greet"), said("bye"), did("action_unlikely_intent"))
    assert seen(found, WHOLE, NOTHING) == THEN_BYE[0]


# --- augmented --------------------------------------------------------------------------------------------------------


def test_augmented_a_story_may_begin_later() -> None:
    found = past(turn("faq", "utter_faq"), turn("greet", "utter_greet"), said("bye"))
    assert _opinion(found, GREETED, THEN_BYE).scores == {}
    assert _opinion(found, GREETED, THEN_BYE, augmented=True).scores == {"utter_bye": 1.0}


def test_augmented_the_longest_story_decides() -> None:
    short = ([START, _state("action_listen", "bye")], "utter_faq")
    found = past(turn("faq", "utter_faq"), turn("greet", "utter_greet"), said("bye"))
    assert _opinion(found, GREETED, short, THEN_BYE, augmented=True).scores == {"utter_bye": 1.0}


def test_augmented_slots_that_were_set_before_are_forgotten() -> None:
    found = past(set_slot("size", "big"), turn("faq", "utter_faq"), said("greet"))
    assert _opinion(found, GREETED, augmented=True).scores == {"utter_greet": 1.0}


def test_augmented_a_bounded_history_keeps_the_message() -> None:
    piece = ([_state("utter_faq", "faq"), _state("action_listen", "greet")], "utter_greet")
    found = past(set_slot("size", "big"), turn("bye", "utter_bye"), turn("faq", "utter_faq"), said("greet"))
    assert _opinion(found, piece, max_history=2).scores == {}
    assert _opinion(found, piece, max_history=2, augmented=True).scores == {"utter_greet": 1.0}


def test_augmented_a_story_may_begin_with_an_action() -> None:
    piece = ([START, _state("utter_faq"), _state("action_listen", "greet")], "utter_greet")
    found = past(turn("bye", "utter_bye"), turn("faq", "utter_faq"), said("greet"))
    assert _opinion(found, piece, augmented=True).scores == {"utter_greet": 1.0}


def test_augmented_long_sessions_are_followed_too() -> None:
    chat = [event for _ in range(50) for event in turn("faq", "utter_faq")]
    found = past(chat, turn("greet", "utter_greet"), said("bye"))
    assert _opinion(found, GREETED, THEN_BYE, augmented=True).scores == {"utter_bye": 1.0}


_PARTS = [
    *(said(intent) for intent in ("greet", "bye", None)),
    said("order", entities=["city"]),
    *(
        did(name, hides=hides)
        for name in ("utter_greet", "action_listen", "action_listen", FORM)
        for hides in (True, False)
    ),
    uttered("Good day"),
    *(in_loop(name) for name in (FORM, None)),
    *(set_slot("vip", value) for value in (True, False, None)),
    *(set_slot("size", value) for value in ("big", None)),
    by_intent(),
    by_text(),
    reset_slots(),
    followed_by("utter_bye"),
    more_entities("city"),
]


@given(st.lists(st.sampled_from(_PARTS), max_size=30), st.sampled_from([NOTHING, RuleOnly(frozenset({"size"}))]))
def test_a_later_beginning_is_seen_as_a_session_of_its_own(parts: list[list[Event]], rule_only: RuleOnly) -> None:
    found = past(*parts)
    actions = [index for index, event in enumerate(found.events) if isinstance(event, ActionExecuted)]
    for number, start in enumerate(actions):
        own = History(found.domain, found.tracker, found.events[start:])
        assert seen(found, number, rule_only) == seen(own, WHOLE, rule_only)


@given(st.lists(st.sampled_from(_PARTS), max_size=30), st.integers(0, 30))
def test_a_story_that_begins_at_any_action_is_recalled(parts: list[list[Event]], start: int) -> None:
    found = past(*parts)
    states = shown(seen(found, start % (len(found.moments) - 1), NOTHING))
    assert _opinion(found, (states, "utter_bye"), augmented=True).scores == {"utter_bye": 1.0}
