"""Models where they lie: a project's folder, a domain file, an archive, or a folder of archives."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.encoding import METADATA, OURS, Metadata, members_of, metadata_of, model_of
from assistant.model import Model
from assistant.packing import write_archive
from assistant.project import ARCHIVES, YAML, InvalidModel, content_id, is_project, read_project
from assistant.rasa_archive import is_of_use, model_of_rasa
from assistant.training import Trained, train
from assistant.unpacking import MAX_KEPT_BYTES, read_members
from dialogue import Fault, InvalidDomain, parse_domain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load_model(path: Path, *, understands_elsewhere: bool = False, name: str | None = None) -> Trained:
    """Read a model: a project's folder, which is trained, a domain file, an archive, or a folder of archives.

    Of archives the newest counts. Nothing in one is ever executed or unpickled. `name` is how an archive is called
    where it came from; its ending says what the file is, if the file's own does not.

    Raises:
        InvalidModel: it can't be read; the message names the file.
        InvalidDomain, InvalidTraining: a project's files have faults; all are listed, with file and line.
    """
    if path.is_dir():
        return _from_folder(path, understands_elsewhere=understands_elsewhere)
    kind = path.name if path.name.endswith(ARCHIVES) else name or path.name
    if kind.endswith(ARCHIVES):
        return _from_archive(path, kind, name)
    if path.suffix in YAML:
        return Trained(_from_domain(path))
    raise InvalidModel(
        f"{path}: is neither a project's folder, nor a domain file, nor an archive ({', '.join(ARCHIVES)})"
    )


def save_model(model: Model, path: Path) -> None:
    """Write a model's archive, `.tar.gz` or `.zip` by its path. What was there stays there until the new one is whole.

    The same model makes the same bytes, but for the time at which it was trained.

    Raises:
        InvalidModel: it is too large to be read again.
        OSError: it can't be written.
    """
    members = members_of(model)
    size = sum(map(len, members.values()))
    if size > MAX_KEPT_BYTES:
        raise InvalidModel(f"{path}: a model of {size} bytes is too large, {MAX_KEPT_BYTES} are the most")
    write_archive(path, members)


def newest_archive(folder: Path) -> Path | None:
    """The archive in a folder that was written last; None if there is none, or no folder."""
    if not folder.is_dir():
        return None
    archives = [file for file in folder.iterdir() if file.name.endswith(ARCHIVES) and file.is_file()]
    return max(archives, key=lambda file: (file.stat().st_mtime_ns, file.name), default=None)


def read_metadata(path: Path) -> Metadata | None:
    """What an archive says of itself; None if `save_model` did not write it.

    Raises:
        InvalidModel: it can't be read.
    """
    with _named(str(path)):
        members = read_members(path, path.name, METADATA.__eq__)
        return metadata_of(members) if METADATA in members else None


def _from_folder(path: Path, *, understands_elsewhere: bool) -> Trained:
    if is_project(path):
        return train(read_project(path), understands_elsewhere=understands_elsewhere)
    archive = newest_archive(path)
    if archive is None:
        raise InvalidModel(f"{path}: holds neither a project (domain.yml, data) nor an archive")
    return _from_archive(archive, archive.name, None)


def _from_archive(path: Path, kind: str, name: str | None) -> Trained:
    file = name or path.name
    with _named(name or str(path)):
        members = read_members(path, kind, lambda member: member in OURS or is_of_use(member))
        metadata = metadata_of(members) if METADATA in members else None
        model = model_of_rasa(members, file) if metadata is None else model_of(members, metadata, file)
    return Trained(model, (Fault(file, 1, model.hindrance),) if model.hindrance else ())


@contextmanager
def _named(archive: str) -> Iterator[None]:
    try:
        yield
    except InvalidDomain as error:
        raise InvalidModel("\n".join(f"{archive}/{fault}" for fault in error.faults)) from error
    except InvalidModel as error:
        raise InvalidModel(f"{archive}: {error}") from error


def _from_domain(path: Path) -> Model:
    try:
        files = [(path.name, path.read_text("utf-8"))]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: can't be read: {error}") from error
    return Model(file=path.name, id=content_id(files), domain=parse_domain(files))
