"""The programs that are measured: the service, and the bare handler beside it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TURNLOG: Final = Path(sys.executable).with_name("turnlog")
READY_SECONDS: Final = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(data_dir: Path, *flags: str) -> Iterator[tuple[str, float]]:
    """A service on a data directory: its URL, and the seconds from its start to its first answer."""
    port = free_port()
    command = [str(TURNLOG), "run", "--enable-api", "-p", str(port), "--data-dir", str(data_dir), "--quiet", *flags]
    with _running(command, port, "/livez") as seconds:
        yield f"http://127.0.0.1:{port}", seconds


@contextmanager
def handler(body: Path) -> Iterator[str]:
    """The bare handler that answers with the bytes of a file: its URL."""
    port = free_port()
    with _running([sys.executable, "-m", "bench.handler", str(port), str(body)], port, "/conversations/x/tracker"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def appender(data_dir: Path, body: Path) -> Iterator[str]:
    """The handler that commits a turn's rows and answers with the bytes of a file: its URL."""
    port = free_port()
    command = [sys.executable, "-m", "bench.appender", str(port), str(data_dir), str(body)]
    with _running(command, port, "/livez"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: Sequence[str], port: int, path: str) -> Iterator[float]:
    began = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "SANIC_WORKERS": "1"})
    try:
        _wait_until_it_answers(process, port, path)
        yield time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.005)  # a port says nothing before somebody listens on it
        finally:
            connection.close()
    raise SystemExit(f"{process.args!r} did not answer within {READY_SECONDS:g} s")


def worker_memory(data_dir: Path) -> int:
    """Resident bytes of the largest process of the service on a data directory (Linux)."""
    sizes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages = int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError):
            continue
        if b"spawn_main" in command and _runs_on(parent, data_dir):
            sizes.append(pages * os.sysconf("SC_PAGESIZE"))
    return max(sizes, default=0)


def _runs_on(pid: int, data_dir: Path) -> bool:
    try:
        return str(data_dir).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
