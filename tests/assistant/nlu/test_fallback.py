"""FallbackClassifier: intents that nobody is sure of."""

from __future__ import annotations

import pytest

from tests.assistant.nlu.data import Json, examples, faults, parsed

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


class TestAmbiguity:
    FEATURES = "- name: WhitespaceTokenizer\n- name: CountVectorsFeaturizer\n- name: LogisticRegressionClassifier\n"
    ITEMS = examples("greet", "good day to you", "hello"), examples("bye", "have a good day and night", "bye")

    async def _parsed(self, settings: str) -> Json:
        return await parsed("good day", f"{self.FEATURES}- name: FallbackClassifier\n{settings}", *self.ITEMS)

    async def test_intents_that_are_nearly_as_sure_as_each_other_become_a_fallback(self) -> None:
        result = await self._parsed("  threshold: 0.2\n  ambiguity_threshold: 0.9")
        assert result["intent"] == {"name": "nlu_fallback", "confidence": 0.2}

    async def test_the_fallback_is_at_the_head_of_the_ranking(self) -> None:
        plain = await parsed("good day", self.FEATURES, *self.ITEMS)
        result = await self._parsed("  ambiguity_threshold: 0.9")
        assert result["intent_ranking"] == [result["intent"], *plain["intent_ranking"]]

    async def test_intents_that_differ_enough_stay(self) -> None:
        result = await self._parsed("  ambiguity_threshold: 0.01")
        assert result["intent"] == result["intent_ranking"][0]
        assert result["intent"]["name"] == "greet"

    async def test_a_low_confidence_is_a_fallback_however_clear_the_ranking(self) -> None:
        assert (await self._parsed("  threshold: 0.99\n  ambiguity_threshold: 0"))["intent"]["name"] == "nlu_fallback"

    async def test_an_ambiguous_ranking_says_nothing_of_an_intent_that_a_keyword_gave(self) -> None:
        components = self.FEATURES.replace("Featurizer\n", "Featurizer\n  stop_words: [trains]\n")
        components += "- name: KeywordIntentClassifier\n- name: FallbackClassifier\n  ambiguity_threshold: 1"
        result = await parsed("good day trains", components, *self.ITEMS, examples("inform", "trains"))
        assert result["intent"] == {"name": "inform", "confidence": 1.0}


async def test_an_explicit_intent_stays_however_unsure() -> None:
    result = await parsed("/greet@0.1", f"{CLASSIFIER}- name: FallbackClassifier", examples("greet", "hi"))
    assert result["intent"] == {"name": "greet", "confidence": 0.1}


def test_it_needs_a_classifier_in_front() -> None:
    assert faults("- name: FallbackClassifier\n- name: KeywordIntentClassifier") == [
        "config.yml:2: FallbackClassifier must come after an intent classifier, such as KeywordIntentClassifier"
    ]
