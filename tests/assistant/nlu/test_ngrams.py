"""N-grams are those of scikit-learn's CountVectorizer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from assistant.nlu.ngrams import MAX_CHARS, Ngrams

if TYPE_CHECKING:
    from assistant.nlu.ngrams import Accents, Analyzer

WORD = st.text(st.characters(codec="utf-8", exclude_characters="0123456789"), min_size=1, max_size=8)
WORDS = st.lists(WORD.filter(lambda word: word.split() == [word]), max_size=6)
KNOWN = st.lists(st.sampled_from(["the", "Crème", "brûlée", "is", "İ", "a1", "don't", "ﬁ"]), max_size=6)


@given(
    words=WORDS | KNOWN,
    analyzer=st.sampled_from(["word", "char", "char_wb"]),
    lengths=st.tuples(st.integers(1, 4), st.integers(1, 6)).map(sorted),
    lowercase=st.booleans(),
    accents=st.sampled_from([None, "ascii", "unicode"]),
)
def test_they_are_those_of_scikit_learn_without_mere_blanks(
    words: list[str], analyzer: Analyzer, lengths: list[int], lowercase: bool, accents: Accents | None
) -> None:
    shortest, longest = lengths
    stop_words = ["the"] if analyzer == "word" else []
    theirs = CountVectorizer(
        analyzer=analyzer,
        ngram_range=(shortest, longest),
        lowercase=lowercase,
        strip_accents=accents,
        stop_words=stop_words or None,
        token_pattern=r"\b\w+\b" if analyzer == "word" else None,
    ).build_analyzer()
    ours = Ngrams(analyzer, shortest, longest, lowercase, accents, tuple(stop_words))
    assert Counter(ours.of(words)) == Counter(ngram for ngram in theirs(" ".join(words)) if ngram != " ")


@pytest.mark.parametrize("number", ["7", "2024", "007"])
def test_every_number_is_the_same_word(number: str) -> None:
    assert list(Ngrams().of(["room", number, "b52"])) == ["room", "__number__", "b52"]


def test_only_the_beginning_of_a_long_text_counts() -> None:
    assert sum(1 for _ in Ngrams("char").of(["x" * 100_000])) == MAX_CHARS


def test_a_length_that_no_text_has_takes_no_time() -> None:
    assert list(Ngrams("char", 1, 10**12).of(["ab"])) == ["a", "b", "ab"]
