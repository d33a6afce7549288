"""Archives that Rasa made: their domain is used, and nothing of what was learned."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from assistant.model import Model
from assistant.old_domain import renewed
from assistant.project import YAML, InvalidModel, content_id
from dialogue import InvalidDomain, InvalidJson, InvalidYaml, load_yaml, loads
from dialogue.domain_files import domain_of
from dialogue.source import Source, read_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dialogue import Domain

_METADATA: Final = "metadata.json"  # of Rasa 3
_NOTES: Final = (_METADATA, "fingerprint.json", "policy_metadata.json", "core/policy_metadata.json")
_VERSIONS: Final = ("rasa_open_source_version", "version", "rasa_core")


def is_of_use(name: str) -> bool:
    """Whether a member holds something that can be used here."""
    return name in _NOTES or _is_domain(name) or PurePosixPath(name).name == "config.yml"


def model_of_rasa(members: Mapping[str, bytes], file: str) -> Model:
    """Return the model of those members that are of use; it predicts nothing, and understands explicit intents.

    Raises:
        InvalidModel: there is no domain in it, or a member can't be read.
        InvalidDomain: the domain has faults.
    """
    texts = {name: _text(name, data) for name, data in members.items()}
    files = sorted((name, text) for name, text in texts.items() if _is_domain(name))
    if not files:
        raise InvalidModel("holds neither a model of `turnlog train` nor a domain.yml")
    notes: dict[str, Any] = {}
    for name in reversed(_NOTES):
        notes |= _json(name, texts.get(name))
    return Model(
        file=file,
        id=str(notes.get("model_id") or content_id(files)),
        domain=_domain(files),
        assistant_id=notes.get("assistant_id") or _assistant_id(texts),
        trained_by=" ".join(["Rasa", *(str(notes[key]) for key in _VERSIONS if key in notes)][:2]),
    )


def _domain(files: Sequence[tuple[str, str]]) -> Domain:
    sources, faults = read_sources(files)
    if faults:
        raise InvalidDomain(faults)
    return domain_of([Source(source.name, renewed(source.value), source.lines) for source in sources])[0]


def _is_domain(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix in YAML and (path.stem == "domain" or "domain" in path.parts[:-1])


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidModel(f"the member {name!r} can't be used: byte {error.start} is not UTF-8") from error


def _json(name: str, text: str | None) -> dict[str, Any]:
    try:
        value = loads(text.encode()) if text else {}
    except InvalidJson as error:
        raise InvalidModel(f"the member {name!r} can't be used: {error}") from error
    return value if isinstance(value, dict) else {}


def _assistant_id(texts: Mapping[str, str]) -> str | None:
    name = next((name for name in texts if PurePosixPath(name).name == "config.yml"), None)
    try:
        value = load_yaml(texts[name], name) if name else None
    except InvalidYaml as error:
        raise InvalidModel(str(error)) from error
    found = value.get("assistant_id") if isinstance(value, dict) else None
    return str(found) if found else None
