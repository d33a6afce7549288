"""What the tests of projections share: a runner at work, waiting for it, and events."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from eventstore import Append, NewEvent
from projections.runner import ProjectionRunner
from projections.slots import statuses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from eventstore import EventStore
    from projections.slots import Projection, Status


@contextlib.asynccontextmanager
async def kept(store: EventStore, projection: Projection) -> AsyncIterator[ProjectionRunner]:
    """A runner at work. Should it fail, the test fails with it."""
    runner = ProjectionRunner(store, projection)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runner.run())
        try:
            yield runner
        finally:
            task.cancel()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; the test's own time limit ends a wait in vain."""
    while not await condition():  # noqa: ASYNC110  what is waited for happens in the database
        await asyncio.sleep(0.01)


async def active(store: EventStore, name: str) -> Status | None:
    """The status of the table that readers of a projection have."""
    return next(
        (status for status in await statuses(store.read) if (status.name, status.state) == (name, "active")), None
    )


async def caught_up(store: EventStore, name: str) -> None:
    """Wait until readers of a projection see everything that is in the log."""

    async def is_there() -> bool:
        status = await active(store, name)
        return status is not None and status.position == await store.read.last_position()

    await until(is_there)


async def append(store: EventStore, conversation: str, *types: str) -> int:
    """Append events without content; returns the version reached."""
    events = tuple(NewEvent(type_, 1.0, f'{{"event":"{type_}"}}') for type_ in types)
    return (await store.append(Append(conversation=conversation, events=events))).version
