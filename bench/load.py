"""Load on a local HTTP server by `wrk`, which costs the machine less than any client in Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from msgspec import Struct

SECONDS: Final = 3
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Load(Struct, frozen=True):
    """What a run of `wrk` saw. Times are in seconds."""

    rate: float  #: answered requests a second
    median: float
    p99: float
    failed: int  #: answers with another status than 2xx or 3xx, and broken connections


def ensure_wrk() -> str:
    """The path of `wrk`; installs Debian's package where that is possible.

    Raises:
        SystemExit: it is missing and can't be installed here.
    """
    if shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=False, stdout=subprocess.DEVNULL)
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit(
            "the benchmarks need `wrk` (https://github.com/wg/wrk): install it, for example by apt or brew"
        )
    return found


def append_script(conversations: int, event: str, *, prefix: str = "c") -> str:
    """A script that posts one event after the other to so many conversations in turn."""
    path = f"/conversations/{prefix}"
    return (
        "local n = 0\n"
        f"request = function() n = n + 1; return wrk.format('POST', '{path}' .. (n % {conversations}) .. "
        f"'/tracker/events?include_events=NONE', nil, '{event}') end\n"
    )


def turn_script(conversations: int, message: str) -> str:
    """A script that says a message in so many conversations in turn."""
    return f"local n = 0\nrequest = function() n = n + 1; return {_turn(conversations, message)} end\n"


def mixed_script(conversations: int, message: str) -> str:
    """A script that reads a conversation four times as often as it says a message in one."""
    read = f"wrk.format('GET', '/conversations/c' .. (n % {conversations}) .. '/tracker')"
    return (
        "local n = 0\n"
        "request = function() n = n + 1; "
        f"if math.random(5) == 1 then return {_turn(conversations, message)} end; return {read} end\n"
    )


def _turn(conversations: int, message: str) -> str:
    body = f"""'{{"sender":"c' .. (n % {conversations}) .. '","message":"{message}"}}'"""
    return f"wrk.format('POST', '/webhooks/rest/webhook', nil, {body})"


def run(url: str, connections: int, *, script: str | None = None, seconds: float = SECONDS) -> Load:
    """Load the server at `url` for some seconds over so many connections."""
    command = [ensure_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    with tempfile.TemporaryDirectory() as folder:
        if script is not None:
            file = Path(folder, "script.lua")
            file.write_text(script)
            command[1:1] = ["-s", str(file)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _parse(output)


def _parse(output: str) -> Load:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate is not None, output
    bad = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    bad += sum(map(int, broken.groups())) if broken else 0
    return Load(float(rate[1]), _latency(output, "50%"), _latency(output, "99%"), bad)


def _latency(output: str, percentile: str) -> float:
    match = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", output)
    assert match is not None, output
    return float(match[1]) * _UNITS[match[2]]
