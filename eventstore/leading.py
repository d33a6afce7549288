"""Work that only one process may do at a time, for as long as it holds the lease."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from eventstore.errors import LeaseLost, StoreUnavailable
from eventstore.leases import RENEW_EVERY, SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from eventstore.leases import Lease, Leases


class Holding:
    """A lease that is being renewed."""

    def __init__(self, lease: Lease, since: float) -> None:
        self.lease = lease
        self._until = since + SECONDS

    def check(self) -> None:
        """Raise LeaseLost if the lease may have run out, as in a process that was stopped and goes on.

        This asks no database: the time of the last renewal was noted before it was sent.
        """
        if time.monotonic() >= self._until:
            raise LeaseLost(self.lease.name, self.lease.epoch)

    async def keep(self, leases: Leases) -> None:
        """Renew until cancelled; LeaseLost when it was too late."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            now = time.monotonic()
            await leases.renew(self.lease)
            self._until = now + SECONDS


async def lead(leases: Leases, name: str, work: Callable[[Holding], Awaitable[None]]) -> bool:
    """Take a lease and work under it; False, and no work, when somebody else holds it.

    The work is cancelled when the lease is lost. The lease is given back in the end.

    Raises:
        ExceptionGroup: of LeaseLost, of StoreUnavailable, or of what the work raised.
    """
    now = time.monotonic()
    lease = await leases.acquire(name)
    if lease is None:
        return False
    holding = Holding(lease, now)
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(holding.keep(leases))
            await work(holding)
            keeping.cancel()
    finally:
        with contextlib.suppress(StoreUnavailable, TimeoutError):  # else it runs out by itself
            async with asyncio.timeout(RENEW_EVERY):
                await leases.release(lease)
    return True


def is_cancelled() -> bool:
    """Whether the running task was told to end.

    A group of tasks tells of another error instead of the cancellation when both come together.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
