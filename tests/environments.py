"""Python environments of their own, for programs that tests run and that can't live beside the project's packages.

One is made when it is first needed, from PyPI, out of nothing but the list of its packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_SERVICES: Final = Path(__file__).parents[1] / ".services"
_INSTALL: Final = ("install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
_WHEELS: Final = ("--only-binary", ":all:")


def python_with(name: str, lock: Path, *flags: str) -> Path:
    """Python with the packages that `lock` lists, which pip installs with these flags.

    There is one environment for each list and each version of Python.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = _SERVICES / f"{name}-{version}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    _SERVICES.mkdir(exist_ok=True)
    with (_SERVICES / f"{name}.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder, lock, flags)
    return folder / "bin" / "python"


def _make(folder: Path, lock: Path, flags: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", *_INSTALL, *_WHEELS, *flags, "-r", lock], check=True)
    (folder / "complete").touch()
