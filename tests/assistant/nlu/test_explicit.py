"""Messages that say their intent themselves."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from assistant.nlu.explicit import explicit
from tests.assistant.nlu.data import DOMAIN


def intent(text: str) -> tuple[str, float] | None:
    parsed = explicit(text, DOMAIN)
    return None if parsed is None else (parsed["intent"]["name"], parsed["intent"]["confidence"])


def entities(text: str) -> list[tuple[str, Any]]:
    parsed = explicit(text, DOMAIN)
    assert parsed is not None
    return [(entity["entity"], entity["value"]) for entity in parsed["entities"]]


def warned(text: str) -> list[str]:
    with capture_logs() as lines:
        explicit(text, DOMAIN)
    return [line["event"] for line in lines]


def test_the_whole_parse_data() -> None:
    assert explicit('/inform@0.5{"city": "Rome"}', DOMAIN) == {
        "text": '/inform@0.5{"city": "Rome"}',
        "intent": {"name": "inform", "confidence": 0.5},
        "entities": [
            {"entity": "city", "value": "Rome", "start": 11, "end": 27, "extractor": "RegexMessageHandler"},
        ],
        "intent_ranking": [{"name": "inform", "confidence": 0.5}],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/greet", ("greet", 1.0)),
        ("/greet ", ("greet", 1.0)),
        ('/greet {"city": "x"}', ("greet", 1.0)),
        ("/restart", ("restart", 1.0)),
        ("/nlu_fallback", ("nlu_fallback", 1.0)),
        ("/greet@0.25", ("greet", 0.25)),
        ("/greet@7", ("greet", 1.0)),
        ("/greet@1.2.3", ("greet", 0.0)),
        ("/greet@abc", ("greet", 1.0)),
        ("/greet@", ("greet", 1.0)),
    ],
)
def test_the_intent_and_how_sure_it_is(text: str, expected: tuple[str, float]) -> None:
    assert intent(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "greet",
        "/unknown",
        "/greet hello",
        "/greet/sub",
        '/greet["x"]',
        "//greet",
        "/",
        "/{}",
        "",
        "hi /greet",
        "/Greet",
    ],
)
def test_anything_else_is_an_ordinary_text(text: str) -> None:
    assert explicit(text, DOMAIN) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('/inform{"city": "a", "code": "b"}', [("city", "a"), ("code", "b")]),
        ('/inform{"city": ["b", "a"]}', [("city", "b"), ("city", "a")]),
        ('/inform{"city": []}', []),
        ('/inform{"city": null, "code": {"x": [1]}}', [("city", None), ("code", {"x": [1]})]),
        ('/inform{"city": 5, "code": false}', [("city", 5), ("code", False)]),
        ('/inform{"city": "}"}', [("city", "}")]),
        ('/inform{\n "city": "a"\n}', [("city", "a")]),
    ],
)
def test_entities_may_have_any_value_or_several(text: str, expected: list[tuple[str, Any]]) -> None:
    assert entities(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "warning"),
    [
        ('/inform{"city": "a", "x": "b"}', [("city", "a")], "entities that the domain does not know are left out"),
        ("/inform{city: a}", [], "the entities of an explicit intent are no JSON object"),
        ("/inform{}", [], "the end of a message with an explicit intent is ignored"),
        ('/inform{"city": "a"} please', [("city", "a")], "the end of a message with an explicit intent is ignored"),
        ("/inform@abc", [], "the end of a message with an explicit intent is ignored"),
        ("/inform@.", [], "the confidence of an explicit intent is no number"),
    ],
)
def test_what_cannot_be_read_is_left_out_with_a_warning(
    text: str, expected: list[tuple[str, Any]], warning: str
) -> None:
    assert entities(text) == expected
    assert warned(text) == [warning]


def test_a_sound_message_warns_of_nothing() -> None:
    assert warned('/inform@0.5{"city": "a"}') == []
