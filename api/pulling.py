"""Models from elsewhere: fetched in the background, put on the shelf if they can be used, and waited for if not.

A model server is asked again and again. A storage is asked until one model has come, as is a server that is to be asked
once: a service without a model is of no use.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from msgspec import Struct

from api.endpoints import ModelServer
from api.exchanging import arrivals, install
from api.training_apart import FAULTS
from assistant.fetching import ModelUnavailable, from_server, from_storage
from assistant.http import Client

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator
    from pathlib import Path

    from api.settings import Settings
    from api.shelf import Shelf
    from assistant.fetching import Fetched

log = structlog.get_logger("turnlog.model")

FIRST_PAUSE: Final = 1.0  #: seconds until a source is tried again that could not be had; doubled each time
LONGEST_PAUSE: Final = 60.0


class Source(Protocol):
    """Where models come from. Two that are equal are the same."""

    @property
    def origin(self) -> str:
        """It as it may be shown."""

    @property
    def seconds(self) -> float | None:
        """The time between two fetches; None when one is enough."""

    async def fetch(self, client: Client, known: str | None, folder: Path) -> Fetched | None:
        """The model, as a new file in `folder`; None if it is the known one. Raises ModelUnavailable."""


class FromServer(Struct, frozen=True):
    """A model server."""

    server: ModelServer

    @property
    def origin(self) -> str:
        return self.server.public_url or "model_server"

    @property
    def seconds(self) -> float | None:
        return self.server.pull_seconds

    async def fetch(self, client: Client, known: str | None, folder: Path) -> Fetched | None:
        return await from_server(client, self.server, known, folder)


class FromStorage(Struct, frozen=True):
    """A storage in a cloud, and the name that the model has there."""

    storage: str
    name: str
    seconds: None = None

    @property
    def origin(self) -> str:
        return f"{self.storage}: {self.name}"

    async def fetch(self, _client: Client, _known: str | None, folder: Path) -> Fetched | None:
        return await from_storage(self.storage, self.name, folder, os.environ)


async def pull(settings: Settings, shelf: Shelf) -> None:
    """Fetch models from where the settings say, or a request asked for, until cancelled."""
    async with Client() as client:
        with _listening(shelf) as rung:
            while True:
                source = _source(settings, shelf)
                works = [_another(source, settings, shelf, rung)]
                if source is not None:
                    works.append(_Pulling(source, shelf, client).run())
                await _until_one_ends(works)


def _source(settings: Settings, shelf: Shelf) -> Source | None:
    """Where models come from now: one place, or none. A storage is left alone once the shelf was used."""
    server = settings.endpoints.models or shelf.followed
    if server is not None:
        return FromServer(server)
    if settings.remote_storage is not None and shelf.generation == 0:
        return FromStorage(settings.remote_storage, str(settings.model))
    return None


async def _another(source: Source | None, settings: Settings, shelf: Shelf, rung: asyncio.Event) -> None:
    """Return when models are to come from another place than this."""
    while _source(settings, shelf) == source:
        await rung.wait()
        rung.clear()


@contextmanager
def _listening(shelf: Shelf) -> Iterator[asyncio.Event]:
    """An event that is set whenever the shelf's bell rings."""
    loop, rung, bell = asyncio.get_running_loop(), asyncio.Event(), shelf.bell()

    def hear() -> None:
        os.read(bell, 4096)
        rung.set()

    loop.add_reader(bell, hear)
    try:
        yield rung
    finally:
        loop.remove_reader(bell)
        os.close(bell)


async def _until_one_ends(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once, until one has come to its end or failed; raises what that one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Pulling:
    """Fetches from one source. What can't be had is said once, not at each try."""

    def __init__(self, source: Source, shelf: Shelf, client: Client) -> None:
        self._source, self._shelf, self._client = source, shelf, client
        self._known: str | None = None  # what came last, whether it could be used or not
        self._seen = -1  # the generation of the shelf that `_known` takes into account
        self._away: str | None = None  # why nothing could be had at the last try
        self._broken: str | None = None  # why what came last can't be used

    async def run(self) -> None:
        """Fetch as often as the source wants, without end."""
        seconds, pause = self._source.seconds, FIRST_PAUSE
        while not await self._comes():
            await asyncio.sleep(min(pause, seconds or LONGEST_PAUSE))  # nobody tells when it can be had
            pause = min(2 * pause, LONGEST_PAUSE)
        while seconds is not None:
            await asyncio.sleep(seconds)  # nobody tells when there is something new
            await self._comes()
        await asyncio.Event().wait()  # there is nothing more to do here

    async def _comes(self) -> bool:
        """Fetch once; whether the source could be had, with something new or not."""
        try:
            with arrivals(self._shelf) as folder:
                fetched = await self._source.fetch(self._client, self._newest_known(), folder)
                if fetched is not None:
                    await self._install(fetched)
        except ModelUnavailable as error:
            self._note_away(str(error))
        except OSError as error:
            self._note_away(f"{self._shelf.folder}: there is no place for a model: {error.strerror}")
        else:
            self._note_back()
            return True
        return False

    def _newest_known(self) -> str | None:
        """What to say that we have: a request may have fetched from here meanwhile."""
        if self._shelf.generation != self._seen:
            current = self._shelf.current
            self._seen = current.generation
            if current.origin == self._source.origin and current.etag is not None:
                self._known = current.etag
        return self._known

    async def _install(self, fetched: Fetched) -> None:
        """Put a model on the shelf; one that can't be used is not fetched again."""
        origin = self._source.origin
        try:
            await install(self._shelf, fetched, origin=origin)
        except FAULTS as error:
            self._broken = str(error)
        except OSError:
            raise  # the model may be a good one
        except Exception as error:
            # A fault of ours, that this model brings to light. What else this process does must not end with it.
            log.exception("the model can't be used", origin=origin)
            self._broken = f"{type(error).__name__}; the service's log has it"
            self._shelf.note_fault(origin, self._broken)
        else:
            self._broken = None
            self._shelf.forget_fault()
        self._known = fetched.etag

    def _note_away(self, reason: str) -> None:
        if reason != self._away:
            log.warning("no model can be fetched", origin=self._source.origin, fault=reason)
            self._shelf.note_fault(self._source.origin, reason)
        self._away = reason

    def _note_back(self) -> None:
        if self._away is None:
            return
        log.info("models can be fetched again", origin=self._source.origin)
        self._away = None
        if self._broken is None:
            self._shelf.forget_fault()
        else:
            self._shelf.note_fault(self._source.origin, self._broken)
