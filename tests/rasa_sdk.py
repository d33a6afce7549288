"""The action server of Rasa's users: the package rasa-sdk, in an environment of its own, with actions from a file.

The environment is made when it is first needed, from PyPI. rasa-sdk 3.6 says that it wants an older Python; it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.environments import python_with
from tests.servers import Guarded, accepts
from tests.service import free_port, wait_until

_LOCK: Final = Path(__file__).parent / "assistant" / "rasa-sdk.lock"


def installed() -> Path:
    """Python with rasa-sdk."""
    return python_with("rasa-sdk", _LOCK, "--ignore-requires-python")


class RasaSdk:
    """An action server that runs the actions of one Python file."""

    def __init__(self, actions: Path, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / f"rasa-sdk-{self.port}.log"
        command: list[str | Path] = [installed(), "-m", "rasa_sdk", "--port", str(self.port), "--actions", actions.stem]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(actions.parent), "SANIC_HOST": "127.0.0.1"}
        self._process = Guarded(command, self.log, environment | {"PYTHONDONTWRITEBYTECODE": "1"})

    @classmethod
    def start(cls, actions: Path, folder: Path) -> RasaSdk:
        """Start one, and wait until it serves; its log is in `folder`."""
        started = cls(actions, folder)
        started._process.start()
        wait_until(lambda: not started._process.is_running or accepts(started.port), f"rasa-sdk, see {started.log}")
        assert started._process.is_running, f"rasa-sdk ended:\n{started.log.read_text()[-3000:]}"
        return started

    @property
    def url(self) -> str:
        """Where it takes calls, as `action_endpoint` in endpoints.yml names it."""
        return f"http://127.0.0.1:{self.port}/webhook"

    def close(self) -> None:
        """End it."""
        self._process.close()
