"""Training data of the NLU: examples of intents, synonyms, regular expressions and lookup tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from dialogue.shapes import kind
from dialogue.source import Fault
from dialogue.training.annotations import AnnotatedText, InvalidAnnotation, parse_annotated
from dialogue.training.stories import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dialogue.source import Source
    from dialogue.yaml12 import Path

_KINDS: Final = ("intent", "synonym", "regex", "lookup")


class Example(Struct, frozen=True):
    """A message as a user might say it; `intent` is the whole name, as `faq/opening_hours`."""

    intent: str
    text: AnnotatedText
    place: Place

    @property
    def base_intent(self) -> str:
        """The intent that policies see of it: `faq`."""
        return self.intent.partition("/")[0]


class Entry(Struct, frozen=True):
    """A text under a name: what the name is a synonym for, a regular expression, or an entry of a lookup table."""

    name: str
    text: str
    place: Place


class NluData(Struct, frozen=True):
    """All that the NLU learns from.

    Attributes:
        examples: each text of an intent once, in the order of the files.
        synonyms: in the order of the files, as the lookups.
        regexes: sorted by name and pattern together, as Rasa has them.
    """

    examples: tuple[Example, ...] = ()
    synonyms: tuple[Entry, ...] = ()
    regexes: tuple[Entry, ...] = ()
    lookups: tuple[Entry, ...] = ()

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
        self._entries: dict[str, list[Entry]] = {"synonym": [], "regex": [], "lookup": []}

    def data(self, more: Sequence[Example]) -> NluData:
        examples: dict[tuple[str, str], Example] = {}
        for example in (*self._examples, *more):
            examples.setdefault((example.intent, repr(example.text)), example)
        return NluData(
            examples=tuple(examples.values()),
            synonyms=tuple(self._entries["synonym"]),
            regexes=tuple(sorted(self._entries["regex"], key=lambda regex: regex.name + regex.text)),
            lookups=tuple(self._entries["lookup"]),
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
        texts = self._texts(source, (*path, "examples"), item.get("examples"), f"{found[0]} {name!r}")
        if found[0] == "intent":
            self._examples += self._annotated(name, texts)
        else:
            self._entries[found[0]] += [Entry(name, text, place) for text, place in texts]

    def _annotated(self, intent: str, texts: Iterable[tuple[str, Place]]) -> Iterator[Example]:
        for text, place in texts:
            try:
                yield Example(intent, parse_annotated(text), place)
            except InvalidAnnotation as error:
                self.faults.append(Fault(place.file, place.line, str(error)))

    def _texts(self, source: Source, path: Path, examples: Any, what: str) -> Iterator[tuple[str, Place]]:
        """The examples with their places; empty ones are left out."""
        for text, place in self._written(source, path, examples, what):
            if text:
                yield text, place
            else:
                self.warnings.append(Fault(place.file, place.line, f"{what} has an empty example, which is left out"))

    def _written(self, source: Source, path: Path, examples: Any, what: str) -> Iterator[tuple[str, Place]]:
        if isinstance(examples, str):
            yield from self._lines(_place(source, path), examples)
        elif isinstance(examples, list):
            for index, example in enumerate(examples):
                text = example.get("text") if isinstance(example, dict) else example
                if isinstance(text, str):
                    yield text.strip(), _place(source, (*path, index))
                else:
                    reason = f"{what}: an example must be a text, or a mapping with a text, not {kind(example)}"
                    self.faults.append(source.fault((*path, index), reason))
        elif examples is None:
            self.warnings.append(source.fault(path, f"{what} has no examples"))
        else:
            reason = f"{what}: examples must be a text with a line '- ' for each, not {kind(examples)}"
            self.faults.append(source.fault(path, reason))

    def _lines(self, key: Place, block: str) -> Iterator[tuple[str, Place]]:
        """The items of a block of lines, which begins below its key."""
        begin = key.line + 1 if "\n" in block else key.line
        for line, text in enumerate(block.splitlines(), begin):
            if text.startswith("-"):
                yield text[1:].strip(), Place(key.file, line)
            elif text.strip():
                reason = f"the line {text.strip()[:80]!r} is no example: it does not begin with '- '"
                self.warnings.append(Fault(key.file, line, reason))


def _place(source: Source, path: Path) -> Place:
    fault = source.fault(path, "")
    return Place(fault.file, fault.line)
