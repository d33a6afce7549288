"""The action server of Rasa's users: the package rasa-sdk, in an environment of its own, with actions from a file.

The environment is made when it is first needed, from PyPI. rasa-sdk 3.6 says that it wants an older Python; it runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers import Guarded, accepts
from tests.service import free_port, wait_until

_ROOT: Final = Path(__file__).parents[1]
_LOCK: Final = _ROOT / "tests" / "assistant" / "rasa-sdk.lock"
_SERVICES: Final = _ROOT / ".services"
_INSTALL: Final = ("install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
_WHEELS: Final = ("--only-binary", ":all:", "--ignore-requires-python")


def installed() -> Path:
    """Python with rasa-sdk; one environment for each list of packages and each version of Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = _SERVICES / f"rasa-sdk-{version}-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:12]}"
    _SERVICES.mkdir(exist_ok=True)
    with (_SERVICES / "rasa-sdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder)
    return folder / "bin" / "python"


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", *_INSTALL, *_WHEELS, "-r", _LOCK], check=True)
    (folder / "complete").touch()


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
