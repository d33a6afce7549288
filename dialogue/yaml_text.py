"""YAML written for people, and read alike by YAML 1.1 and 1.2 parsers where they can agree."""

from __future__ import annotations

import re
from typing import Any

import yaml

_WIDTH = 4096


class Literal(str):
    """A text that is written as a literal block (`|-`) where YAML allows it."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Block style, no anchors; a string is quoted when YAML 1.2, or a parser that knows dates too, would misread it."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own declaration is not a ClassVar

    def ignore_aliases(self, data: Any) -> bool:
        return True


_MISREAD = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9][0-9_]*|[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?0x[0-9a-fA-F_]+",
    "float": r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?",
    "infinity": r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "timestamp": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t][-+:.0-9Zz \t]*)?",
    "merge": r"<<",
    "value": r"=",
}
for _name, _pattern in _MISREAD.items():
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), None)


# Line breaks to YAML 1.1 and not to 1.2: only an escape means the same to both.
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if isinstance(text, Literal) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), '"' if _ODD_BREAK.search(text) else style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Literal, _represent_text)

_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./-]*[A-Za-z0-9_])?\Z")
_MISREAD_WORDS = frozenset({"null", "true", "false"})


def block(value: Any) -> str:
    """Return a mapping's or list's YAML, keys in their order, with a newline at its end.

    Raises RecursionError for values that nest some hundred levels deep.
    """
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH)


def quick(step: dict[str, Any]) -> str | None:
    """Return what `block([step])` does, far faster, when all in the step is simple; else None."""
    lines = []
    for key, value in step.items():
        text = _quick_value(value)
        if text is None or _quick_scalar(key) is None:
            return None
        lines.append(f"{key}:{text}")
    return "- " + "\n  ".join(lines) + "\n"


def _quick_value(value: Any) -> str | None:
    if isinstance(value, Literal):
        return f" |-\n    {value}" if value.isprintable() and value.strip() == value != "" else None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and len(value[0]) == 1:
        item = quick(value[0])
        return f"\n  {item[:-1]}" if item and item.count("\n") == 1 else None
    text = _quick_scalar(value)
    return None if text is None else f" {text}"


def _quick_scalar(value: Any) -> str | None:
    if value is None:
        return "null"
    plain = isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _MISREAD_WORDS
    return value if plain else None
