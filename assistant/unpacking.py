"""Archives of anybody: `.tar.gz` and `.zip`, read in memory, with limits. No name in one ever becomes a path."""

from __future__ import annotations

import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import closing
from typing import IO, TYPE_CHECKING, Final

from assistant.project import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

MAX_MEMBERS: Final = 4096
MAX_KEPT_BYTES: Final = 256 * 2**20  #: of the members that are read into memory, together
MAX_BYTES: Final = 2 * 2**30  #: of what an archive unpacks to
MAX_RATIO: Final = 500  #: of bytes unpacked and packed, as far as was read; only bombs are packed better
UNSUSPICIOUS_BYTES: Final = 32 * 2**20  #: the first bytes may be packed as well as they like
_CHUNK: Final = 64 * 1024
_MAX_HEADER_BYTES: Final = 64 * 1024
_MAX_DIRECTORY_BYTES: Final = 2 * 2**20
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000


def read_members(path: Path, kind: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return those members of an archive whose names are wanted; `kind` is the file name that says what it is.

    All names are looked at, also of members that nobody wants. How much is unpacked is counted, whatever headers say.

    Raises:
        InvalidModel: it can't be read, or it is made to do harm; the message names the member, and not the archive.
    """
    read, what = (_zip, "a zip file") if kind.endswith(".zip") else (_tar, "a .tar.gz file")
    try:
        with closing(read(path, wanted)) as members:
            return dict(_wanted(members))
    except InvalidModel:
        raise
    except _UNREADABLE as error:
        raise InvalidModel(f"can't be read as {what}: {error or type(error).__name__}") from error


# What the libraries raise for bytes that are no archive, or only half of one.
_UNREADABLE: Final = (
    OSError,
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RecursionError,
)
_Member = tuple[str, "bytes | None"]
"""A member's name, and what it holds if that is wanted."""


def _wanted(members: Iterator[_Member]) -> Iterator[tuple[str, bytes]]:
    names: set[str] = set()
    for name, data in members:
        if name in names:
            raise InvalidModel(f"the member {name!r} is there twice")
        names.add(name)
        if len(names) > MAX_MEMBERS:
            raise InvalidModel(f"holds more than {MAX_MEMBERS} members; {name!r} is the first one too many")
        if data is not None:
            yield name, data


def _checked(name: str) -> str:
    """The name of a member within its archive, without a `./` before it; refuses those that lead out of it."""
    shown = repr(name)[:200]
    if _CONTROL.search(name):
        raise InvalidModel(f"the member {shown} has a name with characters that are not allowed")
    if name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in name.split("/"):
        raise InvalidModel(f"the member {shown} leads out of the archive")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Budget:
    """How much of an archive may be unpacked, and how much of that may be kept."""

    def __init__(self) -> None:
        self._spent = 0
        self._kept = 0
        self.member = ""  #: at which the reader is

    def spend(self, count: int, packed: int) -> None:
        """`count` more bytes were unpacked; `packed` were read in all."""
        self._spent += count
        most = min(MAX_BYTES, UNSUSPICIOUS_BYTES + MAX_RATIO * packed)
        if self._spent > most:
            raise InvalidModel(f"the member {self.member!r} makes it unpack to more than {most} bytes, as bombs do")

    def keep(self, size: int) -> None:
        """A member that says to have this size will be kept."""
        self._kept += size
        if self._kept > MAX_KEPT_BYTES:
            raise InvalidModel(f"the member {self.member!r} is too large: {MAX_KEPT_BYTES} bytes are read in all")


# --- .tar.gz ----------------------------------------------------------------------------------------------------------


class _Unzipped(io.RawIOBase):
    """The bytes of a gzip stream, forward only and counted. No more than a header is read at once."""

    def __init__(self, packed: IO[bytes], budget: _Budget) -> None:
        self._packed, self._stream = packed, gzip.GzipFile(fileobj=packed)
        self._budget, self._position = budget, 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise InvalidModel(f"has a header of {size} bytes behind the member {self._budget.member!r}")
        data = self._stream.read(size)
        self._budget.spend(len(data), self._packed.tell())
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or position < self._position:
            raise InvalidModel(f"has a wrong size at the member {self._budget.member!r}")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def content(self, size: int) -> bytes:
        """The next bytes, which are a member that is kept."""
        self._budget.keep(size)
        parts = bytearray()
        while len(parts) < size:
            data = self.read(min(_CHUNK, size - len(parts)))
            if not data:
                raise InvalidModel(f"ends within the member {self._budget.member!r}")
            parts += data
        return bytes(parts)

    def finish(self) -> None:
        """Read to the end, where the checksum is."""
        while self.read(_CHUNK):
            pass


def _tar(path: Path, wanted: Callable[[str], bool]) -> Generator[_Member]:
    budget = _Budget()
    with path.open("rb") as packed:
        stream = _Unzipped(packed, budget)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                budget.member = name = _checked(member.name)
                _refuse_special(member)
                if member.isfile() and wanted(name):
                    stream.seek(member.offset_data)
                    yield name, stream.content(member.size)
                elif name:
                    yield name, None
        stream.finish()


def _refuse_special(member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        raise InvalidModel(f"the member {member.name!r} is a link, to {member.linkname!r}")
    if member.issparse() or not (member.isfile() or member.isdir()):
        raise InvalidModel(f"the member {member.name!r} is neither a file nor a folder")
    if member.size < 0:
        raise InvalidModel(f"the member {member.name!r} has the size {member.size}")


# --- .zip -------------------------------------------------------------------------------------------------------------


class _Guarded(io.FileIO):
    """A zip file, of whose directory no more is read than a sound archive needs."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(_MAX_DIRECTORY_BYTES + 1 if size is None or size < 0 else size)
        if len(data) > _MAX_DIRECTORY_BYTES:
            raise InvalidModel(f"has a directory of more than {_MAX_DIRECTORY_BYTES} bytes")
        return data


def _zip(path: Path, wanted: Callable[[str], bool]) -> Generator[_Member]:
    budget = _Budget()
    with _Guarded(path) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            budget.member = name = _checked(member.orig_filename)
            _refuse_odd(member)
            if not member.is_dir() and wanted(name):
                yield name, _content(archive, member, budget)
            elif name:
                yield name, None


def _refuse_odd(member: zipfile.ZipInfo) -> None:
    name, form = member.filename, stat.S_IFMT(member.external_attr >> 16)
    if form not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidModel(f"the member {name!r} is a {'link' if form == stat.S_IFLNK else 'device'}")
    if member.flag_bits & _ENCRYPTED:
        raise InvalidModel(f"the member {name!r} is encrypted")
    if member.compress_type not in _PACKINGS:
        raise InvalidModel(f"the member {name!r} is not packed by deflate, as zip files usually are")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget) -> bytes:
    parts = bytearray()
    budget.keep(member.file_size)
    budget.spend(member.file_size, member.compress_size)  # the library gives no more than that, in small portions
    with archive.open(member) as unpacked:
        while data := unpacked.read(_CHUNK):
            parts += data
    return bytes(parts)
