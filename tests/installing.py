"""What the tests' brokers are made of: RabbitMQ, Java and Maven by Debian's packages, Kafka by Maven.

``python -m tests.installing``, a step of ``make test``, installs what is missing. Tests only look, and say what to run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROOT: Final = Path(__file__).parents[1]
_SERVICES: Final = _ROOT / ".services"
_OUTPUT: Final = _SERVICES / "output.log"  # of the last command
_POM: Final = _ROOT / "tests" / "kafka_broker" / "pom.xml"
_COPY_JARS: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin")  # those on the PATH would change the user
_START_POLICY: Final = Path("/usr/sbin/policy-rc.d")  # Debian's packages ask it before they start a service
_HOW: Final = "run `make test` or `python -m tests.installing`"
_INSTEAD: Final = "or name running servers in AMQP_URL and KAFKA_BOOTSTRAP, for instance those of compose.yaml"


class Missing(Exception):
    """Something that the tests need is not installed; the message says what to do."""


def rabbitmq(program: str) -> Path:
    """Path of one of RabbitMQ's programs."""
    path = _RABBITMQ / program
    if not path.exists():
        raise Missing(f"RabbitMQ is not installed: {_HOW}, {_INSTEAD}")
    return path


def kafka() -> Path:
    """The folder of Kafka's jars."""
    if not (_jars().exists() and shutil.which("java")):
        raise Missing(f"Kafka is not installed: {_HOW}, {_INSTEAD}")
    return _jars()


def main() -> int:
    """Install what is missing; exit status 1 when that is impossible here."""
    try:
        with _alone():
            if packages := _missing_packages():
                _install(packages)
            if _needs_kafka() and not _jars().exists():
                _fetch(_jars())
    except Missing as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


@contextmanager
def _alone() -> Iterator[None]:
    """Nobody else installs meanwhile in this checkout. The folder is no part of it."""
    _SERVICES.mkdir(exist_ok=True)
    (_SERVICES / ".gitignore").write_text("*\n")
    with (_SERVICES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _jars() -> Path:
    """Where the jars go that the present list names; another list has another folder."""
    return _SERVICES / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def _needs_kafka() -> bool:
    return "KAFKA_BOOTSTRAP" not in os.environ


def _missing_packages() -> list[str]:
    missing = []
    if "AMQP_URL" not in os.environ and not _RABBITMQ.exists():
        missing.append("rabbitmq-server")
    if _needs_kafka() and not shutil.which("java"):
        missing.append("default-jre-headless")
    if _needs_kafka() and not _jars().exists() and not shutil.which("mvn"):
        missing.append("maven")
    return missing


def _install(packages: Sequence[str]) -> None:
    """Install Debian's packages, and let none of them start a server."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"The tests need {', '.join(packages)}: install that as root, {_INSTEAD}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    with _nothing_starts():
        try:
            _run(f"installing {', '.join(packages)}", command)
        except Missing:
            _run("reading the list of Debian's packages, which is old or absent", ["apt-get", "update"])
            _run(f"installing {', '.join(packages)}", command)
    if "rabbitmq-server" in packages and shutil.which("systemctl"):
        _run("keeping RabbitMQ from starting with the machine", ["systemctl", "disable", "rabbitmq-server"])


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Forbid packages to start services; a policy that the machine already has stays in force."""
    if _START_POLICY.exists():
        yield
        return
    _START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    _START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        _START_POLICY.unlink()


def _fetch(jars: Path) -> None:
    """Have Maven fetch Kafka, into a folder that is whole or absent."""
    unfinished = jars.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    quietly = ("--batch-mode", "--no-transfer-progress", "-Dstyle.color=never")
    what = ("--file", _POM, _COPY_JARS, "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}")
    _run("fetching Kafka from Maven Central", ["mvn", *quietly, *what])
    unfinished.rename(jars)


def _run(doing: str, command: Sequence[str | Path]) -> None:
    """Run a command and say what it is for; Missing with what it complains of when it fails."""
    print(f"{doing} …", flush=True)
    began = time.monotonic()
    with _OUTPUT.open("w") as output:
        done = subprocess.run(
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise Missing(f"{doing} failed: {_complaint()} (all of it: {_OUTPUT}). Try again, {_INSTEAD}")
    print(f"  done in {time.monotonic() - began:.0f} s", flush=True)


def _complaint() -> str:
    """The line in which apt-get or Maven says why it failed, or else the last one."""
    lines = _OUTPUT.read_text(errors="replace").splitlines() or ["it said nothing"]
    return next((line for line in lines if line.startswith(("E:", "[ERROR]"))), lines[-1])


if __name__ == "__main__":
    sys.exit(main())
