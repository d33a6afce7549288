"""Messages as lines: one JSON object each, on a stream that stays its owner's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from brokers.errors import PublishFailed
from brokers.publisher import Mark, Publisher

if TYPE_CHECKING:
    from io import RawIOBase

    from brokers.publisher import Source, Window


class LinePublisher(Publisher):
    """Writes each message's body as a line, without a buffer, which would hold what was counted as written."""

    def __init__(self, stream: RawIOBase) -> None:
        super().__init__({})
        self._stream = stream

    async def open(self, source: Source) -> Mark | None:
        """Nothing to do."""
        return None

    async def publish(self, window: Window) -> None:
        """Write all lines."""
        try:
            await asyncio.to_thread(self._write, b"".join(message.body + b"\n" for message in window.messages))
        except OSError as error:  # a full disk, or a reader that went away
            raise PublishFailed(str(error)) from error

    async def close(self) -> None:
        """Nothing to do."""

    def _write(self, lines: bytes) -> None:
        while lines:
            lines = lines[self._stream.write(lines) or 0 :]
