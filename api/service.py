"""What serves requests with one model: its domain, the trackers that it folds, and the assistant that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from api.assembling import assemble
from api.errors import NoModel
from api.ledger import TrackerLedger
from assistant.reminding import Answering
from dialogue import Domain
from projections import Trackers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from api.process import Process
    from assistant import Assistant, Message, Output
    from assistant.model import Model

T = TypeVar("T")


class Service:
    """Serves with one model, or with none. A request takes it once, at its beginning, and keeps it to its end.

    All else is the process's.
    """

    def __init__(self, process: Process, model: Model | None, before: Service | None = None) -> None:
        """What `before` has in hand of conversations is used on where this model folds them in the same way."""
        domain = model.domain if model else Domain.empty()
        self.process = process
        self.model = model
        self.marks: Mapping[str, str] = model.marks if model else {}
        self.settings, self.authenticator = process.settings, process.authenticator
        self.store, self.hint = process.store, process.hint
        self.channels, self.reminders = process.channels, process.reminders
        self.trackers: Trackers
        self.ledger: TrackerLedger
        if before is not None and before.trackers.domain.fingerprint == domain.fingerprint:
            self.trackers, self.ledger = before.trackers, before.ledger
        else:
            self.trackers = Trackers(process.store, domain)
            self.ledger = TrackerLedger(self.trackers, process.hint.send)
        self._assistant = None if model is None else assemble(process, model, self.ledger)
        self._etag_suffix = f'-{domain.fingerprint[:16]}"'

    @property
    def is_stopping(self) -> bool:
        """Whether the process is about to end."""
        return self.process.is_stopping

    async def uninterrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, as Process.uninterrupted."""
        return await self.process.uninterrupted(work)

    async def answer(self, message: Message, output: Output) -> None:
        """Answer a message to its end.

        Raises:
            NoModel: there is nobody who could.
            EventStoreError: as Assistant.answer.
        """
        await self.uninterrupted(self.assistant().answer(message, output))

    def etag(self, version: int) -> str:
        """The entity tag of a conversation at a version, as this domain shows it."""
        return f'"{version}{self._etag_suffix}'

    def loaded_model(self) -> Model:
        """The model.

        Raises:
            NoModel: there is none.
        """
        if self.model is None:
            raise NoModel
        return self.model

    def assistant(self) -> Assistant:
        """Who answers.

        Raises:
            NoModel: there is no model to answer with.
        """
        if self._assistant is None:
            raise NoModel
        return self._assistant

    def predicting_assistant(self) -> Assistant:
        """Who says what comes next.

        Raises:
            NoModel: there is no model, or none of dialogues.
        """
        if not self.assistant().can_predict:
            raise NoModel(self.loaded_model().hindrance)
        return self.assistant()

    @property
    def answering(self) -> Answering | None:
        """Who answers reminders; None without a model."""
        return None if self._assistant is None else Answering(self._assistant, self.ledger)
