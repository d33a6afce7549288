"""A bot's project as its people write it: a folder with a domain, stories, rules, NLU data and a configuration."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

YAML: Final = (".yml", ".yaml")
ARCHIVES: Final = (".tar.gz", ".tgz", ".zip")
_TRAINING: Final = (*YAML, ".md")
_OLD_TRAINING_DATA: Final = re.compile(r"^## *(?:intent|synonym|regex|lookup):|^## .+\n+\* *\w", re.MULTILINE)


class InvalidModel(ValueError):
    """There is no model at the path, or it can't be read; the message says which file and why."""


class Project(Struct, frozen=True):
    """The files of a project as (name, text), names as seen from its folder, in the order in which they count."""

    name: str
    domain: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    config: tuple[str, str] | None


def read_project(
    folder: Path, *, domain: Path | None = None, data: Sequence[Path] = (), config: Path | None = None
) -> Project:
    """Read a project: `domain.yml` or the folder `domain`, the folder `data`, and `config.yml`.

    `domain`, `data` (files or folders) and `config`, where they are given, take the place of those.

    Raises:
        InvalidModel: a file can't be read, or one that was given is not there.
    """
    config = config or next(_existing(folder, "config"), None)
    domains = _domain_files(folder) if domain is None else _given(domain, YAML)
    training = [file for path in data or [folder / "data"] for file in _given(path, _TRAINING, needed=bool(data))]
    return Project(
        folder.resolve().name,
        tuple(_text(folder, path) for path in domains),
        tuple(file for path in dict.fromkeys(training) if _is_training_data(file := _text(folder, path))),
        None if config is None else _text(folder, config),
    )


def is_project(folder: Path) -> bool:
    """Whether a folder holds a project rather than, say, archives."""
    return bool(_domain_files(folder)) or (folder / "data").is_dir()


def content_id(files: Iterable[tuple[str, str] | None]) -> str:
    """32 hex digits over the names and texts of files."""
    return hashlib.sha256(repr([*files]).encode()).hexdigest()[:32]


def _is_training_data(file: tuple[str, str]) -> bool:
    """Markdown may be of an old version, which is then told how to convert it, or for people to read."""
    name, text = file
    return not name.endswith(".md") or _OLD_TRAINING_DATA.search(text) is not None


def _domain_files(folder: Path) -> list[Path]:
    return [*_existing(folder, "domain"), *_files(folder / "domain", YAML)]


def _existing(folder: Path, stem: str) -> Iterator[Path]:
    return (folder / (stem + suffix) for suffix in YAML if (folder / (stem + suffix)).is_file())


def _given(path: Path, suffixes: tuple[str, ...], *, needed: bool = True) -> list[Path]:
    """The file, or the files of the folder, that somebody has named."""
    if path.is_dir():
        return _files(path, suffixes)
    return [path] if needed else []


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """All files below a folder, links followed; sorted, as Rasa reads them."""
    found, seen = [], set()
    for path, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:
            folders.clear()  # a link that leads back up
            continue
        seen.add(real)
        found += [Path(path, file) for file in files if file.endswith(suffixes) and not file.startswith(".")]
    return sorted(found)


def _text(folder: Path, path: Path) -> tuple[str, str]:
    try:
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        return str(name), path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: can't be read: {error}") from error
