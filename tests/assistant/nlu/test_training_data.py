"""Reading NLU data: intents, synonyms, regular expressions and lookup tables, each example with its place."""

from __future__ import annotations

import pytest

from assistant.nlu.oddities import oddities
from assistant.nlu.training_data import Entry, NluData
from dialogue.source import read_sources
from dialogue.training.annotations import AnnotatedText
from dialogue.training.stories import Place
from tests.assistant.nlu.data import examples, item, nlu, read
from tests.assistant.scenes import domain_from


def texts_of(data: NluData) -> list[tuple[str, str, int]]:
    return [(example.intent, example.text.text, example.place.line) for example in data.examples]


def of(entries: tuple[Entry, ...]) -> list[tuple[str, str]]:
    return [(entry.name, entry.text) for entry in entries]


class TestExamples:
    def test_each_line_of_a_block_is_one(self) -> None:
        text = nlu(examples("greet", "hi", "hello  there ", "-5"))
        assert texts_of(read(text).data) == [("greet", "hi", 4), ("greet", "hello  there", 5), ("greet", "-5", 6)]

    def test_the_blank_behind_the_dash_may_be_missing(self) -> None:
        assert texts_of(read("nlu:\n- intent: a\n  examples: |\n    -hi\n").data) == [("a", "hi", 4)]

    def test_a_text_on_the_line_of_its_key_stands_there(self) -> None:
        assert texts_of(read('nlu:\n- intent: a\n  examples: "- hi"\n').data) == [("a", "hi", 3)]

    def test_they_may_be_a_list_with_metadata(self) -> None:
        text = "nlu:\n- intent: a\n  metadata: {x: 1}\n  examples:\n  - text: hi\n    metadata: {y: 2}\n  - hello\n"
        assert texts_of(read(text).data) == [("a", "hi", 5), ("a", "hello", 7)]

    def test_entities_are_marked(self) -> None:
        example = read(nlu(examples("inform", 'to [Rome]{"entity": "city", "role": "to"}'))).data.examples[0]
        assert isinstance(example.text, AnnotatedText)
        assert example.text.text == "to Rome"
        assert [(entity.entity, entity.role, entity.start) for entity in example.text.entities] == [("city", "to", 3)]

    def test_the_same_one_counts_once(self) -> None:
        text = nlu(examples("a", "hi", "[hi](city)", "hi"), examples("b", "hi"))
        assert texts_of(read(text, text).data) == [("a", "hi", 4), ("a", "hi", 5), ("b", "hi", 9)]

    def test_the_files_come_one_after_the_other(self) -> None:
        data = read(nlu(examples("b", "one")), nlu(examples("a", "two"))).data
        assert [(example.intent, example.place.file) for example in data.examples] == [("b", "1.yml"), ("a", "2.yml")]

    def test_the_base_of_a_retrieval_intent_is_what_policies_see(self) -> None:
        example = read(nlu(examples("faq/hours", "when"))).data.examples[0]
        assert (example.intent, example.base_intent) == ("faq/hours", "faq")

    def test_the_entities_are_those_that_examples_mark(self) -> None:
        text = nlu(examples("a", "[x](city)", "[y](city)"), item("lookup", "code", "z"))
        assert read(text).data.entities == {"city"}


class TestEntries:
    def test_synonyms_keep_their_order(self) -> None:
        data = read(nlu(item("synonym", "New York", "NYC", "big apple"), item("synonym", "Athens", "athina"))).data
        assert of(data.synonyms) == [("New York", "NYC"), ("New York", "big apple"), ("Athens", "athina")]
        assert data.synonyms[1].place == Place("1.yml", 5)

    def test_regexes_are_sorted_by_name_and_pattern(self) -> None:
        data = read(nlu(item("regex", "number", r"\d+"), item("regex", "code", r"x\d", r"a\d"))).data
        assert of(data.regexes) == [("code", r"a\d"), ("code", r"x\d"), ("number", r"\d+")]

    def test_lookups_keep_their_order(self) -> None:
        data = read(nlu(item("lookup", "city", "Rome")), nlu(item("lookup", "city", "Athens"))).data
        assert of(data.lookups) == [("city", "Rome"), ("city", "Athens")]


class TestWarnings:
    def test_a_line_without_a_dash_is_left_out(self) -> None:
        files = read("nlu:\n- intent: a\n  examples: |\n    - hi\n    there\n\n      - bye\n")
        assert texts_of(files.data) == [("a", "hi", 4)]
        assert [str(warning) for warning in files.warnings] == [
            "1.yml:5: the line 'there' is no example: it does not begin with '- '",
            "1.yml:7: the line '- bye' is no example: it does not begin with '- '",
        ]

    def test_an_empty_example_is_left_out(self) -> None:
        files = read("nlu:\n- lookup: a\n  examples: |\n    -\n    - hi\n")
        assert of(files.data.lookups) == [("a", "hi")]
        assert [str(warning) for warning in files.warnings] == [
            "1.yml:4: lookup 'a' has an empty example, which is left out"
        ]

    def test_an_item_without_examples_is_odd(self) -> None:
        assert [str(warning) for warning in read("nlu:\n- intent: a\n").warnings] == [
            "1.yml:2: intent 'a' has no examples"
        ]


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("nlu: {}", "1.yml:1: nlu must be a list, not a mapping"),
            ("nlu:\n- greet", "1.yml:2: an item of nlu must be a mapping, not 'greet'"),
            (
                "nlu:\n- examples: |\n    - hi",
                "1.yml:2: an item of nlu needs one of the keys intent, synonym, regex, lookup, not examples",
            ),
            ("nlu:\n- intent:\n  examples: |\n    - hi", "1.yml:2: intent must be a name, not None"),
            (
                "nlu:\n- intent: a\n  examples: 5",
                "1.yml:3: intent 'a': examples must be a text with a line '- ' for each, not 5",
            ),
            (
                "nlu:\n- intent: a\n  examples:\n  - text: hi\n  - []",
                "1.yml:5: intent 'a': an example must be a text, or a mapping with a text, not a list",
            ),
        ],
    )
    def test_each_says_where_it_is(self, text: str, fault: str) -> None:
        assert [str(found) for found in read(text).faults] == [fault]

    def test_a_mark_that_cannot_be_read_is_named_with_its_line(self) -> None:
        files = read(nlu(examples("a", "hi", "[Rome]{city}")))
        assert str(files.faults[0]).startswith("1.yml:5: '[Rome]{city}': {city} is not JSON: ")

    def test_all_are_found(self) -> None:
        assert len(read("nlu:\n- greet\n- bye\n", "nlu: 5").faults) == 3


class TestOddities:
    DOMAIN = "intents:\n- greet\n- bye:\n    use_entities: []\n"

    def found(self, *items: str) -> list[str]:
        domain_files, _ = read_sources([("domain.yml", self.DOMAIN)])
        data = read(nlu(*items)).data if items else NluData()
        return [str(fault) for fault in oddities(data, domain_from(self.DOMAIN), domain_files)]

    def test_whole_data_have_none(self) -> None:
        assert self.found(examples("greet", "hi", "hello"), examples("bye", "bye", "see you")) == []

    def test_without_any_examples_no_intent_is_missed(self) -> None:
        assert self.found() == []

    def test_an_intent_with_one_example(self) -> None:
        assert self.found(examples("greet", "hi"), examples("bye", "bye", "see you")) == [
            "1.yml:4: the intent 'greet' has only one example"
        ]

    def test_a_text_of_two_intents(self) -> None:
        assert self.found(examples("greet", "hi", "salute"), examples("bye", "bye", "salute")) == [
            "1.yml:9: the text 'salute' is an example of 'bye' and of 'greet' (1.yml:5); as a keyword it is left out"
        ]

    def test_an_intent_that_the_domain_does_not_know(self) -> None:
        items = examples("greet", "hi", "hello"), examples("bye", "bye", "see you"), examples("faq/a", "what", "how")
        assert self.found(*items) == ["1.yml:12: the intent 'faq' has examples, but is none of the domain's intents"]

    def test_examples_of_a_default_intent_are_fine(self) -> None:
        items = (
            examples("greet", "hi", "hello"),
            examples("bye", "bye", "see you"),
            examples("restart", "anew", "again"),
        )
        assert self.found(*items) == []

    def test_intents_of_the_domain_without_examples(self) -> None:
        assert self.found(examples("bye", "bye", "see you")) == [
            "domain.yml:2: intents of the domain have no examples in the NLU data: greet"
        ]
        assert self.found(examples("restart", "anew", "again")) == [
            "domain.yml:2: intents of the domain have no examples in the NLU data: bye, greet"
        ]
