"""Messages as lines: one JSON object each, on a stream that stays its owner's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, BinaryIO

from brokers.errors import PublishFailed
from brokers.publisher import Mark, Publisher

if TYPE_CHECKING:
    from brokers.publisher import Source, Window


class LinePublisher(Publisher):
    """Writes each message's body as a line, and flushes each window."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__({})
        self._stream = stream

    async def open(self, source: Source) -> Mark | None:
        """Nothing to do."""
        return None

    async def publish(self, window: Window) -> None:
        """Write and flush."""
        try:
            await asyncio.to_thread(self._write, b"".join(message.body + b"\n" for message in window.messages))
        except OSError as error:  # a full disk, or a reader that went away
            raise PublishFailed(str(error)) from error

    async def close(self) -> None:
        """Nothing to do."""

    def _write(self, lines: bytes) -> None:
        self._stream.write(lines)
        self._stream.flush()
