"""Training data of the NLU: examples of intents, synonyms, regular expressions and lookup tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from dialogue.shapes import kind
from dialogue.source import Fault
from dialogue.training.annotations import AnnotatedText, InvalidAnnotation, parse_annotated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.source import Source
    from dialogue.yaml12 import Path

_KINDS: Final = ("intent", "synonym", "regex", "lookup")
_ITEM: Final = re.compile(r"\s*-\s?(?P<text>.*)")


class Example(Struct, frozen=True):
    """A message as a user might say it; `intent` is the whole name, as `faq/opening_hours`."""

    intent: str
    text: AnnotatedText


class NluData(Struct, frozen=True):
    """All that the NLU learns from.

    Attributes:
        examples: each text of an intent once, in the order of the files.
        synonyms: for a text what it stands for, in the order of the files; later ones win.
        regexes: (name, pattern), sorted by both together, as Rasa has them.
        lookups: (name, entries), names in the order in which they appear first.
    """

    examples: tuple[Example, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    regexes: tuple[tuple[str, str], ...] = ()
    lookups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def entities(self) -> frozenset[str]:
        """The entities that are marked in examples."""
        return frozenset(entity.entity for example in self.examples for entity in example.text.entities)


class NluFiles(Struct, frozen=True):
    """What files hold for the NLU, and what is wrong or odd in them."""

    data: NluData
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def read_nlu(sources: Iterable[Source], more: Sequence[Example] = ()) -> NluFiles:
    """Return the NLU data in these files, and behind it `more` examples: those that stand in stories."""
    reader = _Reader()
    for source in sources:
        reader.read(source)
    return NluFiles(reader.data(more), tuple(reader.faults), tuple(reader.warnings))


class _Reader:
    """Gathers what several files hold."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._examples: list[Example] = []
        self._synonyms: list[tuple[str, str]] = []
        self._regexes: list[tuple[str, str]] = []
        self._lookups: dict[str, list[str]] = {}

    def data(self, more: Sequence[Example]) -> NluData:
        examples = tuple({repr(example): example for example in (*self._examples, *more)}.values())
        return NluData(
            examples=examples,
            synonyms=(*self._synonyms, *_annotated_synonyms(examples)),
            regexes=tuple(sorted(self._regexes, key="".join)),
            lookups=tuple((name, tuple(entries)) for name, entries in self._lookups.items()),
        )

    def read(self, source: Source) -> None:
        items = source.value.get("nlu")
        if items is None:
            return
        if not isinstance(items, list):
            self.faults.append(source.fault(("nlu",), f"nlu must be a list, not {kind(items)}"))
            return
        for index, item in enumerate(items):
            self._read_item(source, ("nlu", index), item)

    def _read_item(self, source: Source, path: Path, item: Any) -> None:
        if not isinstance(item, dict):
            self.faults.append(source.fault(path, f"an item of nlu must be a mapping, not {kind(item)}"))
            return
        found = [key for key in _KINDS if key in item]
        if len(found) != 1:
            reason = f"an item of nlu needs one of the keys {', '.join(_KINDS)}, not {', '.join(map(str, item))}"
            self.faults.append(source.fault(path, reason))
            return
        name = item[found[0]]
        if not isinstance(name, str) or not name:
            self.faults.append(source.fault((*path, found[0]), f"{found[0]} must be a name, not {kind(name)}"))
            return
        texts = list(self._texts(source, path, item.get("examples"), f"{found[0]} {name!r}"))
        self._take(found[0], name, texts, source, path)

    def _take(self, kind_: str, name: str, texts: list[str], source: Source, path: Path) -> None:
        if kind_ == "intent":
            self._examples += self._annotated(source, path, name, texts)
        elif kind_ == "synonym":
            self._synonyms += [(text, name) for text in texts]
        elif kind_ == "regex":
            self._regexes += [(name, text) for text in texts]
        else:
            self._lookups.setdefault(name, []).extend(texts)

    def _annotated(self, source: Source, path: Path, intent: str, texts: list[str]) -> Iterator[Example]:
        for text in texts:
            try:
                yield Example(intent, parse_annotated(text))
            except InvalidAnnotation as error:
                self.faults.append(source.fault((*path, "examples"), str(error)))

    def _texts(self, source: Source, path: Path, examples: Any, what: str) -> Iterator[str]:
        if isinstance(examples, str):
            yield from self._lines(source, (*path, "examples"), examples)
        elif isinstance(examples, list):
            for index, example in enumerate(examples):
                text = example.get("text") if isinstance(example, dict) else example
                if isinstance(text, str):
                    yield text.strip()
                else:
                    reason = f"{what}: an example must be a text, or a mapping with a text, not {kind(example)}"
                    self.faults.append(source.fault((*path, "examples", index), reason))
        elif examples is None:
            self.warnings.append(source.fault(path, f"{what} has no examples"))
        else:
            reason = f"{what}: examples must be a text with a line '- ' for each, not {kind(examples)}"
            self.faults.append(source.fault((*path, "examples"), reason))

    def _lines(self, source: Source, path: Path, block: str) -> Iterator[str]:
        for line in block.splitlines():
            item = _ITEM.fullmatch(line)
            if item:
                yield item["text"].strip()
            elif line.strip():
                self.warnings.append(
                    source.fault(path, f"the line {line.strip()[:80]!r} is no example: '- ' is missing")
                )


def _annotated_synonyms(examples: Iterable[Example]) -> Iterator[tuple[str, str]]:
    """What examples say of their entities' values: `[NYC](city:New York)`."""
    for example in examples:
        for entity in example.text.entities:
            text = example.text.text[entity.start : entity.end]
            if isinstance(entity.value, str) and entity.value != text:
                yield text, entity.value
