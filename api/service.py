"""What one worker process has: settings, model, the log and the projections over it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from api.auth import Authenticator
from api.errors import NoModel
from dialogue import Domain
from eventstore import EventStore
from eventstore.hints import HintSender
from projections import Trackers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.model import Model
    from api.settings import Settings
    from eventstore import Database


class Service:
    """Everything that the endpoints of one process share. Opened and closed on the loop that serves them."""

    def __init__(self, settings: Settings, database: Database, model: Model | None) -> None:
        domain = model.domain if model else Domain.empty()
        self.settings = settings
        self.model = model
        self.authenticator = Authenticator(settings.auth)
        self.store = EventStore(database)
        self.trackers = Trackers(self.store, domain)
        self.marks: Mapping[str, str] = model.marks if model else {}
        self._etag_suffix = f'-{domain.fingerprint[:16]}"'
        self.hint = HintSender(database)
        self.is_stopping = False  #: then connections are not kept for another request
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Begin to work; the database need not be there yet."""
        await self._open.enter_async_context(self.store)
        self._open.push_async_callback(self.trackers.close)
        hints = asyncio.get_running_loop().create_task(self.hint.run(), name="hints")
        self._open.callback(hints.cancel)

    async def stop(self) -> None:
        """Begin to stop: requests are served to their end, and are the last ones of their connections."""
        self.is_stopping = True

    async def close(self) -> None:
        """Finish what was handed in, and let go of the database."""
        await self._open.aclose()

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
