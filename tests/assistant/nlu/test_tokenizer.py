"""Where the words of a text are, as Rasa's WhitespaceTokenizer has it."""

from __future__ import annotations

import pytest

from tests.assistant.nlu.data import examples, parsed

TOKENIZER = "- name: WhitespaceTokenizer"
DATA = examples("greet", "hi")


async def words(text: str) -> list[str]:
    result = await parsed(text, TOKENIZER, DATA)
    return [result["text"][start:end] for start, end in result["text_tokens"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi there", ["hi", "there"]),
        ("Hi. My name is Joe!", ["Hi", "My", "name", "is", "Joe"]),
        ("the price is 10'000.00 now", ["the", "price", "is", "10'000.00", "now"]),
        ("write to joe@example.com", ["write", "to", "joe@example.com"]),
        ("see https://example.com/a?b=1#c", ["see", "https://example.com/a?b=1#c"]),
        ("don't", ["don", "t"]),
        ("it costs .5 or -3", ["it", "costs", ".5", "or", "-3"]),
        ("#1 & @you", ["#1", "&", "@you"]),
        ("yes 👍👍 no", ["yes", "no"]),
        ("👍", ["👍"]),
        (":)", [":)"]),
        ("  padded  ", ["padded"]),
        ("été à Zürich", ["été", "à", "Zürich"]),
        ("日本 語", ["日本", "語"]),
        ("a a a", ["a", "a", "a"]),
        ("", [""]),
    ],
)
async def test_words(text: str, expected: list[str]) -> None:
    assert await words(text) == expected


async def test_a_place_is_start_and_end_in_the_stripped_text() -> None:
    result = await parsed(" hi you ", TOKENIZER, DATA)
    assert (result["text"], result["text_tokens"]) == ("hi you", [[0, 2], [3, 6]])


async def test_without_a_tokenizer_there_are_no_words() -> None:
    assert "text_tokens" not in await parsed("hi", "- name: KeywordIntentClassifier", DATA)
