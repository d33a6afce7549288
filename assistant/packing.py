"""Writing of archives: the same members always make the same bytes, and there is never half a file."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LEVEL: Final = 6
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)  # of zip
_MODE: Final = 0o644


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write an archive, `.tar.gz` or by its name `.zip`; until it is whole, what was there before stays there.

    Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            (_write_zip if path.suffix == ".zip" else _write_tar)(file, members)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_tar(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with (
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), _MODE
            archive.addfile(member, io.BytesIO(data))


def _write_zip(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, _FIRST_DAY)
            member.external_attr = _MODE << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED, _LEVEL)
