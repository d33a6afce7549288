"""The model that a service runs: a bot's domain, what its policies and its NLU have learned, and its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from assistant.nlu.pipeline import NluModel
from dialogue import Domain
from dialogue.policies.configuration import PolicyConfig
from dialogue.policies.learning import RuleTable, StoryTable

if TYPE_CHECKING:
    from collections.abc import Mapping


class DialogueModel(Struct, frozen=True):
    """The policies of a bot, in the order of its configuration, and what each has learned."""

    configs: tuple[PolicyConfig, ...]
    tables: tuple[RuleTable | StoryTable, ...]


class Model(Struct, frozen=True, kw_only=True):
    """A loaded model.

    Attributes:
        file: base name of the archive or folder.
        id: 32 hex digits, the same for the same content.
        assistant_id: the bot's name in its configuration.
        dialogue: None for a bot without stories and rules: nothing can be predicted.
        trained_by: the other program, with its version, that made the archive: only its domain is used. None for ours.
        marks: what each event that is appended with this model carries in its metadata.
    """

    file: str
    id: str
    domain: Domain
    assistant_id: str | None = None
    dialogue: DialogueModel | None = None
    nlu: NluModel = NluModel()
    trained_by: str | None = None

    @property
    def hindrance(self) -> str | None:
        """Why nothing can be predicted with a model of another program."""
        if self.trained_by is None:
            return None
        return (
            f"{self.trained_by} made this archive: its domain is used, but what was learned can't be read here, "
            "so nothing is predicted; make an archive of the project with `turnlog train`"
        )

    @property
    def marks(self) -> Mapping[str, str]:
        """`model_id`, and `assistant_id` where the model has one."""
        return {"model_id": self.id} | ({"assistant_id": self.assistant_id} if self.assistant_id else {})
