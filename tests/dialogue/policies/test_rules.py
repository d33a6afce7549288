from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dialogue.policies.configuration import RulesConfig
from dialogue.policies.learning import DO_NOT_PREDICT_LOOP, LOOP_WAS_INTERRUPTED, RuleTable
from dialogue.policies.rules import RulePolicy
from dialogue.policies.states import SHOULD_NOT_BE_SET, State, key
from tests.dialogue.policies.conversations import (
    by_text,
    did,
    in_loop,
    past,
    refused,
    said,
    set_slot,
    turn,
)

if TYPE_CHECKING:
    from dialogue.policies.history import History
    from dialogue.policies.opinion import Opinion

FORM = "order_form"


def _heard(intent: str | None = None, **more: Any) -> State:
    return State(intent=intent, action="action_listen", **more)


def _opinion(
    found: History, *rules: tuple[list[State], str], table: dict[str, Any] | None = None, **config: Any
) -> Opinion:
    texts = {key(states): action for states, action in rules}
    return RulePolicy(RulesConfig(**config), RuleTable(rules=texts, **(table or {}))).opinion(found)


GREET = ([_heard("greet")], "utter_greet")


def test_a_rule_gives_its_action_the_full_score_beside_the_fallback() -> None:
    assert _opinion(past(said("greet")), GREET).scores == {"action_default_fallback": 0.3, "utter_greet": 1.0}


def test_without_a_rule_it_falls_back() -> None:
    assert _opinion(past(said("bye")), GREET).scores == {"action_default_fallback": 0.3}


def test_without_fallbacks_it_says_nothing() -> None:
    assert _opinion(past(said("bye")), GREET, enable_fallback_prediction=False).scores == {}


def test_the_fallback_is_as_configured() -> None:
    config: dict[str, Any] = {"core_fallback_action_name": "utter_default", "core_fallback_threshold": 0.4}
    assert _opinion(past(said("bye")), GREET, **config).scores == {"utter_default": 0.4}


def test_the_score_can_be_the_confidence_of_the_intent() -> None:
    opinion = _opinion(past(said("greet", confidence=0.2)), GREET, use_nlu_confidence_as_score=True)
    assert opinion.scores == {"action_default_fallback": 0.3, "utter_greet": 0.2}


def test_the_most_specific_rule_decides() -> None:
    with_slot = ([_heard("greet", slots=(("vip", (1.0, 1.0)),))], "utter_bye")
    assert "utter_bye" in _opinion(past(set_slot("vip", True), said("greet")), GREET, with_slot).scores


def test_of_equally_specific_rules_the_first_decides() -> None:
    first = ([_heard("greet", slots=(("aaa", SHOULD_NOT_BE_SET),))], "utter_bye")
    second = ([_heard("greet", slots=(("bbb", SHOULD_NOT_BE_SET),))], "utter_faq")
    assert "utter_bye" in _opinion(past(said("greet")), first, second).scores
    assert "utter_faq" in _opinion(past(said("greet")), second, first).scores


@pytest.mark.parametrize(
    ("intent", "action"),
    [("restart", "action_restart"), ("back", "action_back"), ("session_start", "action_session_start")],
)
def test_default_intents_come_before_rules(intent: str, action: str) -> None:
    assert action in _opinion(past(said(intent)), ([_heard(intent)], "utter_bye")).scores


def test_default_intents_come_before_loops() -> None:
    found = past(said("order"), did(FORM), in_loop(FORM), did("action_listen"), said("restart"))
    assert "action_restart" in _opinion(found).scores


def test_a_default_intent_counts_once_only() -> None:
    assert "action_back" not in _opinion(past(said("back"), did("utter_bye"))).scores


def test_a_default_intent_counts_though_the_bot_has_not_listened() -> None:
    assert "action_restart" in _opinion(past(said("greet"), did("utter_greet"), said("restart"))).scores


def test_a_rule_for_a_text_comes_before_default_intents() -> None:
    opinion = _opinion(past(said("restart", text="stop")), ([_heard(text="stop")], "utter_bye"))
    assert "utter_bye" in opinion.scores
    assert opinion.uses_text


def test_a_rule_for_a_text_comes_before_one_for_the_intent() -> None:
    opinion = _opinion(past(said("greet", text="hi")), GREET, ([_heard(text="hi")], "utter_bye"))
    assert "utter_bye" in opinion.scores
    assert opinion.uses_text


def test_a_text_must_be_equal_to_the_letter() -> None:
    opinion = _opinion(past(said("greet", text="Hi")), GREET, ([_heard(text="hi")], "utter_bye"))
    assert "utter_greet" in opinion.scores
    assert not opinion.uses_text


def test_after_an_answer_to_a_text_rules_still_see_the_text() -> None:
    after = ([_heard(text="hi"), State(text="hi", action="utter_bye")], "action_listen")
    found = past(said("greet", text="hi"), by_text(), did("utter_bye"))
    assert "action_listen" in _opinion(found, after).scores


# --- loops ------------------------------------------------------------------------------------------------------------

ASKED = [*said("order"), *did(FORM), *in_loop(FORM), *did("action_listen")]


def test_an_active_loop_goes_on_whatever_the_user_says() -> None:
    opinion = _opinion(past(ASKED, said("greet")), GREET)
    assert FORM in opinion.scores
    assert opinion.ignores_user


def test_after_its_run_an_active_loop_listens() -> None:
    opinion = _opinion(past(said("order"), did(FORM), in_loop(FORM)))
    assert opinion.scores == {"action_default_fallback": 0.3, "action_listen": 1.0}
    assert opinion.ignores_user


def test_rules_are_asked_when_the_loop_refused() -> None:
    opinion = _opinion(past(ASKED, said("greet"), refused(FORM)), GREET)
    assert "utter_greet" in opinion.scores
    assert not opinion.ignores_user


GENERAL = (
    [_heard("greet"), State(intent="greet", action="utter_greet")],
    "action_listen",
)
ANSWERED = [*ASKED, *said("greet"), *refused(FORM), *did("utter_greet")]


def test_after_a_general_rule_the_loop_goes_on() -> None:
    opinion = _opinion(past(ANSWERED), GENERAL)
    assert FORM in opinion.scores
    assert not opinion.ignores_user


def test_a_rule_that_says_that_no_loop_is_active_is_general() -> None:
    states = [_heard("greet"), State(intent="greet", action="utter_greet", loop=SHOULD_NOT_BE_SET)]
    assert "action_listen" not in _opinion(past(ANSWERED), (states, "action_listen")).scores


def test_a_rule_that_names_the_loop_keeps_its_listen() -> None:
    states = [_heard("greet", loop=FORM), State(intent="greet", action="utter_greet", loop=FORM)]
    assert "action_listen" in _opinion(past(ANSWERED), (states, "action_listen")).scores


def test_where_a_story_does_not_go_back_to_the_loop_a_general_rule_says_nothing() -> None:
    here = key([_heard(), State(intent="greet", action="utter_greet", loop=FORM)])
    opinion = _opinion(past(ANSWERED), GENERAL, table={"unhappy": {here: DO_NOT_PREDICT_LOOP}})
    assert opinion.scores == {"action_default_fallback": 0.3}


def test_a_loop_is_told_that_it_was_interrupted() -> None:
    here = key([_heard("greet", loop=FORM)])
    found = past(ASKED, said("greet"), refused(FORM))
    opinion = _opinion(found, table={"unhappy": {here: LOOP_WAS_INTERRUPTED}})
    assert opinion.interrupts_loop
    assert opinion.scores == {"action_default_fallback": 0.3}


def test_a_loop_that_the_bot_does_not_know_is_not_gone_on_with() -> None:
    assert "utter_greet" in _opinion(past(in_loop("old_form"), said("greet")), GREET).scores


# --- hidden turns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (past(said("greet")), key(GREET[0])),
        (past(said("back")), "predicting default action with intent back"),
        (past(ASKED, said("greet")), f"handling active loops and forms - {FORM}"),
        (past(said("order"), did(FORM), in_loop(FORM)), f"handling active loops and forms - {FORM} - action_listen"),
    ],
)
def test_a_turn_is_hidden_when_no_story_has_it(found: History, source: str) -> None:
    assert _opinion(found, GREET, table={"rules_not_in_stories": (source,)}).hides_rule_turn
    assert not _opinion(found, GREET).hides_rule_turn


def test_a_fallback_is_not_hidden() -> None:
    opinion = _opinion(past(turn("greet", "utter_greet"), said("bye")), GREET, table={"rules_not_in_stories": ("x",)})
    assert not opinion.hides_rule_turn
