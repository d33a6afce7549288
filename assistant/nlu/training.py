"""What the components of a pipeline learn from the training data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from assistant.nlu.components import Fallback, Keyword, Keywords, Patterns, Synonyms, Whitespace
from assistant.nlu.oddities import unused, without_pipeline
from assistant.nlu.pipeline import NluModel
from assistant.nlu.regression import CLASSIFIER_SETTINGS, FEATURIZER_SETTINGS, UNUSED_SOLVER, CannotLearn, learn
from assistant.nlu.training_data import NluData
from dialogue.shapes import FLAG, NUMBER, check_keys, kind
from dialogue.source import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from assistant.nlu.components import Component
    from assistant.nlu.training_data import Entry, Example
    from dialogue.shapes import Shape
    from dialogue.source import Source
    from dialogue.training.stories import Place
    from dialogue.yaml12 import Path

Settings = dict[str, Any]

# What a component needs before it: what people call that, and the components that are one.
_NEEDS: Final = {
    "CountVectorsFeaturizer": ("a tokenizer", ("WhitespaceTokenizer",)),
    "LogisticRegressionClassifier": ("a featurizer", ("CountVectorsFeaturizer",)),
    "FallbackClassifier": ("an intent classifier", ("KeywordIntentClassifier", "LogisticRegressionClassifier")),
}
_OTHER_CLASSIFIERS: Final = frozenset({"DIETClassifier", "SklearnIntentClassifier", "MitieIntentClassifier"})
# Further components of Rasa that learn statistically, or need them.
_STATISTICAL: Final = _OTHER_CLASSIFIERS | frozenset(
    {
        "CRFEntityExtractor",
        "MitieEntityExtractor",
        "SpacyEntityExtractor",
        "DucklingEntityExtractor",
        "ResponseSelector",
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
    pipeline = None if config is None else config.value.get("pipeline")
    if config is None or pipeline is None:
        return TrainedNlu(NluModel(), (), tuple(without_pipeline(data)))
    trainer = _Trainer(config, data)
    components = tuple(trainer.components(pipeline))
    # As in Rasa: nothing to learn, no pipeline. What is faulty makes no model.
    learned = NluModel() if data == NluData() or trainer.faults else NluModel(components)
    return TrainedNlu(learned, tuple(trainer.faults), tuple(trainer.warnings))


class _Trainer:
    """Reads the pipeline of one config.yml."""

    def __init__(self, config: Source, data: NluData) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._config, self._data = config, data
        self._featurizers: list[Settings] = []

    def components(self, pipeline: Any) -> Iterator[Component]:
        if not isinstance(pipeline, list):
            self._fault((), f"pipeline must be a list of components, not {kind(pipeline)}")
            return
        names = [item.get("name") if isinstance(item, dict) else item for item in pipeline]
        for index, (name, item) in enumerate(zip(names, pipeline, strict=True)):
            self._check_order((index,), name, names[:index])
            yield from self._component((index,), name, item if isinstance(item, dict) else {})
        if "CountVectorsFeaturizer" in names and "LogisticRegressionClassifier" not in names:
            self._warn((names.index("CountVectorsFeaturizer"),), "no classifier looks at CountVectorsFeaturizer")
        self.warnings += unused(self._data, (name for name in names if isinstance(name, str)))

    def _check_order(self, path: Path, name: Any, before: Sequence[Any]) -> None:
        what, needed = _NEEDS.get(name, ("", ())) if isinstance(name, str) else ("", ())
        if needed and not any(component in needed for component in before):
            self._fault(path, f"{name} must come after {what}, such as {needed[0]}")

    def _component(self, path: Path, name: Any, written: Settings) -> Iterator[Component]:
        known = _COMPONENTS.get(name) if isinstance(name, str) else None
        if known is None:
            self._fault(path, _unknown(name))
            return
        shapes, teach = known
        settings = {key: value for key, value in written.items() if key != "name" and value is not None}
        faults = list(check_keys(path, settings, shapes, name, closed=False))
        for place, reason in faults:
            self._fault(place, reason)
        for key in (key for key in settings if key not in shapes):
            has = f"it has {', '.join(shapes)}" if shapes else "it has none"
            self._warn((*path, key), f"{name} has no setting {key!r} here, so it is ignored; {has}")
        component = None if faults else teach(self, path, settings)
        if component is not None:
            yield component

    def _fault(self, path: Path, reason: str) -> None:
        self.faults.append(self._config.fault(("pipeline", *path), reason))

    def _warn(self, path: Path, reason: str) -> None:
        self.warnings.append(self._config.fault(("pipeline", *path), reason))

    # --- what each of them learns ---

    def whitespace(self, _path: Path, _settings: Settings) -> Component:
        return Whitespace()

    def keywords(self, _path: Path, settings: Settings) -> Component:
        case_sensitive = settings.get("case_sensitive", True)
        examples = _unambiguous(self._data.examples)
        contained = _contained(examples, case_sensitive)
        for example in examples:
            text, other = example.text.text, contained.get(example.text.text)
            if other is not None:
                reason = f"the keyword {text!r} is left out: it occurs in {other!r} of another intent"
                self.warnings.append(Fault(example.place.file, example.place.line, reason))
        kept = [example for example in examples if example.text.text not in contained]
        return Keywords(tuple((example.text.text, example.base_intent) for example in kept), case_sensitive)

    def patterns(self, path: Path, settings: Settings) -> Component:
        entities, bounded = self._data.entities, settings.get("use_word_boundaries", True)
        patterns = []
        if settings.get("use_regexes", True):
            sound = [regex for regex in self._data.regexes if self._is_pattern(regex)]
            patterns += [(regex.name, regex.text) for regex in sound if regex.name in entities]
        if settings.get("use_lookup_tables", True):
            tables = _tables(entry for entry in self._data.lookups if entry.name in entities)
            patterns += [(name, _alternatives(entries, bounded)) for name, entries in tables.items()]
        if not patterns:
            self._warn(path, "no lookup table or regex has the name of an entity that is marked in an NLU example")
        return Patterns(tuple(patterns), settings.get("case_sensitive", False))

    def synonyms(self, _path: Path, _settings: Settings) -> Component:
        """Every value stands for itself too, however it is written, where it is not a synonym of another one."""
        meant: dict[str, str] = {}
        values: dict[str, str] = {}
        for text, value, place in _synonyms(self._data):
            if text != value:
                other = meant.setdefault(text.lower(), value)
                if other != value:
                    reason = f"the synonym {text!r} stands for {other!r} and for {value!r}; the latter counts"
                    self.warnings.append(Fault(place.file, place.line, reason))
                meant[text.lower()] = value
            values.setdefault(value.lower(), value)
        return Synonyms(values | meant)

    def fallback(self, _path: Path, settings: Settings) -> Component:
        return Fallback(float(settings.get("threshold", 0.3)), float(settings.get("ambiguity_threshold", 0.1)))

    def featurizer(self, _path: Path, settings: Settings) -> None:
        """It is a part of the classifiers behind it."""
        self._featurizers.append(settings)

    def classifier(self, path: Path, settings: Settings) -> Component | None:
        if not self._data.examples:
            self._warn(path, "LogisticRegressionClassifier learns nothing: there are no NLU examples")
        if not self._data.examples or self.faults:
            return None  # what takes time waits until the configuration is right
        if settings.get("solver") == UNUSED_SOLVER:
            self._warn((*path, "solver"), f"the solver {UNUSED_SOLVER!r} is not used here; lbfgs takes its place")
        try:
            learned = learn(self._data.examples, self._featurizers, settings)
        except CannotLearn as error:
            self._fault(path, str(error))
            return None
        if not learned.converged:
            self._warn(path, "LogisticRegressionClassifier was not done when its iterations were; raise max_iter")
        return learned.classifier

    def _is_pattern(self, regex: Entry) -> bool:
        try:
            re.compile(regex.text)
        except re.error as error:
            reason = f"the regex {regex.name!r}: {regex.text!r} is not a valid regular expression: {error}"
            self.faults.append(Fault(regex.place.file, regex.place.line, reason))
            return False
        return True


def _unknown(name: Any) -> str:
    known = ", ".join(_COMPONENTS)
    if isinstance(name, str) and name in _STATISTICAL:
        instead = ": LogisticRegressionClassifier learns intents from examples" if name in _OTHER_CLASSIFIERS else ""
        return (
            f"{name} is not run here{instead}; components are {known}. For more, run the pipeline in an NLU server and "
            "name it under `nlu` in endpoints.yml"
        )
    return f"there is no component {name!r}; components are {known}"


def _unambiguous(examples: Iterable[Example]) -> list[Example]:
    """Each text once, without those that several intents have."""
    first: dict[str, Example] = {}
    several = set()
    for example in examples:
        text = example.text.text
        if first.setdefault(text, example).base_intent != example.base_intent:
            several.add(text)
    return [example for text, example in first.items() if text not in several]


def _contained(examples: Iterable[Example], case_sensitive: bool) -> dict[str, str]:
    """Texts that occur in one of another intent, with that one."""
    texts: dict[str, list[str]] = {}
    for example in examples:
        texts.setdefault(example.base_intent, []).append(example.text.text)
    folded = {intent: "\n".join(of_intent).casefold() for intent, of_intent in texts.items()}
    found = {}
    for example in examples:
        keyword = Keyword(example.text.text, case_sensitive)
        others = (
            text
            for intent, of_intent in texts.items()
            if intent != example.base_intent and keyword.may_occur_in(folded[intent])
            for text in of_intent
            if keyword.occurs_in(text, text.casefold())
        )
        other = next(others, None)
        if other is not None:
            found[example.text.text] = other
    return found


def _tables(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """The entries of each lookup table."""
    tables: dict[str, list[str]] = {}
    for entry in entries:
        tables.setdefault(entry.name, []).append(entry.text)
    return tables


def _synonyms(data: NluData) -> Iterator[tuple[str, str, Place]]:
    """Texts, what they stand for, and where that is said: in lists of synonyms, and where examples mark an entity."""
    for entry in data.synonyms:
        yield entry.text, entry.name, entry.place
    for example in data.examples:
        for entity in example.text.entities:
            yield example.text.text[entity.start : entity.end], str(entity.value), example.place


def _alternatives(entries: Iterable[str], bounded: bool) -> str:
    edge = r"\b" if bounded else ""
    return "(?:" + "|".join(f"{edge}{re.escape(entry)}{edge}" for entry in entries) + ")"


_COMPONENTS: Final[dict[str, tuple[dict[str, Shape], Callable[[_Trainer, Path, Settings], Component | None]]]] = {
    "WhitespaceTokenizer": ({}, _Trainer.whitespace),
    "KeywordIntentClassifier": ({"case_sensitive": FLAG}, _Trainer.keywords),
    "CountVectorsFeaturizer": (FEATURIZER_SETTINGS, _Trainer.featurizer),
    "LogisticRegressionClassifier": (CLASSIFIER_SETTINGS, _Trainer.classifier),
    "RegexEntityExtractor": (
        {"case_sensitive": FLAG, "use_lookup_tables": FLAG, "use_regexes": FLAG, "use_word_boundaries": FLAG},
        _Trainer.patterns,
    ),
    "EntitySynonymMapper": ({}, _Trainer.synonyms),
    "FallbackClassifier": ({"threshold": NUMBER, "ambiguity_threshold": NUMBER}, _Trainer.fallback),
}
