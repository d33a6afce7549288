"""What a text is seen as by a classifier: a bag of words, of letters, and of short rows of either."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_CHARS: Final = 4_000  #: of a message, that are looked at

_NUMBER: Final = re.compile(r"\b[0-9]+\b")
_WORD: Final = re.compile(r"\b\w+\b")
_BLANKS: Final = re.compile(r"\s\s+")

Analyzer = Literal["word", "char", "char_wb"]
Accents = Literal["ascii", "unicode"]


class Ngrams(Struct, frozen=True, dict=True):
    """The n-grams of a text, found as scikit-learn's CountVectorizer finds them.

    Attributes:
        analyzer: rows of words, of characters, or of characters within the edges of words.
        shortest, longest: how many words or characters are in a row.
        strip_accents: how letters lose their accents; None: they keep them.
        stop_words: words that do not count.
    """

    analyzer: Analyzer = "word"
    shortest: int = 1
    longest: int = 1
    lowercase: bool = True
    strip_accents: Accents | None = None
    stop_words: tuple[str, ...] = ()

    def of(self, words: Iterable[str]) -> Iterator[str]:
        """All n-grams of a text, by its words. Every number counts as the same word; a mere blank says nothing."""
        text = _NUMBER.sub("__NUMBER__", " ".join(words)[:MAX_CHARS])
        text = _without_accents(text.lower() if self.lowercase else text, self.strip_accents)
        if self.analyzer == "word":
            return self._of_words([word for word in _WORD.findall(text) if word not in self._stop_words])
        rows = self._of_characters(text) if self.analyzer == "char" else self._within_words(text)
        return (row for row in rows if row != " ")

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        return frozenset(self.stop_words)

    def _of_words(self, words: Sequence[str]) -> Iterator[str]:
        for length in range(self.shortest, min(self.longest, len(words)) + 1):
            for start in range(len(words) - length + 1):
                yield " ".join(words[start : start + length])

    def _of_characters(self, text: str) -> Iterator[str]:
        text = _BLANKS.sub(" ", text)
        for length in range(self.shortest, min(self.longest, len(text)) + 1):
            for start in range(len(text) - length + 1):
                yield text[start : start + length]

    def _within_words(self, text: str) -> Iterator[str]:
        """Those of each word between two blanks; a word that is too short for a length counts once, as a whole."""
        for word in text.split():
            padded = f" {word} "
            for length in range(self.shortest, self.longest + 1):
                if length >= len(padded):
                    yield padded
                    break
                for start in range(len(padded) - length + 1):
                    yield padded[start : start + length]


def _without_accents(text: str, accents: Accents | None) -> str:
    if accents is None or text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text)
    if accents == "ascii":
        return "".join(filter(str.isascii, parts))
    return "".join(part for part in parts if not unicodedata.combining(part))
