"""The package's public face."""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path

import dialogue

PACKAGE = Path(dialogue.__file__).parent


def test_all_lists_what_is_exported() -> None:
    public = {
        name
        for name, value in vars(dialogue).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public - {"annotations"} == set(dialogue.__all__)


def test_it_imports_nothing_of_ours_and_does_no_io() -> None:
    foreign = {"api", "assistant", "brokers", "eventstore", "projections", "asyncio", "os", "pathlib", "socket"}
    for file in PACKAGE.glob("*.py"):
        tree = ast.parse(file.read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in imported} & foreign, file.name


def test_every_public_name_says_what_it_is() -> None:
    for name in dialogue.__all__:
        value = getattr(dialogue, name)
        if callable(value):
            assert value.__doc__, name
            assert sys.modules[value.__module__].__doc__, value.__module__
