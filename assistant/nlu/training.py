"""What the components of a pipeline learn from the training data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from assistant.nlu.components import Fallback, Keywords, Patterns, Synonyms, Whitespace, keyword_pattern
from assistant.nlu.pipeline import NluModel
from dialogue.shapes import FLAG, NUMBER, check_keys, kind
from dialogue.source import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assistant.nlu.components import Component
    from assistant.nlu.training_data import NluData
    from dialogue.shapes import Shape
    from dialogue.source import Source

Settings = dict[str, Any]

CLASSIFIERS: Final = ("KeywordIntentClassifier",)
# Components of Rasa that learn statistically, or need them.
_STATISTICAL: Final = frozenset(
    {
        "DIETClassifier",
        "LogisticRegressionClassifier",
        "SklearnIntentClassifier",
        "MitieIntentClassifier",
        "CRFEntityExtractor",
        "MitieEntityExtractor",
        "SpacyEntityExtractor",
        "DucklingEntityExtractor",
        "ResponseSelector",
        "CountVectorsFeaturizer",
        "LexicalSyntacticFeaturizer",
        "RegexFeaturizer",
        "LanguageModelFeaturizer",
        "ConveRTFeaturizer",
        "SpacyFeaturizer",
        "MitieFeaturizer",
        "SpacyNLP",
        "MitieNLP",
        "SpacyTokenizer",
        "JiebaTokenizer",
        "MitieTokenizer",
    }
)


class TrainedNlu(Struct, frozen=True):
    """What was learned, and what is wrong or odd in the configuration and the data."""

    model: NluModel
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def train_nlu(config: Source | None, data: NluData) -> TrainedNlu:
    """Return the pipeline of a config.yml (None: there is none), with what it learns from the data."""
    if config is None or config.value.get("pipeline") is None:
        return TrainedNlu(NluModel(), (), ())
    trainer = _Trainer(config, data)
    components = tuple(trainer.components(config.value["pipeline"]))
    return TrainedNlu(NluModel(components), tuple(trainer.faults), tuple(trainer.warnings))


class _Trainer:
    """Reads the pipeline of one config.yml."""

    def __init__(self, config: Source, data: NluData) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._config, self._data = config, data

    def components(self, pipeline: Any) -> Iterator[Component]:
        if not isinstance(pipeline, list):
            self._fault((), f"pipeline must be a list of components, not {kind(pipeline)}")
            return
        classified = False
        for index, item in enumerate(pipeline):
            name = item.get("name") if isinstance(item, dict) else item
            if name == "FallbackClassifier" and not classified:
                self._fault(
                    (index,), "FallbackClassifier must come after an intent classifier, such as KeywordIntentClassifier"
                )
            classified = classified or name in CLASSIFIERS
            yield from self._component((index,), name, item if isinstance(item, dict) else {})

    def _component(self, path: tuple[int, ...], name: Any, settings: Settings) -> Iterator[Component]:
        known = _COMPONENTS.get(name) if isinstance(name, str) else None
        if known is None:
            self._fault(path, _unknown(name))
            return
        shapes, learn = known
        faults = list(
            check_keys((), {key: value for key, value in settings.items() if key != "name"}, shapes, name, closed=False)
        )
        for _, reason in faults:
            self._fault(path, reason)
        if not faults:
            yield learn(self, path, settings)

    def _fault(self, path: tuple[int, ...], reason: str) -> None:
        self.faults.append(self._config.fault(("pipeline", *path), reason))

    def _warn(self, path: tuple[int, ...], reason: str) -> None:
        self.warnings.append(self._config.fault(("pipeline", *path), reason))

    # --- what each of them learns ---

    def whitespace(self, _path: tuple[int, ...], _settings: Settings) -> Component:
        return Whitespace()

    def keywords(self, path: tuple[int, ...], settings: Settings) -> Component:
        case_sensitive = settings.get("case_sensitive", True)
        intents, doubtful = _intents_by_text(self._data)
        contained = _contained(intents, case_sensitive)
        for keyword in doubtful:
            self._warn(path, f"the keyword {keyword!r} is left out: several intents have it")
        for keyword, other in contained.items():
            self._warn(path, f"the keyword {keyword!r} is left out: it occurs in {other!r} of another intent")
        kept = tuple(item for item in intents.items() if item[0] not in contained)
        return Keywords(kept, case_sensitive)

    def patterns(self, path: tuple[int, ...], settings: Settings) -> Component:
        entities = self._data.entities
        regexes = self._data.regexes if settings.get("use_regexes", True) else ()
        lookups = self._data.lookups if settings.get("use_lookup_tables", True) else ()
        bounded = settings.get("use_word_boundaries", True)
        patterns = [item for item in regexes if item[0] in entities and self._is_pattern(path, *item)]
        patterns += [
            (name, _alternatives(entries, bounded)) for name, entries in lookups if name in entities and entries
        ]
        if not patterns:
            self._warn(path, "no lookup table or regex has the name of an entity that is marked in an NLU example")
        return Patterns(tuple(patterns), settings.get("case_sensitive", False))

    def synonyms(self, _path: tuple[int, ...], _settings: Settings) -> Component:
        values = {}
        for example in self._data.examples:
            for entity in example.text.entities:
                if isinstance(entity.value, str):
                    values[entity.value.lower()] = entity.value
        for _, value in self._data.synonyms:
            values[value.lower()] = value
        values |= {text.lower(): value for text, value in self._data.synonyms}
        return Synonyms(values)

    def fallback(self, _path: tuple[int, ...], settings: Settings) -> Component:
        return Fallback(settings.get("threshold", 0.3), settings.get("ambiguity_threshold", 0.1))

    def _is_pattern(self, path: tuple[int, ...], name: str, pattern: str) -> bool:
        try:
            re.compile(pattern)
        except re.error as error:
            self._fault(path, f"the regex {name!r}: {pattern!r} is not a valid regular expression: {error}")
            return False
        return True


def _unknown(name: Any) -> str:
    known = ", ".join(_COMPONENTS)
    if name in _STATISTICAL:
        return (
            f"{name} is not run here; components are {known}. For more, run the pipeline in an NLU server and name it "
            "under `nlu` in endpoints.yml"
        )
    return f"there is no component {name!r}; components are {known}"


def _intents_by_text(data: NluData) -> tuple[dict[str, str], list[str]]:
    """The intent of each text, and the texts of several intents, which are left out."""
    intents: dict[str, str] = {}
    doubtful: dict[str, None] = {}
    for example in data.examples:
        text, intent = example.text.text, example.intent.partition("/")[0]
        if intents.setdefault(text, intent) != intent:
            doubtful[text] = None
    return {text: intent for text, intent in intents.items() if text not in doubtful}, list(doubtful)


def _contained(intents: dict[str, str], case_sensitive: bool) -> dict[str, str]:
    """Keywords that occur in one of another intent, with that one."""
    texts: dict[str, list[str]] = {}
    for text, intent in intents.items():
        texts.setdefault(intent, []).append(text)
    joined = {intent: "\n".join(of_intent) for intent, of_intent in texts.items()}
    found = {}
    for keyword, intent in intents.items():
        pattern = keyword_pattern(keyword, case_sensitive)
        for other, text in joined.items():
            match = pattern.search(text) if other != intent and keyword else None
            if match:
                found[keyword] = _line_at(text, match.start())
                break
    return found


def _line_at(text: str, index: int) -> str:
    return text[text.rfind("\n", 0, index) + 1 :].partition("\n")[0]


def _alternatives(entries: tuple[str, ...], bounded: bool) -> str:
    edge = r"\b" if bounded else ""
    return "(?:" + "|".join(f"{edge}{re.escape(entry)}{edge}" for entry in entries) + ")"


_COMPONENTS: Final[dict[str, tuple[dict[str, Shape], Callable[[_Trainer, tuple[int, ...], Settings], Component]]]] = {
    "WhitespaceTokenizer": ({}, _Trainer.whitespace),
    "KeywordIntentClassifier": ({"case_sensitive": FLAG}, _Trainer.keywords),
    "RegexEntityExtractor": (
        {"case_sensitive": FLAG, "use_lookup_tables": FLAG, "use_regexes": FLAG, "use_word_boundaries": FLAG},
        _Trainer.patterns,
    ),
    "EntitySynonymMapper": ({}, _Trainer.synonyms),
    "FallbackClassifier": ({"threshold": NUMBER, "ambiguity_threshold": NUMBER}, _Trainer.fallback),
}
