"""Exchanging the model of a running service: one that was fetched is loaded, and if it can be, all serve with it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from api import metrics
from api.training_apart import FAULTS, train_apart
from assistant.archive import load_model, newest_archive
from assistant.fetching import Fetched, ModelUnavailable
from assistant.project import ARCHIVES, YAML, InvalidModel, is_project

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from api.shelf import Shelf
    from assistant.model import Model

log = structlog.get_logger("turnlog.model")


@contextmanager
def arrivals(shelf: Shelf) -> Iterator[Path]:
    """A folder for what is fetched, gone when that has been installed or not: on the disk of the shelf."""
    with tempfile.TemporaryDirectory(dir=shelf.folder, prefix="arriving-") as folder:
        yield Path(folder)


async def install(shelf: Shelf, fetched: Fetched, *, origin: str) -> Model:
    """Load a fetched model to prove that it can be, and put it on the shelf, so that every process serves with it.

    `origin` says where it was fetched, without anything secret. Its file is moved.

    Raises:
        InvalidModel, InvalidDomain, InvalidTraining, InvalidYaml: it can't be used. What was on the shelf stays there,
            and the fault is noted on it.
    """
    async with noting_faults(shelf, origin):
        trained = await asyncio.to_thread(load_model, fetched.path, name=fetched.file)
    model = replace(trained.model, file=fetched.file)
    await asyncio.to_thread(shelf.put, fetched.path, model, origin=origin, etag=fetched.etag or None)
    metrics.count_model("installed")
    log.info("model installed", model=model.file, model_id=model.id, origin=origin)
    return model


@asynccontextmanager
async def noting_faults(shelf: Shelf, origin: str) -> AsyncIterator[None]:
    """Say and note why there is no new model, if that comes out meanwhile, and raise it further."""
    try:
        yield
    except (*FAULTS, ModelUnavailable) as error:
        for line in str(error).splitlines():
            log.error("the model can't be used", origin=origin, fault=line)
        metrics.count_model("refused")
        await asyncio.to_thread(shelf.note_fault, origin, str(error))
        raise


async def from_path(path: Path, folder: Path, *, understands_elsewhere: bool) -> Fetched:
    """The model at a path as a new archive in `folder`: a copy, or what a project or a domain file was trained to.

    Raises:
        InvalidModel: there is none, or the files of a project have faults.
        TrainingBroken: the training ended without a result.
    """
    if is_project(path) or path.suffix in YAML:
        archive = folder / "trained.tar.gz"
        trained = await train_apart(partial(load_model, path, understands_elsewhere=understands_elsewhere), archive)
        for warning in trained.warnings:
            log.warning("odd training data", path=str(path), warning=warning)
        return Fetched(archive, trained.file, "")
    copy = await asyncio.to_thread(_copied, path, folder)
    return Fetched(copy, copy.name, "")


def _copied(path: Path, folder: Path) -> Path:
    """An archive at a path, or the newest one of a folder, copied: the original may change before all have read it."""
    found = newest_archive(path) if path.is_dir() else path
    if found is None or not found.name.endswith(ARCHIVES):
        raise InvalidModel(f"{path}: is neither a project, nor a domain file, nor an archive ({', '.join(ARCHIVES)})")
    try:
        return shutil.copyfile(found, folder / found.name)
    except OSError as error:
        raise InvalidModel(f"{found}: can't be read: {error.strerror}") from error
