"""LogisticRegressionClassifier: what it answers, and what it makes of messages that it knows nothing of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression as Regression
from sklearn.pipeline import make_pipeline, make_union

from assistant.nlu.classifier import LogisticRegression
from assistant.nlu.pipeline import Pipeline
from tests.assistant.nlu.data import DOMAIN, examples, learned, parsed

if TYPE_CHECKING:
    from assistant.nlu.pipeline import NluModel

Json = dict[str, Any]

FEATURES = "- name: WhitespaceTokenizer\n- name: CountVectorsFeaturizer\n"
CHARACTERS = "- name: CountVectorsFeaturizer\n  analyzer: char_wb\n  min_ngram: 2\n  max_ngram: 4\n"
CLASSIFIER = "- name: LogisticRegressionClassifier\n"
WHOLE = FEATURES + CHARACTERS + CLASSIFIER
TEXTS = {
    "greet": ["hello there", "hi", "good morning", "hello my friend"],
    "bye": ["bye", "see you later", "good night my friend", "have a good day"],
    "inform": ["to rome", "I want to go to paris", "a flight to rome please", "to london later"],
}
ITEMS = [examples(intent, *texts) for intent, texts in TEXTS.items()]
MESSAGES = ["hello", "good day", "to berlin", "HI my friend!", "later"]


def model_of(components: str, *items: str) -> NluModel:
    trained = learned(components, *items)
    assert not trained.faults
    return trained.model


def ranked(result: Json) -> dict[str, float]:
    return {intent["name"]: intent["confidence"] for intent in result["intent_ranking"]}


async def test_all_intents_are_ranked_and_the_first_one_is_the_message_s() -> None:
    result = await parsed("good morning friend", WHOLE, *ITEMS)
    ranking = result["intent_ranking"]
    assert result["intent"] == ranking[0]
    assert ranking[0]["name"] == "greet"
    assert {intent["name"] for intent in ranking} == TEXTS.keys()
    confidences = [intent["confidence"] for intent in ranking]
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) == pytest.approx(1.0)
    assert all(type(confidence) is float for confidence in confidences)


@pytest.mark.parametrize("intents", [["greet", "bye", "inform"], ["greet", "bye"]], ids=["three", "two"])
@pytest.mark.parametrize("text", MESSAGES)
async def test_it_says_what_scikit_learn_says(intents: list[str], text: str) -> None:
    words = TfidfVectorizer(token_pattern=r"\b\w+\b")
    theirs = make_pipeline(
        make_union(words, TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))),
        Regression(C=20.0, class_weight="balanced", random_state=42),
    )
    texts = [(text, intent) for intent in intents for text in TEXTS[intent]]
    theirs.fit(*zip(*texts, strict=True))
    expected = dict(zip(theirs.classes_, theirs.predict_proba([text.rstrip("!")])[0], strict=True))
    items = [examples(intent, *TEXTS[intent]) for intent in intents]
    assert ranked(await parsed(text, WHOLE, *items)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("length", "ranks"), [(1, 1), (2, 2), (10, 3), (0, 3)])
async def test_the_ranking_is_as_long_as_configured(length: int, ranks: int) -> None:
    result = await parsed("hello", f"{WHOLE}  ranking_length: {length}\n", *ITEMS)
    assert len(result["intent_ranking"]) == ranks


async def test_without_a_length_ten_intents_are_ranked() -> None:
    items = [examples(f"intent_{number}", f"{number}{number} thing", "a thing") for number in "abcdefghijkl"]
    assert len((await parsed("thing", WHOLE, *items))["intent_ranking"]) == 10


async def test_of_a_single_intent_it_is_certain() -> None:
    result = await parsed("hello", WHOLE, ITEMS[0])
    assert result["intent"] == {"name": "greet", "confidence": 1.0}
    assert result["intent_ranking"] == [result["intent"]]


async def test_an_intent_with_one_example_is_learned() -> None:
    assert (await parsed("to rome", WHOLE, ITEMS[0], examples("inform", "to rome")))["intent"]["name"] == "inform"


async def test_markup_of_entities_is_no_part_of_an_example() -> None:
    marked = await parsed("rome", WHOLE, ITEMS[0], examples("inform", 'to [rome]{"entity": "city", "value": "Roma"}'))
    assert (
        marked["intent_ranking"]
        == (await parsed("rome", WHOLE, ITEMS[0], examples("inform", "to rome")))["intent_ranking"]
    )


async def test_intents_with_a_retrieval_key_are_one() -> None:
    items = [examples("faq/hours", "when are you open", "open today"), examples("faq/place", "where are you")]
    assert ranked(await parsed("where", WHOLE, ITEMS[0], *items)).keys() == {"greet", "faq"}


@pytest.mark.parametrize(
    "text", ["", "   ", "\N{THUMBS UP SIGN}", "\N{THUMBS UP SIGN} \N{PEDESTRIAN}", "Привет", "早上好", "?!", "zzz"]
)
async def test_a_message_without_anything_known_has_no_intent(text: str) -> None:
    result = await parsed(text, FEATURES + CLASSIFIER, *ITEMS)
    assert result["intent"] == {"name": None, "confidence": 0.0}
    assert result["intent_ranking"] == []


async def test_such_a_message_is_a_fallback() -> None:
    result = await parsed("zzz", f"{FEATURES}{CLASSIFIER}- name: FallbackClassifier", *ITEMS)
    assert result["intent"] == {"name": "nlu_fallback", "confidence": 0.3}
    assert result["intent_ranking"] == [result["intent"]]


@pytest.mark.parametrize("text", ["hello " * 20_000, "x" * 100_000, "\ud83d hello", "hello\0", "1" * 100_000])
async def test_any_text_has_an_answer(text: str) -> None:
    result = await parsed(text, WHOLE, *ITEMS)
    assert result["text"] == text.strip()
    assert sum(ranked(result).values()) <= 1.0 + 1e-9


async def test_an_explicit_intent_stays_explicit() -> None:
    assert (await parsed("/bye", WHOLE, *ITEMS))["intent_ranking"] == [{"name": "bye", "confidence": 1.0}]


class TestBesideOthers:
    async def test_a_keyword_behind_it_wins_and_leaves_the_ranking(self) -> None:
        result = await parsed("bye", f"{WHOLE}- name: KeywordIntentClassifier", *ITEMS)
        assert result["intent"] == {"name": "bye", "confidence": 1.0}
        assert result["intent_ranking"][0]["confidence"] < 1.0

    async def test_where_no_keyword_is_found_its_intent_stays(self) -> None:
        result = await parsed("my friend hello", f"{WHOLE}- name: KeywordIntentClassifier", *ITEMS)
        assert result["intent"] == result["intent_ranking"][0]

    async def test_behind_keywords_it_has_the_last_word(self) -> None:
        result = await parsed("bye", f"- name: KeywordIntentClassifier\n{WHOLE}", *ITEMS)
        assert result["intent"] == result["intent_ranking"][0]
        assert result["intent"]["confidence"] < 1.0

    async def test_behind_keywords_it_says_nothing_of_what_it_does_not_know(self) -> None:
        components = f"- name: KeywordIntentClassifier\n{FEATURES}  stop_words: [bye]\n{CLASSIFIER}"
        result = await parsed("bye", components, *ITEMS)
        assert result["intent"] == {"name": "bye", "confidence": 1.0}
        assert result["intent_ranking"] == []


class TestTraining:
    def test_the_same_examples_teach_the_same(self) -> None:
        assert model_of(WHOLE, *ITEMS) == model_of(WHOLE, *ITEMS)

    @pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "sag", "saga"])
    async def test_every_solver_comes_to_the_same(self, solver: str) -> None:
        settings = f"  solver: {solver}\n  max_iter: 5000\n  tol: 0.000001\n"
        trained = learned(WHOLE + settings, *ITEMS)
        assert not trained.warnings
        result = await Pipeline(trained.model, DOMAIN).parse("hello", "c")
        assert ranked(result) == pytest.approx(ranked(await parsed("hello", WHOLE, *ITEMS)), abs=0.01)

    @pytest.mark.parametrize(
        ("settings", "vocabulary"),
        [
            ("", {"to", "rome", "the", "best", "rome2", "été"}),
            ("  min_df: 2\n", {"to", "rome"}),
            ("  max_df: 0.5\n", {"the", "best", "rome2", "été"}),
            ("  max_features: 1\n", {"to"}),
            ("  stop_words: english\n", {"rome", "best", "rome2", "été"}),
            ("  stop_words: [best]\n  strip_accents: unicode\n", {"to", "rome", "the", "rome2", "ete"}),
            ("  min_ngram: 2\n  max_ngram: 2\n", {"to rome", "to the", "the best", "best rome2", "rome été", "été to"}),
            ("  min_ngram:\n", {"to", "rome", "the", "best", "rome2", "été"}),
        ],
    )
    def test_a_vocabulary_is_what_the_settings_make_of_the_examples(self, settings: str, vocabulary: set[str]) -> None:
        model = model_of(
            FEATURES + settings + CLASSIFIER, examples("inform", "To Rome", "to the best Rome2", "to rome été to")
        )
        classifier = model.components[-1]
        assert isinstance(classifier, LogisticRegression)
        assert set(classifier.features[0].vocabulary) == vocabulary
