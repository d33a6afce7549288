"""A class of your own that brings models, named by its dotted path as the documents of Rasa teach.

It is made without arguments. Its method `retrieve(model_name, target_path)` puts the model's archive into the folder
`target_path`. The base class that Rasa has for it is not needed, and not here.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from assistant.fetching.fetched import ModelUnavailable
from assistant.project import ARCHIVES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_PART_BYTES: Final = 2**20


def faults_of(path: str) -> list[str]:
    """What keeps the class from being used."""
    try:
        _class_of(path)
    except Exception as error:  # noqa: BLE001 - a module of somebody else's may fail in any way
        return [f"{path!r} is none of aws, gcs, azure, and can't be used as a class: {type(error).__name__}: {error}"]
    return []


def _class_of(path: str) -> Any:
    """The class, looked for in the working directory too, as Rasa does."""
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds texts
        sys.path.append(os.getcwd())  # noqa: PTH109
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not callable(getattr(found, "retrieve", None)):
        raise TypeError("it has no method `retrieve(model_name, target_path)`")
    return found


async def parts(path: str, name: str, folder: Path) -> AsyncGenerator[bytes]:
    """The archive that the class brings, piece by piece.

    Raises:
        ModelUnavailable: it brings none.
    """
    with (
        tempfile.TemporaryDirectory(dir=folder) as target,
        await asyncio.to_thread(_retrieve, path, name, Path(target)) as archive,
    ):
        while part := archive.read(_PART_BYTES):
            yield part


def _retrieve(path: str, name: str, target: Path) -> BinaryIO:
    try:
        _class_of(path)().retrieve(name, str(target))
    except Exception as error:
        raise ModelUnavailable(f"{path}: failed at {name!r}: {type(error).__name__}: {error}") from error
    found = [file for file in target.iterdir() if file.name.endswith(ARCHIVES)]
    if len(found) != 1:
        raise ModelUnavailable(f"{path}: should have put one archive of {name!r} into {target}, there are {len(found)}")
    return found[0].open("rb")
