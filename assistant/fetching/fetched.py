"""An archive that came from elsewhere, as a file."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from assistant.project import ARCHIVES

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

MAX_BYTES: Final = 1_000_000_000  #: of an archive; who sends without end would fill the disk
_NAME_BYTES: Final = 200
_ZIP: Final = b"PK\x03\x04"


class Fetched(Struct, frozen=True):
    """An archive that was fetched.

    Attributes:
        path: where it lies, with the suffix that fits its content. It is the caller's, who deletes it.
        file: what its source calls it; a name to show, without folders.
        etag: what tells the source which one we have.
    """

    path: Path
    file: str
    etag: str


class ModelUnavailable(Exception):
    """There is no model to be had where it should come from. The message says why, without anything secret."""


def too_large(source: str, most: int) -> ModelUnavailable:
    """What `source` sends is not worth to be waited for."""
    return ModelUnavailable(f"{source}: the model is larger than {most:,} bytes")


class Written(Struct, frozen=True):
    """A file that was written whole; `etag` follows from its content."""

    path: Path
    etag: str

    def shown_as(self, given: str | None) -> str:
        """The name to show, after the one that the source gives: that may be anything, and leads to no folder.

        Its ending is that of the file, as what it is.
        """
        name = re.split(r"[/\\]", given or "")[-1].strip()
        stem = name.removesuffix(next(filter(name.endswith, ARCHIVES), ""))
        if not stem.strip(".") or not stem.isprintable() or len(stem.encode()) > _NAME_BYTES:
            stem = "model"
        return stem + "".join(self.path.suffixes)


async def write(parts: AsyncIterable[bytes], folder: Path, source: str, most: int = MAX_BYTES) -> Written:
    """Write what comes into a new file of the folder; `source` names in messages where it comes from.

    If that does not come to its end, nothing is left.

    Raises:
        ModelUnavailable: it has more than `most` bytes, or can't be written.
        Exception: whatever `parts` raises.
    """
    try:
        with _Growing(folder) as file:
            async for part in parts:
                if file.size + len(part) > most:
                    raise too_large(source, most)
                await asyncio.to_thread(file.add, part)
            return await asyncio.to_thread(file.finish)
    except OSError as error:
        raise ModelUnavailable(f"{source}: the model can't be kept in {folder}: {error.strerror}") from error


class _Growing:
    """A file while it is written. It is deleted if that fails."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix="fetched-", delete=False)  # noqa: SIM115
        self._digest = hashlib.sha256()
        self._head = b""
        self.size = 0

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_error: object) -> None:
        self._file.close()
        if failure is not None:
            Path(self._file.name).unlink(missing_ok=True)

    def add(self, part: bytes) -> None:
        """Write the next part."""
        self._file.write(part)
        self._digest.update(part)
        self._head = self._head or part[: len(_ZIP)]
        self.size += len(part)

    def finish(self) -> Written:
        """Close the file, and give it the suffix of what it is."""
        self._file.close()
        path = Path(self._file.name)
        suffix = ".zip" if self._head == _ZIP else ".tar.gz"
        return Written(path.rename(path.with_name(path.name + suffix)), f'"sha256-{self._digest.hexdigest()}"')
