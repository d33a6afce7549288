"""The components of a pipeline: each adds to what is known of a message. Names and behavior are those of Rasa.

What a component has learned is a plain value, so that a model can be written to a file and read again.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

from assistant.nlu.classifier import LogisticRegression

Json = dict[str, Any]

NO_INTENT: Final[Json] = {"name": None, "confidence": 0.0}
FALLBACK_INTENT: Final = "nlu_fallback"

# What stands between words: before a blank or the end; behind a blank or the start, unless a number follows; and within
# a word, unless there is a digit beside it or it is a sign that addresses are made of. The first look back changes
# nothing in what is found; without it a long row of signs would be searched anew from each of them.
_BETWEEN_WORDS: Final = re.compile(
    r"""  (?<![^\w#@&]) [^\w#@&]+ (?=\s|\Z)
        | (?:\s|\A) [^\w#@&]+ (?=[^0-9\s])
        | (?<=[^0-9\s]) [^\w._~:/?\#\[\]()@!$&*+,;=-]+ (?=[^0-9\s])""",
    re.VERBOSE,
)
_PLAIN: Final = re.compile(r"[\w\s',!:;-]*")  # without any sign that means something in a regular expression
_SYMBOLS: Final = re.compile(
    "[\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\u200d\U0001f000-\U0001faff\U000e0000-\U000e007f]+"
)


class Whitespace(Struct, frozen=True, tag="WhitespaceTokenizer"):
    """WhitespaceTokenizer: where the words of a text are."""

    def add_to(self, parsed: Json) -> Json:
        """The message with `text_tokens`, a list of [start, end]."""
        text, spans, position = parsed["text"], [], 0
        for word in _words(text):
            start = text.index(word, position)
            position = start + len(word)
            spans.append([start, position])
        return {**parsed, "text_tokens": spans}


def _words(text: str) -> list[str]:
    words = [word for word in _BETWEEN_WORDS.sub(" ", text).split() if not _SYMBOLS.fullmatch(word)]
    return words or [text]


class Keyword:
    """What finds a keyword in texts: a regular expression, as in Rasa; one that is none is taken as it is written."""

    def __init__(self, keyword: str, case_sensitive: bool) -> None:
        self._keyword = keyword
        self._flags = 0 if case_sensitive else re.IGNORECASE
        # Most keywords are plain words, and most of them are not in a text: that is seen sooner without a pattern.
        self._plain = keyword.casefold() if _PLAIN.fullmatch(keyword) else ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        try:
            return re.compile(rf"\b{self._keyword}\b", self._flags)
        except re.error:
            return re.compile(rf"\b{re.escape(self._keyword)}\b", self._flags)

    def may_occur_in(self, folded: str) -> bool:
        """Whether it is worth looking for it in a text, by the text's casefold."""
        return self._plain in folded

    def occurs_in(self, text: str, folded: str) -> bool:
        """Whether it stands in a text, between edges of words."""
        return self.may_occur_in(folded) and bool(self._pattern.search(text))


class Keywords(Struct, frozen=True, dict=True, tag="KeywordIntentClassifier"):
    """KeywordIntentClassifier: the first keyword that occurs in a text, in the order of training, says the intent."""

    keywords: tuple[tuple[str, str], ...]  #: keyword and intent
    case_sensitive: bool = True

    def add_to(self, parsed: Json) -> Json:
        """The message with its intent; an intent that was found before stays where no keyword is found."""
        text = parsed["text"]
        folded = text.casefold()
        for keyword, intent in self._known:
            if keyword.occurs_in(text, folded):
                return {**parsed, "intent": {"name": intent, "confidence": 1.0}}
        return parsed

    @cached_property
    def _known(self) -> list[tuple[Keyword, str]]:
        return [(Keyword(keyword, self.case_sensitive), intent) for keyword, intent in self.keywords]


class Patterns(Struct, frozen=True, dict=True, tag="RegexEntityExtractor"):
    """RegexEntityExtractor: whatever fits a pattern is an entity of the pattern's name."""

    patterns: tuple[tuple[str, str], ...]  #: entity and regular expression
    case_sensitive: bool = False

    def add_to(self, parsed: Json) -> Json:
        """The message with these entities behind those that were found before. Overlapping ones are all kept."""
        found = [
            _entity(name, match)
            for name, pattern in self._compiled
            for match in pattern.finditer(parsed["text"])
            if match.group()
        ]
        return {**parsed, "entities": parsed["entities"] + found}

    @cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str]]]:
        flags = 0 if self.case_sensitive else re.IGNORECASE
        return [(name, re.compile(pattern, flags)) for name, pattern in self.patterns]


def _entity(name: str, match: re.Match[str]) -> Json:
    return {
        "entity": name,
        "start": match.start(),
        "end": match.end(),
        "value": match.group(),
        "extractor": "RegexEntityExtractor",
    }


class Synonyms(Struct, frozen=True, tag="EntitySynonymMapper"):
    """EntitySynonymMapper: replaces an entity's value by what it stands for."""

    values: dict[str, str]  #: by lower-case text

    def add_to(self, parsed: Json) -> Json:
        """The message with the values that are meant."""
        return {**parsed, "entities": [self._mapped(entity) for entity in parsed["entities"]]}

    def _mapped(self, entity: Json) -> Json:
        text = str(entity["value"]).lower()
        if text not in self.values:
            return entity
        return {
            **entity,
            "value": self.values[text],
            "processors": [*entity.get("processors", ()), "EntitySynonymMapper"],
        }


class Fallback(Struct, frozen=True, tag="FallbackClassifier"):
    """FallbackClassifier: an intent that nobody is sure of becomes `nlu_fallback`, and one that another comes close to.

    Attributes:
        ambiguity_threshold: by how much the first intent of a ranking must be surer than the second.
    """

    threshold: float = 0.3
    ambiguity_threshold: float = 0.1

    def add_to(self, parsed: Json) -> Json:
        """The message as it is, or with the fallback as its intent, and at the head of the ranking if there is one."""
        if parsed["intent"]["confidence"] >= self.threshold and not self._is_ambiguous(parsed):
            return parsed
        fallback = {"name": FALLBACK_INTENT, "confidence": self.threshold}
        ranked = {"intent_ranking": [fallback, *parsed["intent_ranking"]]} if "intent_ranking" in parsed else {}
        return {**parsed, "intent": fallback, **ranked}

    def _is_ambiguous(self, parsed: Json) -> bool:
        """Whether the ranking says so; of an intent that a keyword put in place of its first it says nothing."""
        ranking = parsed.get("intent_ranking", ())
        if len(ranking) < 2 or ranking[0]["name"] != parsed["intent"]["name"]:
            return False
        return bool(ranking[0]["confidence"] - ranking[1]["confidence"] < self.ambiguity_threshold)


Component = Whitespace | Keywords | Patterns | Synonyms | LogisticRegression | Fallback
