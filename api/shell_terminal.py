"""Where people type lines and read texts: a terminal with a prompt, or a pipe."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, TextIO, cast

try:
    import readline
except ImportError:  # a Python without it: lines are typed without history
    readline = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT: Final = "> "

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text whose characters can do nothing to a terminal: a conversation holds whatever anybody has said."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))


class Terminal:
    """Reads lines, on the main thread alone, and writes texts, on any thread: above the line that is being typed.

    Made on the main thread. A pipe leaves Ctrl-C as it is.
    """

    def __init__(self) -> None:
        self.is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._lock = threading.Lock()
        self._typing = False
        for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
            with contextlib.suppress(AttributeError):  # it is replaced by something simpler
                stream.reconfigure(errors=errors)  # type: ignore[union-attr]
        self._interruptible = True
        if self.is_interactive:
            signal.signal(signal.SIGINT, self._interrupt)
            if readline is not None:
                readline.set_pre_input_hook(self._begin)

    def read(self) -> str | None:
        """The next line without its end; None when there is none any more. A terminal raises KeyboardInterrupt."""
        if not self.is_interactive:
            line = sys.stdin.readline()
            return line.removesuffix("\n") if line else None
        try:
            return self._line()
        except (EOFError, KeyboardInterrupt) as error:
            self.write("\n")
            if isinstance(error, EOFError):
                return None
            raise

    def _line(self) -> str:
        try:
            with self.interruptible():
                return input(PROMPT)
        finally:
            with self._lock:
                self._typing = False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C raises KeyboardInterrupt meanwhile; after the first time a terminal's does so only then."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def end(self) -> None:
        """No line is read any more, and Ctrl-C ends the program."""
        if self.is_interactive:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, *_signal: object) -> None:
        if self._interruptible:
            raise KeyboardInterrupt

    def write(self, text: str, stream: TextIO | None = None) -> None:
        """Write a text that ends its last line, to standard output if nothing else is said."""
        stream = stream or sys.stdout
        with self._lock:
            if self._typing:
                sys.stdout.write(self._away())
                sys.stdout.flush()
            stream.write(text)
            stream.flush()
            if self._typing:
                sys.stdout.write(PROMPT + self._typed())
                sys.stdout.flush()

    def take_logs(self) -> None:
        """From now on log lines for standard error are written above the line that is being typed, too."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(cast("TextIO", _Errors(self)))

    def _begin(self) -> None:
        """The prompt is there."""
        with self._lock:
            self._typing = True

    def _away(self) -> str:
        """What takes the line that is being typed off the screen, where its end is at the cursor."""
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
        above = (len(PROMPT) + len(self._typed())) // columns
        return (f"\x1b[{above}A" if above else "") + "\r\x1b[J"

    def _typed(self) -> str:
        return "" if readline is None else readline.get_line_buffer()


class _Errors:
    """Standard error, by way of a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> None:
        self._terminal.write(text, sys.stderr)

    def flush(self) -> None:
        """Nothing is kept back."""
