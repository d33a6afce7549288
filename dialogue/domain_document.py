"""The domain as its files say it: several merged into one document, and how that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.shapes import name_of
from dialogue.yaml_text import Literal, block

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_VERSION: Final = "3.1"
_SESSION: Final = {"session_expiration_time": 60, "carry_over_slots_to_new_session": True}


def merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one document: lists are joined without what is there already, of two equal names the first file's wins.

    Of the session's settings the last that are not the usual ones win.
    """
    result: dict[str, Any] = {}
    for document in documents:
        for section, value in document.items():
            result[section] = _joined(section, result.get(section), value)
    return result


def _joined(section: str, first: Any, second: Any) -> Any:
    if section == "session_config":
        return first if second is None or (first and second == _SESSION) else second
    if isinstance(first, list) and isinstance(second, list):
        names = {name_of(item) for item in first}
        return first + [item for item in second if name_of(item) not in names]
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: value for name, value in second.items() if name not in first}
    return first if second is None else second


def shown(written: dict[str, Any]) -> dict[str, Any]:
    """Return the document as it is shown: the version first, intents sorted, the session's settings always there."""
    document = {"version": FORMAT_VERSION, **written}
    document["version"] = document["version"] or FORMAT_VERSION
    if isinstance(document.get("intents"), list):
        document["intents"] = sorted(document["intents"], key=lambda item: name_of(item) or "")
    document["session_config"] = document.pop("session_config", None) or dict(_SESSION)
    if written.get("session_config"):
        return {section: document[section] for section in ("version", *written)}
    return document


def as_yaml(document: dict[str, Any]) -> str:
    """Return the document as YAML, the responses' texts of several lines as blocks, as their authors write them."""
    responses = {
        name: [_with_literal(variation) for variation in variations]
        for name, variations in (document.get("responses") or {}).items()
    }
    return block({**document, "responses": responses} if responses else document)


def _with_literal(variation: dict[str, Any]) -> dict[str, Any]:
    text = variation.get("text")
    return {**variation, "text": Literal(text)} if isinstance(text, str) and "\n" in text else variation
