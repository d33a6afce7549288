"""The package's public names."""

from __future__ import annotations

from types import ModuleType

import eventstore


def test_every_public_name_is_exported_and_nothing_else() -> None:
    names = {
        name
        for name, value in vars(eventstore).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert sorted(names) == sorted(eventstore.__all__)


def test_public_names_are_listed_once_and_in_order() -> None:
    assert eventstore.__all__ == sorted(set(eventstore.__all__))
