"""Files of training data: which of them can be read, whatever of it they hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from dialogue.domain_checks import NEWEST_VERSION, version_numbers
from dialogue.source import Fault, Source, read_sources

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})*")
_HEADING: Final = re.compile(r"\s*##[ ]")
_KEY: Final = re.compile(r"""^["'\w]+\s*:(?:\s|$)""", re.MULTILINE)
_EXAMPLES: Final = re.compile(r"^##[ ]*(?:intent|synonym|regex|lookup):", re.MULTILINE)

_NO_MAPPING: Final = "a file of training data is a mapping of sections such as stories, rules or nlu"


class InvalidTraining(ValueError):
    """Nothing can be learned from a bot's files; the message lists each fault with its file and line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class Files(Struct, frozen=True):
    """The training files that can be read, and what is to be said of all."""

    sources: tuple[Source, ...]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def read_files(texts: Sequence[tuple[str, str]]) -> Files:
    """Return the files, (name, text) each, that are YAML of a version that is understood; empty ones are left out.

    So is a file of a newer version, with a warning, as Rasa does it. Markdown of old versions is a fault.
    """
    old = [_outdated(name, text) for name, text in texts if _is_markdown(name, text)]
    sources, faults = read_sources([(name, text) for name, text in texts if not _is_markdown(name, text)])
    kept, skipped = [], []
    for source in sources:
        reason = _fault(source)
        if reason:
            faults.append(reason)
        elif source.value is not None and _is_newer(source):
            skipped.append(_skipped(source))
        elif source.value is not None:
            kept.append(source)
    return Files(tuple(kept), (*old, *faults), tuple(skipped))


def _is_markdown(name: str, text: str) -> bool:
    # YAML may begin with such a line too: it is a comment, and keys follow.
    return name.endswith(".md") or (bool(_HEADING.match(text)) and not _KEY.search(text))


def _outdated(name: str, text: str) -> Fault:
    kind = "nlu" if _EXAMPLES.search(text) else "core"
    command = f"rasa data convert {kind} --format yaml --data {name} --out converted"
    return Fault(name, 1, f"this is Markdown, the format of Rasa 1; convert it to YAML with Rasa 2: '{command}'")


def _fault(source: Source) -> Fault | None:
    if source.value is None:
        return None
    if not isinstance(source.value, dict):
        return source.fault((), _NO_MAPPING)
    version = source.value.get("version")
    if version is None or (isinstance(version, str) and _VERSION.fullmatch(version)):
        return None
    return source.fault(("version",), f'version must be text such as "3.1", in quotes, not {version!r}')


def _is_newer(source: Source) -> bool:
    return version_numbers(source.value.get("version") or "0") > NEWEST_VERSION


def _skipped(source: Source) -> Fault:
    newest = ".".join(map(str, NEWEST_VERSION))
    version = source.value["version"]
    reason = f"the file is skipped: its version {version} is newer than {newest}, the newest that is known"
    return source.fault(("version",), reason)
