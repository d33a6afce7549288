from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dialogue.policies.configuration import MemoizationConfig, PolicyConfig, RulesConfig
from dialogue.policies.ensemble import Policies, decisive
from dialogue.policies.learning import LOOP_WAS_INTERRUPTED, RuleTable, StoryTable
from dialogue.policies.opinion import Opinion
from dialogue.policies.states import State, key, story_key
from tests.dialogue.policies.conversations import (
    DOMAIN,
    did,
    followed_by,
    in_loop,
    refused,
    said,
    set_slot,
    situation,
    turn,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import Event
    from dialogue.policies.prediction import Prediction

FORM = "order_form"
UNSET = (("vip", (1.0, 0.0)),)
STORY = StoryTable(
    {story_key([State(slots=UNSET), State(action="action_listen", intent="greet", slots=UNSET)]): "utter_bye"}
)
WORDS = StoryTable(dict.fromkeys(STORY.lookup, "Good day"))
RULES = RuleTable(rules={key([State(action="action_listen", intent="greet")]): "utter_greet"})
NONE = RuleTable(rules={})


def _predicted(
    *parts: Sequence[Event], configs: Sequence[PolicyConfig], tables: Sequence[RuleTable | StoryTable]
) -> Prediction:
    return Policies(DOMAIN, configs, tables).predict(situation(*parts))


def _by_rules(*parts: Sequence[Event], table: RuleTable = RULES, **config: Any) -> Prediction:
    return _predicted(*parts, configs=[RulesConfig(**config)], tables=[table])


def _by_both(*parts: Sequence[Event], rules: RuleTable = RULES, **config: Any) -> Prediction:
    return _predicted(*parts, configs=[MemoizationConfig(**config), RulesConfig()], tables=[STORY, rules])


def _opinion(policy: str, score: float = 1.0, priority: int = 3, **more: Any) -> Opinion:
    return Opinion(policy=policy, priority=priority, scores={"utter_greet": score}, **more)


# --- which opinion decides --------------------------------------------------------------------------------------------


def test_the_surest_opinion_decides() -> None:
    assert decisive([_opinion("a", 0.3, priority=4), _opinion("b", 1.0)]).policy == "b"


def test_of_equally_sure_ones_the_greatest_priority_decides() -> None:
    assert decisive([_opinion("a"), _opinion("b", priority=4)]).policy == "b"


def test_of_equal_ones_the_first_decides() -> None:
    assert decisive([_opinion("a"), _opinion("b")]).policy == "a"


def test_what_holds_whatever_the_user_says_decides_alone() -> None:
    opinions = [_opinion("a", 0.2, ignores_user=True), _opinion("b"), _opinion("c", uses_text=True)]
    assert decisive(opinions).policy == "a"


def test_what_holds_for_the_text_comes_before_the_intent() -> None:
    assert decisive([_opinion("a"), _opinion("b", 0.2, uses_text=True)]).policy == "b"


def test_a_policy_that_says_nothing_still_counts() -> None:
    silent = Opinion(policy="a", priority=3, scores={})
    assert decisive([silent]) is silent


# --- the prediction ---------------------------------------------------------------------------------------------------


def test_a_rule_wins_over_a_story() -> None:
    prediction = _by_both(said("greet"))
    assert (prediction.action, prediction.policy, prediction.confidence) == ("utter_greet", "RulePolicy", 1.0)


def test_a_story_wins_over_a_fallback() -> None:
    prediction = _by_both(said("greet"), rules=NONE)
    assert (prediction.action, prediction.policy) == ("utter_bye", "MemoizationPolicy")


def test_a_story_wins_over_a_rule_when_its_priority_is_greater() -> None:
    assert _by_both(said("greet"), priority=9).policy == "MemoizationPolicy"


def test_scores_are_those_of_all_actions_in_the_domain_s_order() -> None:
    scores = dict(zip(DOMAIN.action_names, _by_rules(said("greet")).scores, strict=True))
    assert {name: score for name, score in scores.items() if score} == {
        "utter_greet": 1.0,
        "action_default_fallback": 0.3,
    }


def test_without_any_score_it_listens() -> None:
    prediction = _by_rules(said("bye"), enable_fallback_prediction=False)
    assert (prediction.action, prediction.policy, prediction.confidence) == ("action_listen", "RulePolicy", 0.0)


def test_of_equal_scores_the_first_action_of_the_domain_is_taken() -> None:
    prediction = _by_rules(said("greet"), core_fallback_threshold=1.0)
    assert prediction.action == "action_default_fallback"


def test_a_fallback_wins_over_a_rule_for_an_unsure_intent() -> None:
    prediction = _by_rules(said("greet", confidence=0.2), use_nlu_confidence_as_score=True)
    assert (prediction.action, prediction.confidence) == ("action_default_fallback", 0.3)


def test_what_the_bot_says_word_for_word_is_a_text() -> None:
    prediction = _predicted(said("greet"), configs=[MemoizationConfig()], tables=[WORDS])
    assert prediction.action == "Good day"
    assert prediction.is_text


def test_an_action_is_no_text() -> None:
    assert not _by_rules(said("greet")).is_text


def test_after_a_message_it_is_told_that_the_intent_counted() -> None:
    assert _by_rules(said("greet")).uses_text is False


def test_after_a_message_it_is_told_that_the_text_counted() -> None:
    table = RuleTable(rules={key([State(action="action_listen", text="hi")]): "utter_greet"})
    assert _by_rules(said("greet", text="hi"), table=table).uses_text is True


def test_after_an_action_nothing_is_told_of_the_message() -> None:
    assert _by_rules(said("greet"), did("utter_greet")).uses_text is None


def test_the_turn_of_a_rule_is_hidden_when_the_rule_decides() -> None:
    hidden = RuleTable(rules=RULES.rules, rules_not_in_stories=tuple(RULES.rules))
    assert _by_both(said("greet"), rules=hidden).hides_rule_turn
    assert not _by_both(said("greet"), rules=hidden, priority=9).hides_rule_turn


def test_a_loop_is_told_of_an_interruption_whoever_decides() -> None:
    unhappy = {key([State(action="action_listen", intent="greet", loop=FORM)]): LOOP_WAS_INTERRUPTED}
    rules = RuleTable(rules={}, rule_only_loops=(FORM,), unhappy=unhappy)
    prediction = _by_both(in_loop(FORM), said("greet"), refused(FORM), rules=rules)
    assert prediction.policy == "MemoizationPolicy"
    assert prediction.interrupts_loop


def test_slots_that_only_rules_use_do_not_lead_away_from_stories() -> None:
    rules = RuleTable(rules={}, rule_only_slots=("size",))
    assert _by_both(set_slot("size", "big"), said("greet"), rules=rules).policy == "MemoizationPolicy"


# --- refused and given actions ----------------------------------------------------------------------------------------


def test_an_action_that_refused_is_not_predicted_again() -> None:
    prediction = _by_both(said("greet"), refused("utter_greet"))
    assert (prediction.action, prediction.policy) == ("utter_bye", "MemoizationPolicy")


def test_when_its_action_refused_a_policy_takes_its_next_one() -> None:
    prediction = _by_rules(said("greet"), refused("utter_greet"))
    assert (prediction.action, prediction.confidence) == ("action_default_fallback", 0.3)


def test_an_action_that_refused_before_another_one_ran_is_predicted_again() -> None:
    prediction = _by_rules(refused("utter_greet"), turn("bye", "utter_bye"), said("greet"))
    assert prediction.action == "utter_greet"


@pytest.mark.parametrize("name", [None, "utter_other", ["utter_greet"]])
def test_what_refused_need_not_be_an_action(name: Any) -> None:
    assert _by_rules(said("greet"), refused(name)).action == "utter_greet"


def test_an_action_that_was_given_comes_next() -> None:
    prediction = _by_rules(said("greet"), did("utter_greet"), followed_by("utter_faq"))
    assert (prediction.action, prediction.policy, prediction.confidence) == ("utter_faq", "followup_action", 1.0)
    assert prediction.uses_text is None
    assert max(prediction.scores) == 1.0


@pytest.mark.parametrize("name", ["utter_other", 5, ["utter_greet"]])
def test_a_given_action_that_the_bot_does_not_know_is_passed_over(name: Any) -> None:
    prediction = _by_rules(said("greet"), followed_by(name))
    assert (prediction.action, prediction.policy) == ("utter_greet", "RulePolicy")


def test_a_policy_cannot_use_the_table_of_another_one() -> None:
    with pytest.raises(TypeError, match="MemoizationPolicy has not learned a RuleTable"):
        Policies(DOMAIN, [MemoizationConfig()], [RULES])
