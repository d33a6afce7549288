"""RegexEntityExtractor: entities by regular expressions and lookup tables."""

from __future__ import annotations

import pytest

from tests.assistant.nlu.data import examples, faults, item, parsed, warnings

EXTRACTOR = "- name: RegexEntityExtractor"
MARKED = examples("inform", "[Rome](city) [a1](code)")


def extractor(setting: str) -> str:
    return f"{EXTRACTOR}\n  {setting}"


async def found(text: str, *items: str, components: str = EXTRACTOR) -> list[tuple[str, str]]:
    result = await parsed(text, components, MARKED, *items)
    return [(entity["entity"], entity["value"]) for entity in result["entities"]]


async def test_what_fits_is_an_entity_with_its_place() -> None:
    result = await parsed("go to rome", EXTRACTOR, MARKED, item("lookup", "city", "Rome"))
    assert result["entities"] == [
        {"entity": "city", "start": 6, "end": 10, "value": "rome", "extractor": "RegexEntityExtractor"}
    ]


async def test_regexes_come_first_and_overlaps_are_kept() -> None:
    items = item("lookup", "city", "b7 Street"), item("regex", "code", r"[a-z]\d")
    assert await found("b7 street a1", *items) == [("code", "b7"), ("code", "a1"), ("city", "b7 street")]


async def test_in_a_lookup_the_first_entry_that_fits_wins() -> None:
    assert await found("New York", item("lookup", "city", "New York", "York")) == [("city", "New York")]
    assert await found("New York", item("lookup", "city", "York", "New")) == [("city", "New"), ("city", "York")]


async def test_entries_of_a_lookup_are_whole_words_taken_as_written() -> None:
    items = item("lookup", "city", "Rom", "St. X")
    assert await found("Rome St. X Stu X Rom", *items) == [("city", "St. X"), ("city", "Rom")]


async def test_word_boundaries_may_be_left_away() -> None:
    components = extractor("use_word_boundaries: false")
    assert await found("romes", item("lookup", "city", "Rome"), components=components) == [("city", "rome")]


async def test_case_may_count() -> None:
    components = extractor("case_sensitive: true")
    assert await found("rome Rome", item("lookup", "city", "Rome"), components=components) == [("city", "Rome")]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("use_regexes: false", [("city", "Rome")]), ("use_lookup_tables: false", [("code", "a1")])],
)
async def test_either_kind_may_be_left_away(setting: str, expected: list[tuple[str, str]]) -> None:
    items = item("lookup", "city", "Rome"), item("regex", "code", r"a\d")
    assert await found("Rome a1", *items, components=extractor(setting)) == expected


async def test_only_entities_that_an_example_marks_are_found() -> None:
    assert await found("x Rome", item("lookup", "letter", "x"), item("lookup", "city", "Rome")) == [("city", "Rome")]


async def test_what_fits_nothing_is_no_entity() -> None:
    assert await found("abc", item("regex", "code", r"\d*")) == []


async def test_entities_of_earlier_components_stay_in_front() -> None:
    components = f"{EXTRACTOR}\n{EXTRACTOR}"
    assert await found("Rome", item("lookup", "city", "Rome"), components=components) == [("city", "Rome")] * 2


def test_nothing_to_look_for_is_odd() -> None:
    assert warnings(EXTRACTOR, examples("inform", "hi"), item("lookup", "city", "Rome")) == [
        "config.yml:2: no lookup table or regex has the name of an entity that is marked in an NLU example"
    ]


def test_an_invalid_regex_is_a_fault_where_it_stands() -> None:
    assert faults(EXTRACTOR, item("regex", "code", "a", "(b")) == [
        "1.yml:5: the regex 'code': '(b' is not a valid regular expression: missing ), unterminated subpattern "
        "at position 0"
    ]
