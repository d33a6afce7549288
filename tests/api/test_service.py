"""What works behind the requests of a worker ends with it, and ends it by a fault."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from api.process import end_worker

if TYPE_CHECKING:
    import pytest


async def broken() -> None:
    raise RuntimeError("broken")


async def ended(task: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that the task's end has sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    task.add_done_callback(end_worker)
    await asyncio.wait([task])
    await asyncio.sleep(0)  # callbacks are called in the next round of the loop
    return sent


async def test_a_fault_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    task = asyncio.create_task(broken())
    assert await ended(task, monkeypatch) == [(os.getpid(), signal.SIGTERM)]


async def test_an_orderly_end_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task = asyncio.create_task(broken())
    task.cancel()
    assert await ended(task, monkeypatch) == []
