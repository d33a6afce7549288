"""The shelf: where all processes of a service find the model that they serve with.

It is a folder that the service has while it runs. Whoever has a new model loads it first, puts its archive here, and
then raises the generation: a number in memory that all processes share, and that each compares with its own whenever a
request begins. So every request that begins later meets the new model, in whatever process, and nobody has to be told.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import Struct

from api.endpoints import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assistant.model import Model

T = TypeVar("T")

SUFFIXES: Final = (".tar.gz", ".tgz", ".zip")
KEPT: Final = 2  #: generations whose archives stay: a process may be about to load the one before the last
_GENERATION, _LOCK, _CURRENT, _FAULT = "generation", "lock", "current.json", "fault.json"
_FOLLOWED, _BELL = "followed.json", "bell"
_BYTES: Final = 8


class Shelved(Struct, frozen=True, kw_only=True):
    """What the shelf holds.

    Attributes:
        generation: counts every change; 0 is what the processes were given at their start.
        archive: its file in the shelf's folder; None when there is no model, and in generation 0.
        file, id: of the model; None when there is none.
        origin: the path or the address that it came from.
        since: when it was put here, in Unix seconds.
        etag: that its server gave it.
    """

    generation: int
    archive: str | None = None
    file: str | None = None
    id: str | None = None
    origin: str
    since: float
    etag: str | None = None


class ModelFault(Struct, frozen=True):
    """Why a model could not be had or used, where it should have come from, and when that was, in Unix seconds."""

    origin: str
    reason: str
    time: float


class Shelf:
    """The shelf of a service, as one of its processes sees it. Its methods, but for `generation`, use the disk."""

    def __init__(self, folder: Path) -> None:
        """Open the shelf that `create` made in the folder."""
        self.folder = folder
        with (folder / _GENERATION).open("r+b") as file:
            self._generation = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")

    @classmethod
    def create(cls, folder: Path, given: Model | None, origin: str) -> Shelf:
        """Make the shelf of a service that starts with a model, or with none, in an empty folder of its own."""
        (folder / _GENERATION).write_bytes(bytes(_BYTES))
        (folder / _LOCK).touch()
        os.mkfifo(folder / _BELL, 0o600)
        shelf = cls(folder)
        shelf._write(_CURRENT, _shelved(0, None, given, origin, None))
        return shelf

    @property
    def generation(self) -> int:
        """The number of changes so far."""
        return self._generation[0]

    @property
    def current(self) -> Shelved:
        """What is on the shelf; it may be newer than `generation` said a moment ago."""
        shelved = self._read(_CURRENT, Shelved)
        assert shelved is not None  # it is there from the beginning
        return shelved

    def put(self, archive: Path, model: Model, *, origin: str, etag: str | None = None) -> int:
        """Take the archive of a model that was loaded from it, and give the new generation. The file is moved."""
        with self._alone() as generation:
            suffix = next(suffix for suffix in SUFFIXES if archive.name.endswith(suffix))
            kept = self.folder / f"{generation}{suffix}"
            shutil.move(archive, kept)
            self._change(_shelved(generation, kept.name, model, origin, etag))
        return generation

    def clear(self, origin: str) -> int:
        """Take the model away, so that there is none; gives the new generation."""
        with self._alone() as generation:
            self._change(_shelved(generation, None, None, origin, None))
        return generation

    # --- what went wrong ---

    def note_fault(self, origin: str, reason: str) -> None:
        """Remember the last fault. `reason` holds nothing secret."""
        self._write(_FAULT, ModelFault(origin, reason, time.time()))

    def forget_fault(self) -> None:
        """The last fault is over."""
        (self.folder / _FAULT).unlink(missing_ok=True)

    @property
    def fault(self) -> ModelFault | None:
        """The last fault, as long as nobody forgot it."""
        return self._read(_FAULT, ModelFault)

    # --- the model server that somebody asked to follow ---

    def follow(self, server: ModelServer | None) -> None:
        """Have models pulled from a server from now on, or from none of those that were asked for before."""
        if server is None:
            (self.folder / _FOLLOWED).unlink(missing_ok=True)
        else:
            self._write(_FOLLOWED, server)
        try:
            bell = os.open(self.folder / _BELL, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # nobody listens now: who starts to will look
        with contextlib.suppress(BlockingIOError):  # it was rung often, and nobody has listened yet
            os.write(bell, b".")
        os.close(bell)

    @property
    def followed(self) -> ModelServer | None:
        """The model server to pull from; None when nobody asked for one."""
        return self._read(_FOLLOWED, ModelServer)

    def bell(self) -> int:
        """A file descriptor that is readable when `followed` may have changed since it was opened; the caller's."""
        return os.open(self.folder / _BELL, os.O_RDWR | os.O_NONBLOCK)

    # --- files ---

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """Nobody else changes the shelf meanwhile; gives the number of the next generation."""
        with (self.folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.generation + 1

    def _change(self, shelved: Shelved) -> None:
        self._write(_CURRENT, shelved)
        self._generation[0] = shelved.generation
        for archive in self.folder.glob("[0-9]*.*"):
            if int(archive.name.partition(".")[0]) <= shelved.generation - KEPT:
                archive.unlink()

    def _write(self, name: str, value: Any) -> None:
        """Write a file that others read at any moment: what they see is whole."""
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as new:
            new.write(msgspec.json.encode(value))
        Path(new.name).replace(self.folder / name)

    def _read(self, name: str, type_: type[T]) -> T | None:
        try:
            text = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(text, type=type_)


def _shelved(generation: int, archive: str | None, model: Model | None, origin: str, etag: str | None) -> Shelved:
    return Shelved(
        generation=generation,
        archive=archive,
        file=model.file if model else None,
        id=model.id if model else None,
        origin=origin,
        since=time.time(),
        etag=etag,
    )
