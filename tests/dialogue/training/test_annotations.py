"""Entities marked in texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.training.annotations import Annotation, InvalidAnnotation, parse_annotated


def test_a_mark_names_the_entity_and_maybe_another_value() -> None:
    found = parse_annotated("from [Rome](city) to [NYC](city:New York)!")
    assert found.text == "from Rome to NYC!"
    assert found.entities == (
        Annotation(entity="city", value="Rome", start=5, end=9),
        Annotation(entity="city", value="New York", start=13, end=16),
    )


def test_a_mark_in_json_says_more() -> None:
    (found,) = parse_annotated('to [Rome]{"entity": "city", "role": "to", "group": "1", "value": "ROM"}').entities
    assert found == Annotation(entity="city", role="to", group="1", value="ROM", start=3, end=7)


def test_one_place_may_be_several_entities() -> None:
    found = parse_annotated('[Rome][{"entity": "city"}, {"entity": "word", "value": 4}]').entities
    assert [(one.entity, one.value, one.start, one.end) for one in found] == [("city", "Rome", 0, 4), ("word", 4, 0, 4)]


@pytest.mark.parametrize("text", ["no mark", "a [bracket] alone", "[]", "(x)", "[open](", "a](b)"])
def test_other_brackets_are_text(text: str) -> None:
    assert parse_annotated(text).text == text
    assert parse_annotated(text).entities == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[x]{city}", "{city} is not JSON"),
        ('[x]{"role": "to"}', 'each entity is written {"entity": "its name"}'),
        ('[x]{"entity": "e", "colour": "red"}', "the unknown key 'colour'"),
        ('[x]{"entity": "e", "role": 3}', "role must be text, not 3"),
        ("[x][1]", "not 1"),
    ],
)
def test_a_mark_that_cannot_be_read_is_a_fault(text: str, reason: str) -> None:
    with pytest.raises(InvalidAnnotation) as caught:
        parse_annotated(text)
    assert reason in str(caught.value)


_WORDS = st.text(st.characters(exclude_characters="[](){}", codec="utf-8"), min_size=1)


@given(st.lists(st.tuples(_WORDS, st.booleans())))
def test_places_are_those_of_the_plain_text(parts: list[tuple[str, bool]]) -> None:
    found = parse_annotated("".join(f"[{text}](e)" if marked else text for text, marked in parts))
    assert found.text == "".join(text for text, _ in parts)
    assert [found.text[one.start : one.end] for one in found.entities] == [text for text, marked in parts if marked]
