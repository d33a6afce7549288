"""From a project to a model: everything is read and checked, and then learned."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from assistant.model import DialogueModel, Model
from assistant.nlu.oddities import oddities
from assistant.nlu.pipeline import NluModel
from assistant.nlu.training import train_nlu
from assistant.nlu.training_data import Example, NluData, read_nlu
from assistant.project import content_id
from dialogue import Domain, Fault, InvalidDomain
from dialogue.domain_files import domain_of
from dialogue.policies import training as policies
from dialogue.policies.configuration import InvalidPolicies, parse_policies
from dialogue.shapes import kind
from dialogue.source import Source, read_sources
from dialogue.training.annotations import AnnotatedText
from dialogue.training.files import InvalidTraining, read_files
from dialogue.training.stories import Stories, UserStep, read_stories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from assistant.project import Project
    from dialogue.policies.configuration import PolicyConfig


READING, UNDERSTANDING, PREDICTING = "reading the files", "learning to understand", "learning to predict"
STEPS: Final = (READING, UNDERSTANDING, PREDICTING)  #: of training, in their order


class Parts(StrEnum):
    """Which parts of a model are trained; the domain always is."""

    BOTH = "both"
    CORE = "core"  #: what predicts
    NLU = "nlu"  #: what understands


class Trained(Struct, frozen=True):
    """A model, and what is odd about the files that it was made of."""

    model: Model
    warnings: tuple[Fault, ...] = ()


def train(
    project: Project,
    *,
    understands_elsewhere: bool = False,
    parts: Parts = Parts.BOTH,
    progress: Callable[[str], None] | None = None,
) -> Trained:
    """Return the model of a project.

    With `understands_elsewhere` an NLU server will read the messages: the project's pipeline is not looked at.
    `progress` is called with each of STEPS when it begins.

    Raises:
        InvalidTraining: with every fault in the project's files.
    """
    wanted = frozenset({Parts.CORE, Parts.NLU} if parts is Parts.BOTH else {parts})
    if understands_elsewhere:
        wanted -= {Parts.NLU}
    training = _Training(project, wanted, model_id(project, parts), progress or (lambda _step: None))
    model = training.model()
    if model is None:
        raise InvalidTraining(training.faults)
    return Trained(model, tuple(training.warnings))


def model_id(project: Project, parts: Parts = Parts.BOTH) -> str:
    """The id of a project's model: 32 hex digits over all that it is made of."""
    files = [*project.domain, *project.data, project.config]
    return content_id(files if parts is Parts.BOTH else [*files, ("", parts.value)])


class _Training:
    """Gathers faults and warnings of one project; a step whose input is faulty is left out."""

    def __init__(
        self, project: Project, parts: frozenset[Parts], model_id: str, progress: Callable[[str], None]
    ) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._project, self._parts, self._id = project, parts, model_id
        self._begin = progress

    def model(self) -> Model | None:
        """The model; None when there are faults."""
        self._begin(READING)
        config, files = self._config(), read_files(self._project.data)
        self._note(files.faults, files.warnings)
        domain_files = self._domain_files()
        domain = self._domain([*domain_files, *_responses(files.sources)])
        stories = self._stories(files.sources)
        nlu = self._nlu(files.sources, stories)
        if domain is not None:
            self.warnings += oddities(nlu, domain, domain_files)
        self._begin(UNDERSTANDING)
        learned = self._learned(config, nlu) if Parts.NLU in self._parts else NluModel()
        predicts = Parts.CORE in self._parts and any(map(_has_stories, files.sources))
        configs = self._policies(config) if predicts else ()
        self._begin(PREDICTING)
        if self.faults or domain is None:
            return None
        dialogue = None
        if predicts and stories.stories:
            trained = policies.train(domain, stories, configs)
            self.warnings += trained.warnings
            domain, dialogue = trained.domain, DialogueModel(configs, trained.tables)
        return Model(
            file=self._project.name,
            id=self._id,
            domain=domain,
            assistant_id=_assistant_id(config),
            dialogue=dialogue,
            nlu=learned,
        )

    def _domain_files(self) -> list[Source]:
        sources, faults = read_sources(self._project.domain)
        self.faults += faults
        return sources

    def _domain(self, sources: Sequence[Source]) -> Domain | None:
        try:
            domain, warnings = domain_of(sources)
        except InvalidDomain as error:
            self.faults += error.faults
            return None
        self.warnings += warnings
        return domain

    def _nlu(self, sources: Sequence[Source], stories: Stories) -> NluData:
        files = read_nlu(sources, tuple(_spoken(stories)))
        self._note(files.faults, files.warnings)
        return files.data

    def _learned(self, config: Source | None, nlu: NluData) -> NluModel:
        trained = train_nlu(config, nlu)
        self._note(trained.faults, trained.warnings)
        return trained.model

    def _config(self) -> Source | None:
        if self._project.config is None:
            return None
        sources, faults = read_sources([self._project.config])
        self.faults += faults
        if not sources or sources[0].value is None:
            return None
        if isinstance(sources[0].value, dict):
            return sources[0]
        self.faults.append(sources[0].fault((), f"a configuration is a mapping, not {kind(sources[0].value)}"))
        return None

    def _stories(self, sources: Sequence[Source]) -> Stories:
        try:
            stories = read_stories(sources)
        except InvalidTraining as error:
            self.faults += error.faults
            return Stories(())
        return stories

    def _policies(self, config: Source | None) -> tuple[PolicyConfig, ...]:
        try:
            return parse_policies({} if config is None else config.value)
        except InvalidPolicies as error:
            if config is None:
                self.faults.append(Fault("config.yml", 1, f"is missing: {error}"))
            else:
                self.faults += [config.fault(path, reason) for path, reason in error.faults]
            return ()

    def _note(self, faults: Sequence[Fault], warnings: Sequence[Fault]) -> None:
        self.faults += faults
        self.warnings += warnings


def _spoken(stories: Stories) -> Iterator[Example]:
    """What users say word for word in stories, where its intent is given as well."""
    for story in stories.stories:
        for step in story.steps:
            if isinstance(step, UserStep) and step.intent and step.text:
                yield Example(step.intent, AnnotatedText(step.text), step.place)


def _has_stories(file: Source) -> bool:
    return bool(file.value.get("stories") or file.value.get("rules"))


def _responses(files: Sequence[Source]) -> Iterator[Source]:
    """The responses that stand beside NLU data, as those to retrieval intents do: they are a part of the domain."""
    for file in files:
        if "responses" in file.value:
            yield Source(file.name, {"responses": file.value["responses"]}, file.lines)


def _assistant_id(config: Source | None) -> str | None:
    name = config.value.get("assistant_id") if config else None
    return str(name) if name else None
