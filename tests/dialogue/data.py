"""Recorded facts about the real program: files in tests/data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


def recorded(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def recorded_text(name: str) -> str:
    return (DATA / name).read_text()
