"""Reading the keys of one section of `event_broker`, with every fault gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokers.errors import InvalidOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Options:
    """One section's keys. A key of the wrong type is a fault, and then counts as absent."""

    def __init__(self, values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.faults: list[tuple[str, str]] = []
        self.environ = environ
        self._values = values
        self._asked: set[str] = set()

    def text(self, key: str, default: str | None = None) -> str | None:
        """A scalar as text: `password: 1234` is what it looks like."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, dict | list):
            self.fault(key, f"must be text, is a {'list' if isinstance(value, list) else 'mapping'}")
            return default
        return str(value)

    def needed(self, key: str) -> str:
        """A text that must be there."""
        value = self.text(key)
        if not value and not any(key == at for at, _ in self.faults):
            self.fault(key, "is missing")
        return value or ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text."""
        value = self._value(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) or item is None for item in items):
            self.fault(key, "must be a text or a list of texts")
            return ()
        return tuple(str(item) for item in items)

    def whole(self, key: str, default: int, *, low: int = 0, high: int = 1 << 62) -> int:
        """A whole number from `low` to `high`; a text that looks like one is one."""
        text = self.text(key)
        if text is None or not text.strip():
            return default
        try:
            number = int(text)
        except ValueError:
            self.fault(key, f"must be a whole number, is {text!r}")
            return default
        if not low <= number <= high:
            self.fault(key, f"must be from {low} to {high}, is {number}")
            return default
        return number

    def seconds(self, key: str, default: float) -> float:
        """A number of seconds that is not negative."""
        text = self.text(key)
        if text is None or not text.strip():
            return default
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            self.fault(key, f"must be a number of seconds, is {text!r}")
            return default
        return number

    def truth(self, key: str, default: bool) -> bool:
        """True or false; the words of YAML 1.1 do in text form, since variables are always text."""
        text = self.text(key)
        if text is None:
            return default
        value = _TRUTH.get(text.strip().lower())
        if value is None:
            self.fault(key, f"must be true or false, is {text!r}")
            return default
        return value

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of `choices`, in any case."""
        text = self.text(key, default) or default
        found = {choice.lower(): choice for choice in choices}.get(text.lower())
        if found is None:
            self.fault(key, f"must be one of {', '.join(choices)}, is {text!r}")
        return found or default

    def fault(self, key: str, sentence: str) -> None:
        """Note that a key can't be used; the sentence never holds a secret."""
        self.faults.append((key, sentence))

    def check(self) -> None:
        """Raise InvalidOptions if there were faults."""
        if self.faults:
            raise InvalidOptions(self.faults)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The keys that nobody asked for."""
        return tuple(str(key) for key in self._values if key not in self._asked)

    def _value(self, key: str) -> Any:
        self._asked.add(key)
        return self._values.get(key)
