"""What values in a file look like, and in which words they are found to be something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dialogue.source import Findings
    from dialogue.yaml12 import Path


class Shape(Struct, frozen=True):
    """A kind of value and what people call it."""

    name: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


ANY: Final = Shape("anything", lambda value: True)
TEXT: Final = Shape("text", lambda value: isinstance(value, str))
FLAG: Final = Shape("true or false", lambda value: isinstance(value, bool))
NUMBER: Final = Shape("a number", _is_number)
LIST: Final = Shape("a list", lambda value: isinstance(value, list))
MAPPING: Final = Shape("a mapping", lambda value: isinstance(value, dict))
NAMES: Final = Shape("a name or a list of names", lambda value: isinstance(value, str) or _are_texts(value))


def kind(value: Any) -> str:
    """Return in short what a value is."""
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)[:100]


def check_keys(
    path: Path, value: dict[str, Any], shapes: Mapping[str, Shape], what: str, *, closed: bool = True
) -> Findings:
    """Find values of the wrong shape, and unknown keys where the mapping is closed; null is as good as not there."""
    for key, item in value.items():
        shape = shapes.get(key)
        if shape is None and closed:
            yield (*path, key), f"{what} has the unknown key {key!r}; keys are {', '.join(shapes)}"
        elif shape is not None and item is not None and not shape.fits(item):
            yield (*path, key), f"{what}: {key} must be {shape.name}, not {kind(item)}"


def check_mappings(path: Path, items: list[Any], shapes: Mapping[str, Shape], what: str, *, closed: bool) -> Findings:
    """Find what is wrong in a list of mappings, each of which is called `what`."""
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield from check_keys((*path, index), item, shapes, what, closed=closed)
        else:
            yield (*path, index), f"{what} must be a mapping, not {kind(item)}"


def name_of(item: Any) -> str | None:
    """Return the name in an item of a list: `greet`, or `greet: {settings}`; None where there is none."""
    if isinstance(item, dict) and len(item) == 1:
        item = next(iter(item))
    return item if isinstance(item, str) else None


def settings_of(item: Any) -> dict[str, Any]:
    """Return the settings in an item of a list; none for a mere name."""
    return next(iter(item.values())) or {} if isinstance(item, dict) else {}
