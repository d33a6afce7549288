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


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), "|" if isinstance(text, Literal) else None)


_Dumper.add_representer(Literal, _represent_text)

_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./-]*[A-Za-z0-9_])?\Z")
_MISREAD_WORDS = frozenset({"null", "true", "false"})


def block(value: Any) -> str:
    """Return a mapping's or list's YAML, keys in their order, with a newline at its end.

    Raises RecursionError for values that nest some hundred levels deep.
    """
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH)


def is_plain(text: str) -> bool:
    """Tell, far faster than by writing it, whether a text surely is its own YAML; some others are, too."""
    return _PLAIN.match(text) is not None and text.lower() not in _MISREAD_WORDS
