"""The pages of the documents: blocks in a language, each with what it prints, and a terminal to type them in."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.service import SECONDS, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRINTED_PORT: Final = "5005"

_BLOCK: Final = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVES: Final = re.compile(r"^(\w+=\S+ )*(make run|(\.venv/bin/)?turnlog run)\b", re.MULTILINE)
_SECTION: Final = re.compile(r"^## (?P<heading>.*)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)


class Block(Struct, frozen=True):
    """A block of a page in a language, and what follows it as its output."""

    language: str
    text: str
    output: str | None

    @property
    def serves(self) -> bool:
        """Whether its last command runs until it is stopped."""
        return _SERVES.search(self.text) is not None

    @property
    def acts(self) -> bool:
        """Whether it starts an action server."""
        return "-m rasa_sdk" in self.text


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; an output belongs to the block before it."""
    return blocks_of(page.read_text())


def blocks_of(text: str) -> list[Block]:
    """The blocks of a text, as those of a page."""
    found = [(match["language"], match["text"]) for match in _BLOCK.finditer(text)]
    following = [*found[1:], ("", "")]
    return [
        Block(language, text, after if kind == "text" else None)
        for (language, text), (kind, after) in zip(found, following, strict=True)
        if language != "text"
    ]


def sections(page: Path) -> dict[str, str]:
    """The texts below the headings of the second level, by heading."""
    return {match["heading"]: match["text"] for match in _SECTION.finditer(page.read_text())}


def shows(expected: str, printed: str) -> bool:
    """Whether the printed text has all parts of the expected one, which `…` and lines part, in their order."""
    at = 0
    for part in re.split("[…\n]", expected):
        found = printed.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Terminal:
    """Where a reader types commands, in `folder`. One service runs at a time; the port that is printed is that of it.

    Other texts of a page stand for those in `replaced`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TURNLOG_PORT": str(self.port),
            **environment,
        }
        self._replaced = {**replaced, PRINTED_PORT: str(self.port)}
        self._log = folder / f"service-{self.port}.log"
        self._service: subprocess.Popen[bytes] | None = None

    def start(self, block: Block) -> None:
        """Start the service of a block, in place of the one that runs."""
        self.stop()
        with self._log.open("wb") as log:
            self._service = subprocess.Popen(
                self._shell(block.text),
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, block: Block, **environment: str) -> str:
        """Run the commands of a block, and give what they print."""
        result = subprocess.run(
            self._shell(block.text),
            cwd=self._folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{block.text}\n{result.stderr}\n{self.told}"
        return result.stdout.replace("\r", "").replace(str(self.port), PRINTED_PORT)

    def see(self, block: Block) -> None:
        """Run the commands of a block; AssertionError if they do not print what is shown below it."""
        printed = self.run(block)
        assert shows(block.output or "", printed), f"{block.text}\nprinted:\n{printed}\n{self.told}"

    @property
    def told(self) -> str:
        """What the service has logged since its start."""
        return self._log.read_text() if self._log.exists() else ""

    def expect_service(self) -> None:
        """AssertionError, with what the service has logged, if it has ended."""
        assert self._service is not None
        assert self._service.poll() is None, self.told

    def stop(self) -> None:
        """Ctrl-C: the signal goes to everything that the terminal runs."""
        if self._service is not None:
            os.killpg(self._service.pid, signal.SIGINT)
            self._service.wait(SECONDS)
            self._service = None

    def _shell(self, text: str) -> list[str]:
        for printed, here in self._replaced.items():
            text = text.replace(printed, here)
        return ["bash", "-euo", "pipefail", "-c", text]
