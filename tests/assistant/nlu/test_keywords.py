"""KeywordIntentClassifier: which keyword a text holds, and which keywords are left out in training."""

from __future__ import annotations

import pytest

from tests.assistant.nlu.data import examples, learned, parsed, warnings

CLASSIFIER = "- name: KeywordIntentClassifier"
ANY_CASE = "- name: KeywordIntentClassifier\n  case_sensitive: false"


async def intent(text: str, *items: str, components: str = CLASSIFIER) -> str | None:
    found: str | None = (await parsed(text, components, *items))["intent"]["name"]
    return found


def keywords(*items: str, components: str = CLASSIFIER) -> list[tuple[str, str]]:
    return list(learned(components, *items).model.components[0].keywords)  # type: ignore[union-attr]


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "found"),
        [("hi", "greet"), ("oh hi!", "greet"), ("high", None), ("HI", None), ("good bye", "bye"), ("", None)],
    )
    async def test_a_keyword_is_found_between_edges_of_words(self, text: str, found: str | None) -> None:
        assert await intent(text, examples("greet", "hi", "hello"), examples("bye", "bye")) == found

    async def test_the_first_in_the_order_of_training_wins(self) -> None:
        assert await intent("bye and hi", examples("greet", "hi"), examples("bye", "bye")) == "greet"

    async def test_case_may_be_ignored(self) -> None:
        assert await intent("HI", examples("greet", "hi"), components=ANY_CASE) == "greet"
        assert await intent("STRASSE hi", examples("greet", "Hi"), components=ANY_CASE) == "greet"

    async def test_what_is_found_is_sure(self) -> None:
        result = await parsed("hi", CLASSIFIER, examples("greet", "hi"))
        assert result == {"text": "hi", "intent": {"name": "greet", "confidence": 1.0}, "entities": []}

    async def test_what_is_not_found_has_no_intent(self) -> None:
        result = await parsed("what", CLASSIFIER, examples("greet", "hi"))
        assert result == {"text": "what", "intent": {"name": None, "confidence": 0.0}, "entities": []}

    @pytest.mark.parametrize(("text", "found"), [("axb", "greet"), ("a.b", "greet"), ("ab", None)])
    async def test_a_keyword_is_a_regular_expression(self, text: str, found: str | None) -> None:
        assert await intent(text, examples("greet", "a.b")) == found

    async def test_what_is_no_regular_expression_is_taken_as_written(self) -> None:
        assert await intent("is it so (or not", examples("greet", "so (or")) == "greet"

    async def test_entities_are_found_in_their_plain_text(self) -> None:
        assert await intent("from Rome", examples("inform", "from [Rome](city)")) == "inform"

    async def test_a_retrieval_intent_counts_by_its_base(self) -> None:
        assert await intent("when", examples("faq/hours", "when")) == "faq"

    async def test_a_second_classifier_leaves_an_intent_alone(self) -> None:
        components = f"{CLASSIFIER}\n{ANY_CASE}"
        assert await intent("hi", examples("greet", "hi"), components=components) == "greet"


class TestTraining:
    def test_a_text_of_two_intents_is_left_out_for_both(self) -> None:
        items = examples("greet", "hi", "salute"), examples("bye", "bye", "salute")
        assert keywords(*items) == [("hi", "greet"), ("bye", "bye")]

    def test_a_keyword_that_another_intents_keyword_holds_is_left_out(self) -> None:
        items = examples("greet", "good", "hi"), examples("bye", "good night")
        assert keywords(*items) == [("hi", "greet"), ("good night", "bye")]
        assert warnings(CLASSIFIER, *items) == [
            "1.yml:4: the keyword 'good' is left out: it occurs in 'good night' of another intent"
        ]

    def test_it_is_left_out_once_when_several_hold_it(self) -> None:
        items = examples("greet", "good"), examples("bye", "good night"), examples("inform", "good day")
        assert keywords(*items) == [("good night", "bye"), ("good day", "inform")]
        assert len(warnings(CLASSIFIER, *items)) == 1

    def test_keywords_of_one_intent_may_hold_each_other(self) -> None:
        assert len(keywords(examples("greet", "good", "good day"))) == 2

    def test_keywords_that_differ_by_case_are_one_only_where_case_is_ignored(self) -> None:
        items = examples("greet", "Hi"), examples("bye", "hi")
        assert len(keywords(*items)) == 2
        assert keywords(*items, components=ANY_CASE) == []

    def test_a_keyword_is_not_found_over_two_others(self) -> None:
        items = examples("greet", r"[d]ay\s+goo[d]"), examples("bye", "day", "good")
        assert len(keywords(*items)) == 3

    def test_null_settings_are_the_usual_ones(self) -> None:
        trained = learned("- name: KeywordIntentClassifier\n  case_sensitive:", examples("greet", "hi"))
        assert trained.model.components[0].case_sensitive is True  # type: ignore[union-attr]
