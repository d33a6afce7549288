"""What works behind the log: read models, relays and housekeeping, side by side in the background process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from api.relaying import Follower, notify, relays_to
from eventstore import EventStore, StoreUnavailable
from eventstore.hints import HintListener
from eventstore.maintenance import maintain
from projections import Status, statuses
from projections.conversations import ConversationIndex
from projections.runner import ProjectionRunner, ProjectionStopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.endpoints import EventBroker
    from api.settings import Settings
    from eventstore import Database

__all__ = ["ProjectionStopped", "keep", "projections"]

log = structlog.get_logger("turnlog.background")

MAINTAIN_EVERY: Final = 60.0  #: seconds


async def keep(database: Database, brokers: Sequence[EventBroker]) -> None:
    """Keep every projection, relay and the log's own housekeeping until cancelled.

    The end of one is a fault, and ends all.
    """
    async with EventStore(database) as store, asyncio.TaskGroup() as tasks:
        runner = ProjectionRunner(store, ConversationIndex())
        followers: list[Follower] = [runner, *relays_to(store, brokers)]
        for follower in followers:
            tasks.create_task(follower.run())
        tasks.create_task(HintListener(database, lambda: notify(followers)).run(), name="hints")
        tasks.create_task(_maintain(store), name="maintenance")


async def _maintain(store: EventStore) -> None:
    while True:
        try:
            done = await maintain(store.read)
        except StoreUnavailable as error:
            log.warning("maintenance waits for the database", reason=error.reason)
        else:
            log.debug("maintained", partitions=done.partitions, keys=done.keys)
        await asyncio.sleep(MAINTAIN_EVERY)


def projections(settings: Settings, *, rebuild: bool, retry: bool) -> list[Status]:
    """How far the projections are, after building them anew or trying them again if that is wanted.

    Raises:
        ProjectionStopped: an event could not be applied.
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    with open_database(settings) as database:
        return asyncio.run(_projections(database, rebuild=rebuild, retry=retry))


async def _projections(database: Database, *, rebuild: bool, retry: bool) -> list[Status]:
    async with EventStore(database) as store:
        runner = ProjectionRunner(store, ConversationIndex())
        if retry:
            await runner.retry()
        if rebuild:
            await _rebuild(runner)
        return await statuses(store.read)


async def _rebuild(runner: ProjectionRunner) -> None:
    """Works beside a running service, which then does the work, and without one."""
    work = asyncio.create_task(runner.run())
    try:
        await runner.rebuild()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
