"""Pipelines: which components there are, what is wrong in a configuration, and what an explicit message goes past."""

from __future__ import annotations

import pytest

from assistant.nlu.pipeline import NluModel, Pipeline
from assistant.nlu.training import train_nlu
from tests.assistant.nlu.data import DOMAIN, examples, faults, item, nlu, parsed, read, warnings

WHOLE = """
- name: WhitespaceTokenizer
- name: KeywordIntentClassifier
- name: RegexEntityExtractor
- name: EntitySynonymMapper
- name: FallbackClassifier
"""


async def test_components_work_one_after_the_other() -> None:
    items = examples("inform", "to [Rome](city)"), item("lookup", "city", "Rome")
    assert await parsed("to ROME", WHOLE, *items, examples("greet", "ROME")) == {
        "text": "to ROME",
        "intent": {"name": "greet", "confidence": 1.0},
        "entities": [
            {
                "entity": "city",
                "start": 3,
                "end": 7,
                "value": "Rome",
                "extractor": "RegexEntityExtractor",
                "processors": ["EntitySynonymMapper"],
            }
        ],
        "text_tokens": [[0, 2], [3, 7]],
    }


async def test_an_explicit_intent_goes_past_all_of_them() -> None:
    result = await parsed("/greet", WHOLE, examples("bye", "greet"))
    assert result == {
        "text": "/greet",
        "intent": {"name": "greet", "confidence": 1.0},
        "entities": [],
        "intent_ranking": [{"name": "greet", "confidence": 1.0}],
    }


async def test_an_intent_that_the_domain_does_not_know_is_an_ordinary_text() -> None:
    assert (await parsed("/later greet", WHOLE, examples("bye", "later")))["intent"]["name"] == "bye"


@pytest.mark.parametrize("text", ["hi", "", "  "])
async def test_without_components_only_explicit_intents_are_understood(text: str) -> None:
    pipeline = Pipeline(NluModel(), DOMAIN)
    expected = {"text": text.strip(), "intent": {"name": None, "confidence": 0.0}, "entities": []}
    assert await pipeline.parse(text, "c") == expected
    assert (await pipeline.parse(" /greet ", "c"))["intent"]["name"] == "greet"


async def test_without_any_data_there_is_no_pipeline() -> None:
    expected = {"text": "hi", "intent": {"name": None, "confidence": 0.0}, "entities": []}
    assert await parsed("hi", WHOLE) == expected


@pytest.mark.parametrize(
    ("components", "fault"),
    [
        ("  name: x", "config.yml:1: pipeline must be a list of components, not a mapping"),
        (
            "- name: Whitespace",
            "config.yml:2: there is no component 'Whitespace'; components are WhitespaceTokenizer, "
            "KeywordIntentClassifier, CountVectorsFeaturizer, LogisticRegressionClassifier, RegexEntityExtractor, "
            "EntitySynonymMapper, FallbackClassifier",
        ),
        (
            "- DIETClassifier",
            "config.yml:2: DIETClassifier is not run here: LogisticRegressionClassifier learns intents from examples; "
            "components are WhitespaceTokenizer, KeywordIntentClassifier, CountVectorsFeaturizer, "
            "LogisticRegressionClassifier, RegexEntityExtractor, EntitySynonymMapper, FallbackClassifier. For more, "
            "run the pipeline in an NLU server and name it under `nlu` in endpoints.yml",
        ),
        (
            "- CRFEntityExtractor",
            "config.yml:2: CRFEntityExtractor is not run here; components are WhitespaceTokenizer, "
            "KeywordIntentClassifier, CountVectorsFeaturizer, LogisticRegressionClassifier, RegexEntityExtractor, "
            "EntitySynonymMapper, FallbackClassifier. For more, run the pipeline in an NLU server and name it under "
            "`nlu` in endpoints.yml",
        ),
        (
            "- name: KeywordIntentClassifier\n  case_sensitive: maybe",
            "config.yml:3: KeywordIntentClassifier: case_sensitive must be true or false, not 'maybe'",
        ),
        (
            "- name: KeywordIntentClassifier\n- name: FallbackClassifier\n  threshold: high",
            "config.yml:4: FallbackClassifier: threshold must be a number, not 'high'",
        ),
    ],
)
def test_faults_say_where_and_what(components: str, fault: str) -> None:
    assert faults(components) == [fault]


def test_all_faults_are_found() -> None:
    assert len(faults("- name: A\n- 5\n- name: FallbackClassifier\n  threshold: x")) == 4


def test_an_unknown_setting_is_ignored_and_odd() -> None:
    assert warnings("- name: KeywordIntentClassifier\n- name: FallbackClassifier\n  treshold: 0.5") == [
        "config.yml:4: FallbackClassifier has no setting 'treshold' here, so it is ignored; it has threshold, "
        "ambiguity_threshold"
    ]


@pytest.mark.parametrize(
    ("entries", "warning"),
    [
        (item("synonym", "a", "b"), "the synonyms are not used: the pipeline in config.yml has no EntitySynonymMapper"),
        (item("regex", "a", "b"), "the regexes are not used: the pipeline in config.yml has no RegexEntityExtractor"),
        (
            item("lookup", "a", "b"),
            "the lookup tables are not used: the pipeline in config.yml has no RegexEntityExtractor",
        ),
    ],
)
def test_data_that_no_component_uses_are_odd(entries: str, warning: str) -> None:
    assert warnings("- name: KeywordIntentClassifier", entries) == [f"1.yml:4: {warning}"]


def test_examples_without_a_pipeline_are_odd() -> None:
    trained = train_nlu(None, read(nlu(examples("greet", "hi"))).data)
    assert trained.model == NluModel()
    assert [str(warning) for warning in trained.warnings] == [
        "1.yml:4: nobody learns from the examples: config.yml names no pipeline, so only messages such as /greet are "
        "understood; name its components"
    ]
