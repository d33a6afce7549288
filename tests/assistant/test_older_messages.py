"""Texts as rasa_core 0.9 read them where there was no NLU."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.older_messages import OlderMessages, read


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("/greet", "greet"),
        ("_greet", "greet"),
        ("hello there", "hello there"),
        ("  /greet  ", "/greet"),
        ("//greet", "/greet"),
        ("/", "/"),
        ("/GREET", "GREET"),
        ("/greet@0.5", "greet@0.5"),
        ("_INFORM[a=b]", "inform"),
        ("", None),
        ('{"city": "rome"}', None),
        ("[city=rome]", None),
    ],
)
def test_what_stands_before_the_entities_is_the_intent(text: str, intent: str | None) -> None:
    parsed = read(text)
    named = {"name": intent, "confidence": 1.0}
    assert (parsed["text"], parsed["intent"], parsed["intent_ranking"]) == (text, named, [named])


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ('/inform{"city": "rome", "people": null}', [("city", 7, 39, "rome"), ("people", 7, 39, None)]),
        ('/inform{"city": ["rome", 5]}', [("city", 7, 28, "rome"), ("city", 7, 28, 5)]),
        ("/inform{}", []),
        ("/inform{city: rome}", []),
        ('/inform{"a": 1}\nmore', [("a", 7, 15, 1)]),
        ('/inform{"a": "\ud800"}', []),
        ("_inform[city=rome,food=thai]", [("city", 13, 17, "rome"), ("food", 13, 17, "thai")]),
        ("_inform[ a b = c ]", [("a b ", 15, 17, "c ")]),
        ("_inform[city]", []),
        ("_inform[city=rome", []),
        ('{"city": "rome"}', []),
    ],
)
def test_entities_stand_behind_it(text: str, entities: list[tuple[Any, ...]]) -> None:
    keys = ("entity", "start", "end", "value")
    assert [tuple(entity[key] for key in keys) for entity in read(text)["entities"]] == entities


async def test_an_nlu_is_asked_for_texts_without_a_prefix() -> None:
    class Nlu:
        async def parse(self, text: str, conversation: str) -> dict[str, Any]:
            return {"understood": (text, conversation)}

    messages = OlderMessages(Nlu())
    assert await messages.parse("hello", "ann") == {"understood": ("hello", "ann")}
    assert [await messages.parse(text, "ann") for text in ("/hi", "_hi")] == [read("/hi"), read("_hi")]
