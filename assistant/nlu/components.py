"""The components of a pipeline: each adds to what is known of a message. Names and behavior are those of Rasa.

What a component has learned is a plain value, so that a model can be written to a file and read again.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]

NO_INTENT: Final[Json] = {"name": None, "confidence": 0.0}
FALLBACK_INTENT: Final = "nlu_fallback"

# What stands between words: before a blank or the end; behind a blank or the start, unless a number follows; and within
# a word, unless there is a digit beside it or it is a sign that addresses are made of.
_BETWEEN_WORDS: Final = re.compile(
    r"""  [^\w#@&]+ (?=\s|\Z)
        | (?:\s|\A) [^\w#@&]+ (?=[^0-9\s])
        | (?<=[^0-9\s]) [^\w._~:/?\#\[\]()@!$&*+,;=-]+ (?=[^0-9\s])""",
    re.VERBOSE,
)
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


class Keywords(Struct, frozen=True, dict=True, tag="KeywordIntentClassifier"):
    """KeywordIntentClassifier: the first keyword that occurs in a text, in the order of training, says the intent.

    A keyword is a regular expression, as in Rasa; one that is none is taken as it is written.
    """

    keywords: tuple[tuple[str, str], ...]  #: keyword and intent
    case_sensitive: bool = True

    def add_to(self, parsed: Json) -> Json:
        """The message with its intent; an intent that was found before stays where no keyword is found."""
        for pattern, intent in self._patterns:
            if pattern.search(parsed["text"]):
                return {**parsed, "intent": {"name": intent, "confidence": 1.0}}
        return parsed

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [(keyword_pattern(keyword, self.case_sensitive), intent) for keyword, intent in self.keywords]


def keyword_pattern(keyword: str, case_sensitive: bool) -> re.Pattern[str]:
    """Return what finds a keyword in a text."""
    flags = 0 if case_sensitive else re.IGNORECASE
    try:
        return re.compile(rf"\b{keyword}\b", flags)
    except re.error:
        return re.compile(rf"\b{re.escape(keyword)}\b", flags)


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
    """FallbackClassifier: an intent that nobody is sure of becomes `nlu_fallback`."""

    threshold: float = 0.3
    ambiguity_threshold: float = 0.1

    def add_to(self, parsed: Json) -> Json:
        """The message as it is, or with the fallback as its intent."""
        if not self._is_unsure(parsed):
            return parsed
        fallback = {"name": FALLBACK_INTENT, "confidence": self.threshold}
        ranking = {"intent_ranking": [fallback, *parsed["intent_ranking"]]} if "intent_ranking" in parsed else {}
        return {**parsed, "intent": fallback, **ranking}

    def _is_unsure(self, parsed: Json) -> bool:
        if parsed["intent"]["confidence"] < self.threshold:
            return True
        first = [intent["confidence"] for intent in parsed.get("intent_ranking", [])[:2]]
        return len(first) == 2 and first[0] - first[1] < self.ambiguity_threshold


Component = Whitespace | Keywords | Patterns | Synonyms | Fallback
