"""A pipeline that has learned: one component after the other looks at a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from assistant.nlu.classifier import LogisticRegression
from assistant.nlu.components import NO_INTENT, Component, Whitespace
from assistant.nlu.explicit import explicit

if TYPE_CHECKING:
    from dialogue import Domain

Json = dict[str, Any]


class NluModel(Struct, frozen=True):
    """The components of a pipeline with what they have learned. Without any, only explicit intents are understood."""

    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        words_seen = False
        for component in self.components:
            words_seen = words_seen or isinstance(component, Whitespace)
            if isinstance(component, LogisticRegression) and not words_seen:
                raise ValueError("a LogisticRegressionClassifier has no tokenizer before it")


class Pipeline:
    """Understands messages by a model, and those that name their intent themselves."""

    def __init__(self, model: NluModel, domain: Domain) -> None:
        self._model, self._domain = model, domain

    async def parse(self, text: str, conversation: str) -> Json:
        """The parse data of a text. No I/O."""
        text = text.strip()
        return explicit(text, self._domain) or self._understood(text)

    def _understood(self, text: str) -> Json:
        parsed: Json = {"text": text, "intent": NO_INTENT, "entities": []}
        for component in self._model.components:
            parsed = component.add_to(parsed)
        return parsed
