"""Models where they lie: a project's folder, a domain file, an archive, or a folder of archives."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from assistant.model import Model
from assistant.project import InvalidModel, is_project, read_project
from assistant.training import Trained, train
from dialogue import parse_domain
from dialogue.yaml12 import load

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVES: Final = (".tar.gz", ".tgz", ".zip")
MAX_MEMBER_BYTES: Final = 50_000_000
_YAML: Final = (".yml", ".yaml")


def load_model(path: Path, *, understands_elsewhere: bool = False) -> Trained:
    """Read a model: a project's folder, which is trained, a domain file, an archive, or a folder of archives.

    Of archives the newest counts. Nothing in one is ever executed or unpickled.

    Raises:
        InvalidModel: it can't be read.
        InvalidDomain, InvalidTraining: its files have faults; all are listed, with file and line.
    """
    if path.is_dir():
        return _from_folder(path, understands_elsewhere=understands_elsewhere)
    if path.name.endswith(ARCHIVES):
        return Trained(_from_archive(path))
    if path.suffix in _YAML:
        return Trained(_model(path.name, [(path.name, _read(path))], None, None))
    raise InvalidModel(
        f"{path}: is neither a project's folder, nor a domain file, nor an archive ({', '.join(ARCHIVES)})"
    )


def _from_folder(path: Path, *, understands_elsewhere: bool) -> Trained:
    if is_project(path):
        return train(read_project(path), understands_elsewhere=understands_elsewhere)
    archives = [file for file in path.iterdir() if file.name.endswith(ARCHIVES)]
    if not archives:
        raise InvalidModel(f"{path}: holds neither a project (domain.yml, data) nor an archive")
    return Trained(_from_archive(max(archives, key=lambda file: file.stat().st_mtime)))


def _from_archive(path: Path) -> Model:
    members = dict(_members(path))
    domain = {name: text for name, text in members.items() if _is_domain(PurePosixPath(name))}
    if not domain:
        raise InvalidModel(f"{path}: holds no domain.yml")
    config = next((text for name, text in members.items() if PurePosixPath(name).name == "config.yml"), None)
    metadata = next((text for name, text in members.items() if PurePosixPath(name).name == "metadata.json"), None)
    return _model(path.name, sorted(domain.items()), config, metadata)


def _is_domain(name: PurePosixPath) -> bool:
    return name.suffix in _YAML and (name.stem == "domain" or "domain" in name.parts[:-1])


def _members(path: Path) -> Iterator[tuple[str, str]]:
    """The YAML and JSON files of an archive. They are read where they lie: no name in it ever becomes a path."""
    try:
        for name, data in _zip(path) if path.suffix == ".zip" else _tar(path):
            yield name, data.decode()
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: can't be read as an archive: {error}") from error


def _tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isfile() and _is_wanted(member.name, member.size):
                yield member.name, (archive.extractfile(member) or io.BytesIO()).read()


def _zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and _is_wanted(member.filename, member.file_size):
                yield member.filename, archive.read(member)


def _is_wanted(name: str, size: int) -> bool:
    return name.endswith((*_YAML, "metadata.json")) and size <= MAX_MEMBER_BYTES


def _model(file: str, texts: list[tuple[str, str]], config: str | None, metadata: str | None) -> Model:
    known = _json(metadata)
    content = "\0".join([*(part for text in texts for part in text), config or ""])
    identity = known.get("model_id") or hashlib.sha256(content.encode()).hexdigest()[:32]
    assistant = known.get("assistant_id") or _assistant_id(config)
    return Model(file=file, id=str(identity), domain=parse_domain(texts), assistant_id=assistant)


def _json(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _assistant_id(config: str | None) -> str | None:
    value = load(config, "config.yml") if config else None
    name = value.get("assistant_id") if isinstance(value, dict) else None
    return str(name) if name else None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: can't be read: {error}") from error
