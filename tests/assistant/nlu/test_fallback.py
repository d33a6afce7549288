"""FallbackClassifier: intents that nobody is sure of."""

from __future__ import annotations

import pytest

from tests.assistant.nlu.data import examples, faults, parsed

CLASSIFIER = "- name: KeywordIntentClassifier\n"


@pytest.mark.parametrize(
    ("settings", "confidence"),
    [("", 0.3), ("\n  threshold: 0.7", 0.7), ("\n  threshold:\n  ambiguity_threshold: 0.5", 0.3)],
)
async def test_what_nobody_understands_becomes_a_fallback_as_sure_as_the_threshold(
    settings: str, confidence: float
) -> None:
    result = await parsed("what", f"{CLASSIFIER}- name: FallbackClassifier{settings}", examples("greet", "hi"))
    assert result["intent"] == {"name": "nlu_fallback", "confidence": confidence}
    assert "intent_ranking" not in result


async def test_a_threshold_of_zero_lets_everything_pass() -> None:
    components = f"{CLASSIFIER}- name: FallbackClassifier\n  threshold: 0"
    assert (await parsed("what", components, examples("greet", "hi")))["intent"]["name"] is None


async def test_a_sure_intent_stays() -> None:
    result = await parsed("hi", f"{CLASSIFIER}- FallbackClassifier", examples("greet", "hi"))
    assert result["intent"] == {"name": "greet", "confidence": 1.0}


async def test_an_explicit_intent_stays_however_unsure() -> None:
    result = await parsed("/greet@0.1", f"{CLASSIFIER}- name: FallbackClassifier", examples("greet", "hi"))
    assert result["intent"] == {"name": "greet", "confidence": 0.1}


def test_it_needs_a_classifier_in_front() -> None:
    assert faults("- name: FallbackClassifier\n- name: KeywordIntentClassifier") == [
        "config.yml:2: FallbackClassifier must come after an intent classifier, such as KeywordIntentClassifier"
    ]
