"""Files of sections: YAML that is read by Rasa's rules, but stricter, and with all faults at once.

`${NAME}` in a value or key becomes the environment variable's text, also in quotes, and the result is always a string.
A text that holds a `${...}` has its `$NAME` replaced as well; one that holds only `$NAME` is left alone. A variable
that is not set is a fault: Rasa starts with the literal `${NAME}` instead, and fails later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from assistant.endpoint import BasicAuth, Endpoint
from assistant.secret import Secret
from dialogue.yaml12 import load_with_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str | int, ...]  #: keys and indexes that lead to a value of a document

_BRACED: Final = re.compile(r"\$\{[^}]*\}")
_VARIABLE: Final = re.compile(r"\$(?:(?P<plain>[A-Za-z0-9_]+)|\{(?P<braced>[^}]*)\})")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Document:
    """One file, whose faults name it as `file`. Faults are gathered in `faults`, each with its place.

    Raises:
        InvalidYaml: the text is not YAML.
    """

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self.environ = environ
        self._file = file
        self._values, self._lines = load_with_lines(text, file)

    def sections(self) -> dict[Any, Any]:
        """The sections by name, with variables put in; empty when the file says nothing."""
        if self._values is None:
            return {}
        if isinstance(self._values, dict):
            return self._mapping(self._values, ())
        self.fault((), "must be a mapping of sections")
        return {}

    def place(self, path: Path) -> str:
        """`endpoints.yml:3: tracker_store.port`: where a value stands."""
        line = f":{self._lines.get(path, 1)}" if self._lines else ""
        name = ".".join(map(str, path))
        return f"{self._file}{line}" + (f": {name}" if name else "")

    def fault(self, path: Path, sentence: str) -> None:
        """Note a fault of the value at `path`."""
        self.faults.append(f"{self.place(path)}: {sentence}")

    def section(self, values: dict[Any, Any], name: str) -> Section | None:
        """The section of this name; None where it is missing or says nothing."""
        section = values.get(name)
        if section is None:
            return None
        if isinstance(section, dict):
            return Section(self, (name,), section)
        self.fault((name,), f"must be a mapping, is {kind_of(section)}")
        return None

    def _expanded(self, value: Any, path: Path) -> Any:
        """The value with variables put in, keys included."""
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, list):
            return [self._expanded(item, (*path, index)) for index, item in enumerate(value)]
        return self._mapping(value, path) if isinstance(value, dict) else value

    def _mapping(self, values: dict[Any, Any], path: Path) -> dict[Any, Any]:
        expanded: dict[Any, Any] = {}
        for key, value in values.items():
            name = self._expanded(key, (*path, key))
            if name in expanded:
                self.fault((*path, key), f"the key {name!r} comes twice")
            expanded[name] = self._expanded(value, (*path, key))
        return expanded

    def _text(self, text: str, path: Path) -> str:
        if _BRACED.search(text) is None:
            return text
        return _VARIABLE.sub(lambda match: self._variable(match["plain"] or match["braced"] or "", path), text)

    def _variable(self, name: str, path: Path) -> str:
        if name in self.environ:
            return self.environ[name]
        if _NAME.fullmatch(name):
            self.fault(path, f"the environment variable {name} is not set")
        else:
            self.fault(path, f"${{{name}}} does not name an environment variable; defaults are not supported")
        return ""


class Section:
    """One section. A key of the wrong type is a fault of the document, and then counts as absent."""

    def __init__(self, document: Document, path: Path, values: dict[Any, Any]) -> None:
        self.values = values
        self._document = document
        self._path = path
        self.type = self.text("type") or self.text("store_type")

    @property
    def place(self) -> str:
        """The section in the words of a message."""
        return self._document.place(self._path)

    def endpoint(self) -> Endpoint:
        """The section as an HTTP endpoint."""
        return Endpoint(**self.endpoint_fields())

    def endpoint_fields(self) -> dict[str, Any]:
        """What every endpoint has, by its fields."""
        return {
            "url": self.text("url"),
            "params": self.mapping("params"),
            "headers": {str(key): str(value) for key, value in self.mapping("headers").items()},
            "basic_auth": self._basic_auth(),
            "token": secret(self.text("token")),
            "token_name": self.text("token_name") or "token",
            "cafile": self.text("cafile"),
            "type": self.type,
            "extra": {key: value for key, value in self.values.items() if key not in _ENDPOINT_KEYS},
        }

    def _basic_auth(self) -> BasicAuth | None:
        given = self.mapping("basic_auth")
        if not given:
            return None
        if missing := {"username", "password"} - given.keys():
            self.fault("basic_auth", f"needs a {' and a '.join(sorted(missing))}")
            return None
        return BasicAuth(str(given["username"]), Secret(str(given["password"])))

    def text(self, key: str) -> str | None:
        """A scalar as text: `db: 5` and `password: 1234` are what they look like."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (dict, list)):
            self.fault(key, f"must be text, is {kind_of(value)}")
            return None
        return str(value)

    def whole(self, key: str) -> int | None:
        """A whole number, also in quotes."""
        value = self.text(key)
        if value is None or not value.strip():
            return None
        try:
            return int(value)
        except ValueError:
            self.fault(key, f"must be a whole number, is {value!r}")
            return None

    def truth(self, key: str, default: bool = False) -> bool:
        """A truth value, also in quotes, as a variable gives it."""
        value = self.values.get(key)
        found = _TRUTHS.get(str(value).lower())
        if value is None:
            return default
        if found is None:
            self.fault(key, f"must be true or false, is {kind_of(value)}")
        return bool(found)

    def mapping(self, key: str) -> dict[Any, Any]:
        """A mapping; empty when it is absent."""
        value = self.values.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self.fault(key, f"must be a mapping, is {kind_of(value)}")
        return {}

    def fault(self, key: str, sentence: str) -> None:
        """Note a fault of a key's value."""
        self._document.fault((*self._path, key), sentence)


_TRUTHS: Final = {"true": True, "false": False}
_ENDPOINT_KEYS: Final = frozenset(
    {"url", "params", "headers", "basic_auth", "token", "token_name", "cafile", "type", "store_type"}
)


def secret(text: str | None) -> Secret | None:
    """A text that nobody may see."""
    return None if text is None else Secret(text)


def kind_of(value: Any) -> str:
    """The value's type in YAML's words; the value itself may be secret."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), "empty")
