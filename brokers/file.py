"""Publishes to a file: one JSON object a line, each event once.

Beside the file stands `<file>.turnlog-checkpoint`, which says how long the file was when which position was reached. It
is written after the lines are flushed, so what the file holds beyond that length is a window that was not finished: it
is cut off at the next start, and written again. The file may be renamed and begun anew at any time between two starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from brokers.errors import BrokerUnavailable, PublishFailed, RelayStopped
from brokers.publisher import Mark, Publisher

if TYPE_CHECKING:
    from pathlib import Path

    from brokers.file_options import FileOptions
    from brokers.publisher import Source, Window

log = structlog.get_logger("turnlog.relay")

_BLOCK: Final = 65_536  # bytes that are searched at once for the end of a line


class _Checkpoint(Struct, frozen=True):
    """The content of the file beside the file."""

    log: UUID
    position: int
    chain: str
    epoch: int
    bytes: int


class FilePublisher(Publisher):
    """Appends to one file, which nobody else writes meanwhile."""

    keeps_mark = True

    def __init__(self, options: FileOptions) -> None:
        super().__init__({})
        self._path = options.path
        self._checkpoint_path = options.path.with_name(options.path.name + ".turnlog-checkpoint")
        self._file = -1

    async def open(self, source: Source) -> Mark | None:
        """Open the file, cut off what was not finished, and return how far it is; a replay only appends."""
        try:
            return await asyncio.to_thread(self._open, source)
        except OSError as error:
            raise BrokerUnavailable(f"{self._path}: {error.strerror}", setting="path") from error

    async def publish(self, window: Window) -> None:
        """Append, flush, and only then note how far the file is."""
        try:
            await asyncio.to_thread(self._append, window)
        except OSError as error:
            raise PublishFailed(f"{self._path}: {error.strerror}", setting="path") from error

    async def set_mark(self, source: Source, mark: Mark) -> None:
        """Say by hand where the relay goes on; what the file holds stays."""
        try:
            self._file = self._locked()
            self._note(mark)
        except OSError as error:
            raise BrokerUnavailable(f"{self._path}: {error.strerror}", setting="path") from error

    async def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, source: Source) -> Mark | None:
        self._file = self._locked()
        self._is_live = source.replay is None
        checkpoint = self._read_checkpoint() if self._is_live else None
        if self._is_live:
            self._cut(checkpoint.bytes if checkpoint else None)
        if checkpoint is None:
            return None
        return Mark(checkpoint.log, checkpoint.position, bytes.fromhex(checkpoint.chain), checkpoint.epoch)

    def _locked(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(opened)
            raise BrokerUnavailable(f"{self._path}: another process publishes to it", setting="path") from error
        return opened

    def _read_checkpoint(self) -> _Checkpoint | None:
        try:
            return msgspec.json.decode(self._checkpoint_path.read_bytes(), type=_Checkpoint)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise RelayStopped(f"{self._checkpoint_path}: not what this service wrote there: {error}") from error

    def _cut(self, finished: int | None) -> None:
        """Cut to the length that was noted, and where none was or the file is another one, to its last whole line."""
        size = os.fstat(self._file).st_size
        keep = self._end_of_lines(size) if finished is None or size < finished else finished
        if keep < size:
            os.ftruncate(self._file, keep)
            log.info("file cut: what was not finished is written again", path=str(self._path), bytes=size - keep)

    def _end_of_lines(self, size: int) -> int:
        end = size
        while end > 0:
            begin = max(0, end - _BLOCK)
            found = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
        return 0

    def _append(self, window: Window) -> None:
        lines = b"".join(message.body + b"\n" for message in window.messages)
        while lines:
            lines = lines[os.write(self._file, lines) :]
        os.fsync(self._file)
        if self._is_live:
            self._note(window.mark)

    def _note(self, mark: Mark) -> None:
        size = os.fstat(self._file).st_size
        content = _Checkpoint(mark.log, mark.position, mark.chain.hex(), mark.epoch, size)
        _replace(self._checkpoint_path, msgspec.json.encode(content))


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, whole and flushed."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
