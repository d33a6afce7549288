"""The running service: the console script in a process of its own, one for each variant that the recordings name.

All variants share one embedded Postgres, each with a schema of its own, and run the bot of the recordings.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import re
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from msgspec import Struct

from tests.contract.transcripts import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
TOKEN: Final = "s3cr3t-token"

_SERVING: Final = re.compile(r"serving on http://127\.0\.0\.1:(\d+)")
_BOT_DOMAIN: Final = (DATA / "bot" / "domain.yml").read_text()
_SHORT_DOMAIN: Final = _BOT_DOMAIN.replace("expiration_time: 60", "expiration_time: 0.02").replace(
    "carry_over_slots_to_new_session: true", "carry_over_slots_to_new_session: false"
)
_JWT: Final = ("--jwt-secret", "jwt-s3cr3t-0123456789-0123456789-abc")


class Variant(Struct, frozen=True):
    """Flags of the command line, and the model: the name of its archive, and its domain."""

    flags: tuple[str, ...] = ("--enable-api",)
    archive: str = "anchor.tar.gz"
    domain: str = _BOT_DOMAIN


VARIANTS: Final = {
    "noauth": Variant(),
    "token": Variant(("--enable-api", "--auth-token", TOKEN)),
    "jwt": Variant(("--enable-api", *_JWT)),
    "cors_list": Variant(("--enable-api", "--cors", "http://a.example", "http://b.example")),
    "noapi": Variant(()),
    "short": Variant(domain=_SHORT_DOMAIN),
    "coreonly": Variant(archive="core_only.tar.gz"),
    "nluonly": Variant(archive="nlu_only.tar.gz", domain='version: "3.1"\n'),
    "crash": Variant(),
}


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[int]:
    """The service of a variant for as long as the context lasts; gives its port. `folder` is shared by all variants."""
    variant = VARIANTS[name]
    home = folder / name
    home.mkdir()
    _write_archive(home / variant.archive, variant.domain)
    program = Path(sys.executable).parent / "turnlog"
    process = subprocess.Popen(
        [
            program,
            "run",
            *variant.flags,
            "-i",
            "127.0.0.1",
            "-p",
            "0",
            "-m",
            home / variant.archive,
            "--data-dir",
            folder / "postgres",
        ],
        cwd=home,
        env=_environment(name),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield _port(process)
    finally:
        _stop(process)


def _environment(name: str) -> dict[str, str]:
    """Nothing of what the developer may have configured, but the schema."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TURNLOG", "DATABASE", "SANIC"))}
    return kept | {"POSTGRESQL_SCHEMA": f"contract_{name}"}


def _write_archive(path: Path, domain: str) -> None:
    """A model as Rasa packs it, as far as the service reads it."""
    config = (DATA / "bot" / "config.yml").read_text()
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("components/domain_provider/domain.yml", domain), ("config.yml", config)):
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def _port(process: subprocess.Popen[str]) -> int:
    """The port, as soon as the service says that it serves. Its output is read to the end, so that it never blocks."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    said = ["the service did not come up:\n"]
    with contextlib.suppress(queue.Empty):
        while (line := lines.get(timeout=START_SECONDS)) is not None:
            if match := _SERVING.search(line):
                return int(match[1])
            said.append(line)
    raise AssertionError("".join(said))


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert status == 0, f"the service stopped with status {status}"
