"""Where models are trained on request: a few places, which all processes of a service share."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from api.errors import TooManyTrainings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACES: Final = 2  #: each takes a processor and some memory away from those who serve requests


class Trainings:
    """The trainings of a service, as one of its processes sees them. All that it does uses the disk.

    Who trains holds the lock of a file, which ends with the process, however that ends.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder that is the service's own, and there."""
        self._folder = folder

    def take(self) -> BinaryIO:
        """Take a place; to close the file is to leave it.

        Raises:
            TooManyTrainings: all are taken.
        """
        with self._alone():
            for file in self._files():
                if _is_free(file):
                    return file
                file.close()
        raise TooManyTrainings(PLACES)

    @property
    def count(self) -> int:
        """How many places are taken at this moment."""
        taken = 0
        with self._alone():
            for file in self._files():
                with file:
                    taken += not _is_free(file)
        return taken

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else looks meanwhile: who does holds the lock of a free place for a moment."""
        with (self._folder / "trainings").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _files(self) -> Iterator[BinaryIO]:
        for number in range(PLACES):
            yield (self._folder / f"training-{number}").open("wb")


def _is_free(file: BinaryIO) -> bool:
    """Whether nobody had locked the file; now it is locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
