"""YAML 1.2 (core schema) read with PyYAML's C parser.

PyYAML resolves scalars by YAML 1.1, where `yes` is true and `010` is 8. Domain and endpoints files are YAML 1.2: `yes`
is a string, `010` is ten, `None` is the string "None", a date stays text, and a key that comes twice is a fault.
The one thing kept from 1.1 is the merge key `<<`, since bots' files use it with anchors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    Expand = Callable[[str, bool], str]

Path = tuple[str | int, ...]

MAX_DEPTH = 100
MAX_VALUES = 1_000_000

_TAG = "tag:yaml.org,2002:"
_INT, _FLOAT, _BOOL, _NULL, _MERGE = (_TAG + name for name in ("int", "float", "bool", "null", "merge"))
_BASES = {"0o": 8, "0x": 16}


class InvalidYaml(ValueError):
    """A text is not the YAML that it should be.

    `name` says where the text came from (a file's name), `line` counts from 1, `reason` is one sentence.
    """

    def __init__(self, name: str, line: int, reason: str) -> None:
        super().__init__(f"{name}:{line}: {reason}")
        self.name = name
        self.line = line
        self.reason = reason


class _Loader(yaml.CSafeLoader):
    """Composes nodes; scalars are resolved by the core schema's patterns, never by those of YAML 1.1."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own declaration is not a ClassVar


_PATTERNS = (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        _FLOAT,
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    (_MERGE, r"<<", ["<"]),
)
for _tag, _pattern, _first in _PATTERNS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def load(text: str, name: str, expand: Expand | None = None) -> Any:
    """Return the value of the one YAML document in `text`; None when it is empty.

    `name` says in errors where the text came from. `expand` is called with (text, is plain) for every scalar that is a
    string, keys included, and returns what it shall be instead: still a string, whatever it then looks like.

    Raises InvalidYaml for a text that is not YAML, holds several documents, a tag outside the core schema or a key
    twice, nests deeper than MAX_DEPTH, or grows beyond MAX_VALUES values by its aliases.
    """
    return load_with_lines(text, name, expand)[0]


def load_with_lines(text: str, name: str, expand: Expand | None = None) -> tuple[Any, dict[Path, int]]:
    """Return what `load` does, and for the path of every value the line on which its key, or else the value, begins."""
    builder = _Builder(name, expand)
    node = _compose(text, name)
    return (None if node is None else builder.value(node, ())), builder.lines


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        _refuse_depth(text, name)
        loader = _Loader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise InvalidYaml(name, _line(error.problem_mark, text), _sentence(error)) from None
    except yaml.reader.ReaderError as error:
        raise _bad_character(text, name, error.position) from None
    except UnicodeEncodeError as error:
        raise _bad_character(text, name, error.start) from None
    return node


def _refuse_depth(text: str, name: str) -> None:
    """Walk the parser's flat events first: composing nodes recurses in C, and a deep text would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise InvalidYaml(name, _line(event.start_mark, text), f"nested deeper than {MAX_DEPTH} levels")


def _bad_character(text: str, name: str, index: int) -> InvalidYaml:
    line = text.count("\n", 0, index) + 1
    return InvalidYaml(name, line, f"the character U+{ord(text[index]):04X} is not allowed")


def _line(mark: Any, text: str) -> int:
    """The line of a mark; what is missing at the end is missed on the last line, not behind it."""
    return min(mark.line + 1, len(text.splitlines())) if mark else 1


def _sentence(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.problem, error.context) if part) or "not YAML"


class _Builder:
    """Turns nodes into values; knows how deep it is, how much it has built, and on which line each value stands."""

    def __init__(self, name: str, expand: Expand | None) -> None:
        self.name = name
        self.expand = expand
        self.lines: dict[Path, int] = {}
        self.values = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._count(node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._expect_tag(node, "seq")
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _count(self, node: yaml.Node, path: Path) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES} values: aliases repeat too much")
        if len(path) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels, or an alias that contains itself")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[Any, Any]:
        self._expect_tag(node, "map")
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = self._merged(value_node, path) | merged
                continue
            key = self._key(key_node)
            if key in own:
                raise self._error(key_node, f"the key {key!r} comes twice")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, key))
        return merged | own if merged else own

    def _merged(self, node: yaml.Node, path: Path) -> dict[Any, Any]:
        """The mappings that a `<<` names; an earlier one wins over a later one."""
        result: dict[Any, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, "only a mapping can be merged with '<<'")
            result = self.value(source, (*path, "<<")) | result
        return result

    def _key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "a key must be a scalar")
        return self._scalar(node)

    def _scalar(self, node: Any) -> Any:
        text = node.value
        if node.tag == _TAG + "str":
            return text if self.expand is None else self.expand(text, not node.style)
        convert = _SCALARS.get(node.tag)
        if convert is None:
            raise self._error(node, f"the tag {node.tag!r} is not of the YAML 1.2 core schema")
        try:
            return convert(text)
        except (ValueError, KeyError):
            raise self._error(node, f"{text[:100]!r} is no {node.tag.removeprefix(_TAG)}") from None

    def _expect_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != _TAG + kind:
            raise self._error(node, f"the tag {node.tag!r} is not of the YAML 1.2 core schema")

    def _error(self, node: yaml.Node, reason: str) -> InvalidYaml:
        return InvalidYaml(self.name, node.start_mark.line + 1, reason)


def _int(text: str) -> int:
    return int(text[2:], _BASES[text[:2]]) if text[:2] in _BASES else int(text)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if text[-1:].isalpha() else float(text)


_SCALARS: dict[str, Callable[[str], Any]] = {
    _NULL: lambda text: None,
    _BOOL: lambda text: {"true": True, "false": False}[text.lower()],
    _INT: _int,
    _FLOAT: lambda text: _float(text.lower()),
    _MERGE: lambda text: text,
}
