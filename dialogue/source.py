"""Files that people write for a bot: their YAML with the line of everything in it, and what is wrong in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dialogue.yaml12 import InvalidYaml, Path, load_with_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Findings = Iterator[tuple[Path, str]]


class Fault(Struct, frozen=True):
    """One thing that is wrong in a file; lines count from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Source(Struct, frozen=True):
    """One file: its name, its value, and on which line each path of the value stands."""

    name: str
    value: Any
    lines: dict[Path, int]

    def fault(self, path: Path, reason: str) -> Fault:
        """Return what is wrong at a path; it stands on the line of what is there, or else of what should hold it."""
        while path and path not in self.lines:
            path = path[:-1]
        return Fault(self.name, self.lines.get(path, 1), reason)


def read_sources(texts: Sequence[tuple[str, str]]) -> tuple[list[Source], list[Fault]]:
    """Return the files, (name, YAML text) each, that are YAML, and the faults of those that are not."""
    sources, faults = [], []
    for name, text in texts:
        try:
            sources.append(Source(name, *load_with_lines(text, name)))
        except InvalidYaml as error:
            faults.append(Fault(error.name, error.line, error.reason))
    return sources, faults
