"""Where single settings come from: a flag, else its variable in the environment, else (secrets) a file that one names.

Everything that is wrong is gathered as a line for people, and the setting then counts as not given, so that one start
of the service tells all faults at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.flags import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_SECRETS: Final = re.compile(
    r"-----BEGIN (?P<label>[^-\n]+)-----.*?-----END (?P=label)-----|[^\r\n]*\S[^\r\n]*", re.DOTALL
)


class Given(msgspec.Struct, frozen=True):
    """A setting's text, and the flag or variable that it came from. The text may be secret, `source` never is."""

    text: str
    source: str

    def __repr__(self) -> str:
        return f"Given({self.source})"


class Sources:
    """Looks settings up. `faults` grows with every setting that can't be used."""

    def __init__(self, flags: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self.environ = environ
        self._flags = flags

    def text(self, name: str) -> Given | None:
        """A flag's value, or that of its variable; an empty one counts as not given."""
        flag = BY_NAME[name]
        if value := self._flags.get(name):
            return Given(str(value), flag.spelling)
        return self.variable(flag.variable)

    def texts(self, name: str) -> tuple[str, ...]:
        """A flag's values, or those of its variable, where blanks or commas part them."""
        if values := self._flags.get(name):
            return tuple(values)
        given = self.variable(BY_NAME[name].variable)
        return tuple(re.split(r"[\s,]+", given.text.strip())) if given else ()

    def whole(self, name: str, default: int) -> int:
        """A whole number within the flag's bounds."""
        flag = BY_NAME[name]
        value = self._flags.get(name)
        given = self.variable(flag.variable) if value is None else Given(str(value), flag.spelling)
        return default if given is None else int(self._number(given, default, flag.low, flag.high, whole=True))

    def number(self, variable: str, default: float) -> float:
        """A number, not negative, from an environment variable that has no flag."""
        given = self.variable(variable)
        return default if given is None else self._number(given, default, 0, float("inf"), whole=False)

    def switch(self, name: str) -> bool:
        """Whether a flag is given, or its variable says so."""
        return bool(self._flags.get(name)) or self.says_so(BY_NAME[name].variable)

    def says_so(self, variable: str) -> bool:
        """Whether an environment variable holds `true`, or a word that means it."""
        given = self.variable(variable)
        meant = truth(given.text) if given else False
        if given and meant is None:
            self.faults.append(f"{variable}: must be true or false, is {given.text!r}")
        return bool(meant)

    def variable(self, name: str) -> Given | None:
        """An environment variable that is set and not empty."""
        text = self.environ.get(name)
        return Given(text, name) if text else None

    def secret_flag(self, name: str) -> list[Given]:
        """The secrets of a flag that may be given several times; else those in its variable or file, one a line."""
        flag = BY_NAME[name]
        values = self._flags.get(name) or ()
        if not values:
            given = self.secret_variable(flag.variable)
            return [] if given is None else parts(given)
        return [
            self._filled(Given(value, flag.spelling)) for value in ([values] if isinstance(values, str) else values)
        ]

    def on_command_line(self, name: str) -> bool:
        """Whether a flag stands on the command line, where everybody on the machine can read it."""
        return bool(self._flags.get(name))

    def secret_variable(self, name: str) -> Given | None:
        """The secret in an environment variable, or in the file that `<name>_FILE` names; without a last line's end."""
        path = self.variable(name + "_FILE")
        if name not in self.environ:
            return self._secret_file(path) if path else None
        if path:
            self.faults.append(f"{name} and {name}_FILE are both set: unset one of them")
        return self._filled(Given(self.environ[name], name))

    def file(self, name: str) -> Path | None:
        """The path of a file that must be there."""
        given = self.text(name)
        if given is None:
            return None
        path = Path(given.text)
        if not path.is_file():
            self.faults.append(f"{given.source}: {given.text}: no such file")
        return path

    def _secret_file(self, path: Given) -> Given | None:
        text = self.read(path.text, path.source)
        return None if text is None else self._filled(Given(text.rstrip("\r\n"), path.source))

    def read(self, path: str, source: str) -> str | None:
        """A file's text; None, and a fault that names `source`, if it can't be read."""
        try:
            return Path(path).read_text(encoding="utf-8")
        except OSError as error:
            self.faults.append(f"{source}: {path}: {error.strerror}")
        except UnicodeDecodeError:
            self.faults.append(f"{source}: {path}: is not text in UTF-8")
        return None

    def _filled(self, given: Given) -> Given:
        """An empty secret is a fault, never a secret: an unset variable must not turn authentication off."""
        if not given.text.strip():
            self.faults.append(f"{given.source}: is empty; give a secret, or leave it out")
        return given

    def _number(self, given: Given, default: float, low: float, high: float, *, whole: bool) -> float:
        try:
            number = int(given.text) if whole else float(given.text)
        except ValueError:
            number = float("nan")
        if low <= number <= high:
            return number
        kind = "a whole number" if whole else "a number"
        bounds = f"from {low} to {high}" if high < float("inf") else f"from {low} on"
        self.faults.append(f"{given.source}: must be {kind} {bounds}, is {given.text!r}")
        return default


def parts(given: Given) -> list[Given]:
    """The secrets in a text: one a line, but a key in PEM format is one as a whole."""
    return [Given(match.group(), given.source) for match in _SECRETS.finditer(given.text)]


def truth(text: str) -> bool | None:
    """What a word means as an answer to yes or no; None for any other word."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None
