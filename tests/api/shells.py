"""`turnlog shell` as people use it: by a pipe, and at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Final

from tests.service import PROGRAM, SECONDS

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STYLE: Final = re.compile(r"\x1b\[\d*m")
_KEPT_AWAY: Final = ("TURNLOG", "DATABASE", "SANIC", "POSTGRESQL", "LOG_LEVEL", "FORCE_JSON", "COLUMNS", "LINES")
# A process that tests may ignore Ctrl-C, and what it starts would do so too.
_AT_A_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def environment_of(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a shell that is started in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_AWAY)}
    return kept | {"HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm"} | dict(given)


def piped(folder: Path, lines: str, *args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell that reads these lines from a pipe, after its end."""
    return subprocess.run(
        [PROGRAM, "shell", *args],
        cwd=folder,
        env=environment_of(folder, environment),
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


class Screen:
    """A shell at a terminal of its own. What it prints, without colors, is looked at once, from the beginning on."""

    def __init__(self, folder: Path, args: Sequence[str | Path], *, columns: int = 80, **environment: str) -> None:
        self._terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_A_TERMINAL, PROGRAM, "shell", *args],
            cwd=folder,
            env=environment_of(folder, environment),
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self._printed, self._seen = "", 0

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)

    def types(self, text: str) -> None:
        """Press keys; \\r is Enter, and \\x03 and \\x04 are Ctrl-C and Ctrl-D."""
        os.write(self._terminal, text.encode())

    def says(self, line: str) -> None:
        """Type a line at the prompt, which is waited for."""
        self.shows("> ")
        self.types(line + "\r")
        self.shows("\n")

    def shows(self, text: str) -> str:
        """What was printed up to this text, which is waited for; AssertionError if it never comes."""
        deadline = time.monotonic() + SECONDS
        while (at := self._printed.find(text, self._seen)) < 0:
            assert self._reads(deadline), f"never printed: {text!r}, but:\n{self._printed[self._seen :]}"
        before, self._seen = self._printed[self._seen : at], at + len(text)
        return before

    def ends(self) -> int:
        """Wait for its end, and give its exit status."""
        deadline = time.monotonic() + SECONDS
        while self._reads(deadline):
            pass
        return self.process.wait(SECONDS)

    def interrupt(self, shows: str) -> None:
        """Press Ctrl-C until this text comes.

        One that is pressed between the echo of a key and the wait for the next one is noticed only with the next key,
        and nothing tells when that is.
        """
        while shows not in self._printed[self._seen :]:
            self.types("\x03")
            soon = time.monotonic() + 1
            while shows not in self._printed[self._seen :] and self._reads(soon):
                pass
        self.shows(shows)

    def end(self, number: signal.Signals) -> int:
        """Send it a signal until it has ended, for the same reason, and give its exit status."""
        while self.process.poll() is None:
            self.process.send_signal(number)
            while self._reads(time.monotonic() + 1):
                pass
        return self.process.wait()

    def _reads(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        try:
            chunk = os.read(self._terminal, 65536) if ready else b""
        except OSError:  # the other end is closed
            chunk = b""
        self._printed += _STYLE.sub("", chunk.decode(errors="replace").replace("\r\n", "\n"))
        return bool(chunk)
