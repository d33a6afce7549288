"""EntitySynonymMapper: what the value of an entity stands for."""

from __future__ import annotations

from tests.assistant.nlu.data import examples, item, learned, parsed, warnings

MAPPER = "- name: EntitySynonymMapper"
BOTH = f"- name: RegexEntityExtractor\n{MAPPER}"


def values(*items: str) -> dict[str, str]:
    table: dict[str, str] = learned(MAPPER, *items).model.components[0].values  # type: ignore[union-attr]
    return table


async def test_a_value_is_replaced_and_that_is_said() -> None:
    items = (
        examples("inform", "[Rome](city)"),
        item("lookup", "city", "NYC", "Paris"),
        item("synonym", "New York", "nyc"),
    )
    entities = (await parsed("NYC paris", BOTH, *items))["entities"]
    assert [(entity["value"], entity.get("processors")) for entity in entities] == [
        ("New York", ["EntitySynonymMapper"]),
        ("paris", None),
    ]


async def test_the_entities_of_an_explicit_intent_are_taken_as_they_are() -> None:
    entities = (await parsed('/inform{"city": "nyc"}', MAPPER, item("synonym", "New York", "nyc")))["entities"]
    assert [entity["value"] for entity in entities] == ["nyc"]


def test_texts_are_known_in_any_case() -> None:
    assert values(item("synonym", "New York", "NYC")) == {"nyc": "New York", "new york": "New York"}


def test_the_value_of_a_marked_entity_is_what_its_text_stands_for() -> None:
    assert values(examples("inform", "[big apple](city:New York)"))["big apple"] == "New York"


def test_a_marked_value_may_be_a_number() -> None:
    assert values(examples("inform", '[five]{"entity": "count", "value": 5}')) == {"five": "5", "5": "5"}


def test_a_marked_entity_without_a_value_stands_for_itself() -> None:
    assert values(examples("inform", "to [Berlin](city)")) == {"berlin": "Berlin"}


def test_of_two_spellings_the_first_counts() -> None:
    assert values(examples("inform", "[Berlin](city)", "[BERLIN](city)")) == {"berlin": "Berlin"}


def test_a_synonym_comes_before_the_text_itself() -> None:
    items = examples("inform", "[nyc](city)"), item("synonym", "New York", "nyc")
    assert values(*items)["nyc"] == "New York"


def test_of_two_meanings_the_last_counts_and_that_is_odd() -> None:
    items = item("synonym", "New York", "apple"), item("synonym", "fruit", "Apple")
    assert values(*items)["apple"] == "fruit"
    assert warnings(MAPPER, *items) == [
        "1.yml:7: the synonym 'Apple' stands for 'New York' and for 'fruit'; the latter counts"
    ]
