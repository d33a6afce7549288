"""`make bench`: every promise about speed, measured. Nothing fails; a figure below its limit is marked."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from bench import load, postgres, replay
from bench.processes import handler, service, worker_memory
from bench.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENT: Final = '{"event":"slot","name":"cuisine","value":"mexican"}'
CONVERSATIONS: Final = 1000
DOMAIN: Final = """
version: "3.1"
intents: [greet]
slots:
  cuisine: {type: text, mappings: [{type: custom}]}
  people: {type: float, mappings: [{type: custom}]}
"""


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs, whose median counts (default: 3)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    report = Report()
    for name in arguments.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="turnlog-bench-") as folder:
            BENCHMARKS[name](Path(folder), report, arguments.repeat)
    report.summary()


def append(folder: Path, report: Report, repeat: int) -> None:
    """Appends to a thousand conversations, beside a handler that returns the same bytes."""
    with _service(folder) as url:
        body = _answer_of_append(url)
        script = load.append_script(CONVERSATIONS, EVENT)
        with handler(_file(folder, body)) as limit:
            for connections, least, aim in ((16, 0.30, 0.50), (64, 0.45, 0.65)):
                ours, theirs = _pairs(url, limit, connections, script, repeat)
                report.rate(f"append, {connections} connections", ours, theirs, "bare handler", least=least, aim=aim)


def single(folder: Path, report: Report, repeat: int) -> None:
    """Appends over one connection, beside a handler and one raw commit."""
    with _service(folder) as url:
        script = load.append_script(CONVERSATIONS, EVENT)
        with handler(_file(folder, _answer_of_append(url))) as limit:
            ours, theirs, commits = [], [], []
            for _ in range(repeat):
                ours.append(load.run(url, 1, script=script).median)
                theirs.append(load.run(limit, 1, script=script).median)
                commits.append(asyncio.run(postgres.commit_seconds(folder / "data")))
    bound = [a + b for a, b in zip(theirs, commits, strict=True)]
    report.time("append, 1 connection, median", ours, bound, "handler + one raw commit", most=2.5)


def history(folder: Path, report: Report, repeat: int) -> None:
    """Appends to one conversation with a short and with a long history."""
    short: list[float] = []
    long: list[float] = []
    with _service(folder) as url:
        _post(url, "long-0", 10_000)
        for number in range(repeat):
            short.append(
                load.run(url, 1, script=load.append_script(1, EVENT, prefix=f"short-{number}-"), seconds=1).median
            )
            long.append(load.run(url, 1, script=load.append_script(1, EVENT, prefix="long-"), seconds=1).median)
    report.time("append at 10,000 events of history", long, short, "to a new one", most=1.25)


def read(folder: Path, report: Report, repeat: int) -> None:
    """Reads of a tracker with a thousand events, beside a handler that returns the same bytes."""
    path = "/conversations/read/tracker"
    with _service(folder) as url:
        _post(url, "read", 997)
        with handler(_file(folder, _answer("GET", url + path))) as limit:
            runs = [load.run(base + path, 16) for _ in range(repeat) for base in (url, limit)]
    report.rate("tracker of 1,000 events", _rates(runs[::2]), _rates(runs[1::2]), "bare handler", least=0.5)


def replays(folder: Path, report: Report, _repeat: int) -> None:
    """The log read and folded into a projection by one process."""
    report.absolute(
        "replay into a projection", asyncio.run(replay.events_per_second(folder)), "events/s", least=100_000
    )


def start(folder: Path, report: Report, repeat: int) -> None:
    """Start on a data directory that is there, and the memory of a worker after some load."""
    seconds: list[float] = []
    for _ in range(repeat + 1):
        with service(folder / "data", "-m", str(_domain(folder))) as (url, took):
            seconds.append(took)
            load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT), seconds=1)
            memory = worker_memory(folder / "data")
    report.absolute("start on an existing data directory", statistics.median(seconds[1:]), "s", most=1.0)
    report.absolute("memory of a worker", memory / 1e6, "MB", most=100)


BENCHMARKS: Final[dict[str, Callable[[Path, Report, int], None]]] = {
    "append": append,
    "single": single,
    "history": history,
    "read": read,
    "replay": replays,
    "start": start,
}


def _pairs(url: str, limit: str, connections: int, script: str, repeat: int) -> tuple[list[float], list[float]]:
    runs = [load.run(base, connections, script=script) for _ in range(repeat) for base in (url, limit)]
    assert not any(run.failed for run in runs), runs
    return _rates(runs[::2]), _rates(runs[1::2])


def _rates(runs: list[load.Load]) -> list[float]:
    return [run.rate for run in runs]


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    """The URL of a service with the benchmark's domain, after some warming up."""
    with service(folder / "data", "-m", str(_domain(folder))) as (url, _):
        load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT), seconds=2)
        yield url


def _domain(folder: Path) -> Path:
    project = folder / "project"
    project.mkdir(exist_ok=True)
    (project / "domain.yml").write_text(DOMAIN)
    return project


def _answer_of_append(url: str) -> bytes:
    return _answer("POST", f"{url}/conversations/c1/tracker/events?include_events=NONE", EVENT.encode())


def _post(url: str, conversation: str, count: int) -> None:
    body = json.dumps([json.loads(EVENT)] * count).encode()
    _answer("POST", f"{url}/conversations/{conversation}/tracker/events?include_events=NONE", body)


def _answer(method: str, url: str, body: bytes | None = None) -> bytes:
    return httpx.request(method, url, content=body, timeout=60).raise_for_status().content


def _file(folder: Path, body: bytes) -> Path:
    file = folder / "body"
    file.write_bytes(body)
    return file


if __name__ == "__main__":
    main()
