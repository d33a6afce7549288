"""A broker on another machine, as far as this one goes: it costs nothing here but the time until it confirms."""

from __future__ import annotations

import asyncio
from typing import Final

from brokers import Mark, Publisher, Source, Window

RATE: Final = 20_000  #: messages a second that it confirms, about what a RabbitMQ does


class Sink(Publisher):
    """Takes everything."""

    async def open(self, source: Source) -> Mark | None:
        """Nothing to do."""
        return None

    async def publish(self, window: Window) -> None:
        """Confirm in time."""
        await asyncio.sleep(len(window.messages) / RATE)

    async def close(self) -> None:
        """Nothing to do."""
