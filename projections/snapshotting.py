"""Snapshots of trackers, written behind the answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from dialogue import Tracker
from dialogue.json import dumps, loads_slowly
from eventstore import StoreUnavailable

if TYPE_CHECKING:
    from eventstore import EventStore, Snapshot

log = structlog.get_logger("turnlog.trackers")


class SnapshotWriter:
    """Writes snapshots behind the answers. While the database is away they are dropped: they only save time."""

    def __init__(self, store: EventStore, fold: str) -> None:
        self._store, self._fold = store, fold
        self._waiting: dict[str, Tracker] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, conversation: str, tracker: Tracker) -> None:
        """Write a snapshot soon; of several of one conversation that wait, the last."""
        self._waiting[conversation] = tracker
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write(), name="snapshots")

    async def close(self) -> None:
        """Stop; what waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                states = [(c, t.version, state_of(t)) for c, t in waiting.items()]
                await self._store.snapshots.keep(self._fold, states)
        except StoreUnavailable as error:
            log.info("snapshots dropped", count=len(states), reason=error.reason)
        finally:
            self._task = None


def state_of(tracker: Tracker) -> str:
    """A tracker as the text of a snapshot."""
    return dumps(msgspec.to_builtins(tracker))


def tracker_of(snapshot: Snapshot) -> Tracker:
    """The state itself. It may nest deeper than what clients can send, for it holds such values inside of others."""
    return msgspec.convert(loads_slowly(snapshot.state.encode()), Tracker)
