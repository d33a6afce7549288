"""A whole project in one text: a YAML document of all its sections, or Rasa 1's JSON object of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from assistant.project import InvalidModel, Project
from assistant.training import Trained, train
from dialogue import InvalidYaml, load_yaml

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "body"  #: of the document, in front of the line of each fault
_LEARNED: Final = ("nlu", "rules", "stories")
_DATA: Final = (*_LEARNED, "responses")


def train_document(path: Path, *, understands_elsewhere: bool) -> Trained:
    """Return the model of the project that is in this file. Faults name the document, not the file.

    Raises:
        InvalidYaml: it is not YAML.
        InvalidModel: it is no project, or has nothing to learn from.
        InvalidTraining: it has faults; all are listed.
    """
    return train(project_in(path.read_bytes()), understands_elsewhere=understands_elsewhere)


def project_in(document: bytes) -> Project:
    """Return the project in a document.

    Raises:
        InvalidYaml: it is not YAML.
        InvalidModel: it is no project, or has nothing to learn from.
    """
    text = _text(document)
    value = load_yaml(text, NAME)
    if not isinstance(value, dict):
        raise InvalidModel(f"{NAME}:1: a project is a mapping of sections such as intents, responses, rules or nlu")
    if not any(value.get(section) for section in _LEARNED):
        raise InvalidModel(f"{NAME}:1: there is nothing to learn from: give one of the sections {', '.join(_LEARNED)}")
    if _holds_files(value):
        return _of_files(value)
    return Project(NAME, ((NAME, text),), ((NAME, text),), (NAME, text))


def _text(document: bytes) -> str:
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        raise InvalidYaml(NAME, line, f"the byte 0x{document[error.start]:02X} is not UTF-8") from None


def _holds_files(value: dict[str, Any]) -> bool:
    """Whether the values are the texts of files, as up to Rasa 2."""
    return any(isinstance(value.get(file), str) for file in ("config", "domain"))


def _of_files(value: dict[str, Any]) -> Project:
    files = {name: text for name, text in value.items() if isinstance(text, str)}
    data = tuple((name, files[name]) for name in _DATA if name in files)
    domain = ((name, files[name]) for name in ("domain",) if name in files)
    return Project(NAME, tuple(domain), data, ("config", files["config"]) if "config" in files else None)
