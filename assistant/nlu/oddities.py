"""What is no fault in the data of the NLU, and hardly meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dialogue.shapes import name_of
from dialogue.source import Fault
from dialogue.training.stories import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from assistant.nlu.training_data import Entry, Example, NluData
    from dialogue import Domain
    from dialogue.source import Source

FEWEST: Final = 2  #: examples of an intent


def oddities(data: NluData, domain: Domain, domain_files: Sequence[Source]) -> Iterator[Fault]:
    """Return what is odd about the examples, and about what the domain knows of their intents."""
    first: dict[str, Example] = {}
    for example in data.examples:
        first.setdefault(example.base_intent, example)
    yield from _rare(data.examples)
    yield from _ambiguous(data.examples)
    for intent, example in first.items():
        if intent not in domain.known_intents:
            yield _at(example.place, f"the intent {intent!r} has examples, but is none of the domain's intents")
    if first:
        yield from _without_examples(domain.intents, first, domain_files)


def unused(data: NluData, components: Iterable[str]) -> Iterator[Fault]:
    """Return which parts of the data no component of the pipeline looks at."""
    components = frozenset(components)
    yield from _unused("synonyms", data.synonyms, "EntitySynonymMapper", components)
    yield from _unused("regexes", data.regexes, "RegexEntityExtractor", components)
    yield from _unused("lookup tables", data.lookups, "RegexEntityExtractor", components)


def without_pipeline(data: NluData) -> Iterator[Fault]:
    """Return what is odd about data that nobody learns from."""
    if data.examples:
        reason = "config.yml names no pipeline, so only messages such as /greet are understood; name its components"
        yield _at(data.examples[0].place, f"nobody learns from the examples: {reason}")


def _rare(examples: Iterable[Example]) -> Iterator[Fault]:
    by_intent: dict[str, list[Example]] = {}
    for example in examples:
        by_intent.setdefault(example.intent, []).append(example)
    for intent, of_intent in by_intent.items():
        if len(of_intent) < FEWEST:
            yield _at(of_intent[0].place, f"the intent {intent!r} has only one example")


def _ambiguous(examples: Iterable[Example]) -> Iterator[Fault]:
    first: dict[str, Example] = {}
    for example in examples:
        text = example.text.text
        other = first.setdefault(text, example)
        if other.base_intent != example.base_intent:
            where = f"{other.base_intent!r} ({other.place.file}:{other.place.line})"
            reason = f"is an example of {example.base_intent!r} and of {where}; as a keyword it is left out"
            yield _at(example.place, f"the text {text!r} {reason}")


def _without_examples(intents: Iterable[str], first: dict[str, Example], files: Sequence[Source]) -> Iterator[Fault]:
    missing = [intent for intent in intents if intent not in first]
    if missing:
        place = next(_declared(missing, files))
        yield _at(place, f"intents of the domain have no examples in the NLU data: {', '.join(missing)}")


def _declared(intents: Sequence[str], files: Sequence[Source]) -> Iterator[Place]:
    """Where these intents stand in the domain."""
    for file in files:
        for index, item in enumerate((file.value or {}).get("intents") or ()):
            if name_of(item) in intents:
                fault = file.fault(("intents", index), "")
                yield Place(fault.file, fault.line)


def _unused(what: str, entries: Sequence[Entry], component: str, components: frozenset[str]) -> Iterator[Fault]:
    if entries and component not in components:
        yield _at(entries[0].place, f"the {what} are not used: the pipeline in config.yml has no {component}")


def _at(place: Place, reason: str) -> Fault:
    return Fault(place.file, place.line, reason)
