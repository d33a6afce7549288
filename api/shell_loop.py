"""An event loop in a thread of its own: it goes on while the main thread waits for what somebody types.

The main thread is the one that has to wait: only there Ctrl-C interrupts the line that is being typed.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


class Loop:
    """The loop runs inside of the `with` block; what is left of its tasks then is cancelled."""

    def __enter__(self) -> Self:
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(target=lambda: asyncio.run(_until_stopped(begun)), name="shell", daemon=True)
        self._thread.start()
        self._loop, self._stopped = begun.result()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Do work on the loop, and give its result. What interrupts the waiting does not end the work.

        Raises:
            TimeoutError: the time is over.
        """
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    @contextmanager
    def opened(self, resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Something that is opened and closed on the loop."""
        value = self.run(resource.__aenter__())
        try:
            yield value
        finally:
            self.run(resource.__aexit__(None, None, None))


async def _until_stopped(begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stopped = asyncio.Event()
    begun.set_result((asyncio.get_running_loop(), stopped))
    await stopped.wait()
