"""What a `file` broker can be told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from brokers.options import Options

DEFAULT_PATH: Final = "rasa_event.log"


class FileOptions(Struct, frozen=True):
    """The file that gets one JSON object a line; beside it stands a small file that says how far it is."""

    path: Path


def read(options: Options) -> FileOptions:
    """The options of a section; faults are noted there."""
    return FileOptions(Path(options.text("path", DEFAULT_PATH) or DEFAULT_PATH))
