"""Swaps under load: turns all the time, and another model every second. `python -m tests.faults.swaps`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from msgspec import Struct, field

from tests.api.models import texts_of, write_archive
from tests.assistant.scripted import Request, reply, scripted
from tests.faults.report import distribution
from tests.service import Service, children_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

WORKERS: Final = 2
TURNS: Final = 10  #: of each conversation; so what processes have of conversations in memory does not grow
ACTION_SECONDS: Final = 0.1
AT_ONCE: Final = 100  #: turns at most: on a machine that can't do as many as are wanted, fewer are begun
WAITING: Final = 0.1  #: of all turns call the action server in their middle
_PAGE: Final = 1000
_GROWTH: Final = 1.1  #: of the workers' memory in the second half of a long run is still taken for noise
_LONG: Final = 30  #: swaps after which memory is compared: before, caches are filled

Json = dict[str, Any]


class Load(Struct, frozen=True):
    """How much happens."""

    swaps: int = 60
    seconds: float = 1.0  #: from one to the next
    turns: float = 200.0  #: in a second


class Swapped(Struct):
    """A model that was put, and when that was begun and answered, by this process's clock."""

    name: str
    begun: float
    answered: float = float("inf")


class Figures(Struct):
    """What came of a run."""

    swaps: list[Swapped] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  #: latencies of what began within 100 ms after a swap
    memory: list[int] = field(default_factory=list)  #: kilobytes of all workers, at each swap
    across: int = 0  #: turns that began with one model and ended when another one was there
    violations: list[str] = field(default_factory=list)


class Run:
    """A service under load whose model is swapped again and again."""

    def __init__(self, service: Service, models: Sequence[Path], load: Load, seed: str) -> None:
        self.figures = Figures()
        self._service, self._models, self._load = service, models, load
        self._dice, self._numbers = random.Random(seed), count()
        self._http: aiohttp.ClientSession

    async def __call__(self) -> Figures:
        """Do it, and compare what was heard, and the log, with what was put."""
        self._http = aiohttp.ClientSession(
            f"http://127.0.0.1:{self._service.port}",
            timeout=aiohttp.ClientTimeout(30),
            connector=aiohttp.TCPConnector(limit=0),
        )
        async with self._http, asyncio.TaskGroup() as tasks:
            await self._swap(self._models[0])
            swapping = tasks.create_task(self._swap_on())
            begin, due = asyncio.Semaphore(AT_ONCE), time.monotonic()
            while not swapping.done():
                await begin.acquire()
                tasks.create_task(self._turn()).add_done_callback(lambda _turn: begin.release())
                due += self._dice.expovariate(self._load.turns)
                await asyncio.sleep(due - time.monotonic())
        await asyncio.to_thread(self._check_log)
        if len(self.figures.swaps) >= _LONG:
            self._check_memory()
        return self.figures

    # --- load ---

    async def _swap_on(self) -> None:
        for model in self._models[1:]:
            await asyncio.sleep(self._load.seconds)
            await self._swap(model)
            self.figures.memory.append(await asyncio.to_thread(_memory, self._service))
        await asyncio.sleep(self._load.seconds)

    async def _swap(self, model: Path) -> None:
        swapped = Swapped(_name(model), time.monotonic())
        self.figures.swaps.append(swapped)
        async with self._http.put("/model", json={"model_file": str(model)}) as answer:
            text = await answer.text()
        swapped.answered = time.monotonic()
        if answer.status != 204:
            self.figures.violations.append(f"{swapped.name}: answer {answer.status} {text[:300]}")

    async def _turn(self) -> None:
        text = "/wait" if self._dice.random() < WAITING else "/ask"
        body = {"sender": f"c{next(self._numbers) // TURNS}", "message": text}
        began = time.monotonic()
        try:
            async with self._http.post("/webhooks/rest/webhook", json=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.figures.violations.append(f"{body['sender']}: no answer: {error!r}")
            return
        self._heard(answer.status, text, began, time.monotonic())

    def _heard(self, status: int, text: str, began: float, ended: float) -> None:
        figures, latest = self.figures, self._latest(began)
        figures.latencies.append(ended - began)
        if began - latest.answered < 0.1:
            figures.first.append(ended - began)
        figures.across += any(began < swapped.answered < ended for swapped in figures.swaps)
        texts = [message["text"] for message in json.loads(text)] if status == 200 else []
        may_be = [swapped.name for swapped in figures.swaps if latest.begun <= swapped.begun <= ended]
        if texts not in map(texts_of, may_be):
            figures.violations.append(f"answer {status} {text[:300]}, not of {may_be}")

    def _latest(self, moment: float) -> Swapped:
        """The model that whoever begins at this moment must meet, or a later one."""
        return [swapped for swapped in self.figures.swaps if swapped.answered <= moment][-1]

    # --- checks ---

    def _check_log(self) -> None:
        """Each turn in the log is all of one model, by its marks and by what it says, and swaps wrote nothing."""
        conversations: dict[str, list[Json]] = {}
        for line in _events(self._service):
            conversations.setdefault(line["conversation"], []).append(line["event"])
        ids: dict[str, str] = {}
        turns = 0
        for name, events in conversations.items():
            for turn in _turns(events):
                turns += 1
                self.figures.violations += [f"{name}: {fault}" for fault in _mixed(turn, ids)]
        if turns != len(self.figures.latencies):
            self.figures.violations.append(f"the log has {turns} turns, not {len(self.figures.latencies)}")

    def _check_memory(self) -> None:
        memory = self.figures.memory
        before, after = (_middle(half) for half in (memory[_LONG // 2 : len(memory) // 2], memory[len(memory) // 2 :]))
        if after > before * _GROWTH:
            self.figures.violations.append(f"memory grew from {before:,} to {after:,} kB")


def _turns(events: list[Json]) -> Iterator[list[Json]]:
    """The turns of a conversation: from a user's message to the next `action_listen`; with what opens a session."""
    begin = 0
    for index, event in enumerate(events):
        if event["event"] == "action" and event["name"] == "action_listen" and index > begin + 2:
            yield events[begin : index + 1]
            begin = index + 1
    if begin < len(events):
        yield events[begin:]


def _mixed(turn: list[Json], ids: dict[str, str]) -> Iterator[str]:
    """What is wrong with a turn: it is not whole, or not all of one model."""
    marks = {(event["metadata"].get("assistant_id"), event["metadata"].get("model_id")) for event in turn}
    if len(marks) != 1:
        yield f"events of one turn have the marks {marks}"
        return
    [(name, model_id)] = marks
    if ids.setdefault(name, model_id) != model_id:
        yield f"{name} has two ids"
    said = [event["text"] for event in turn if event["event"] == "bot"]
    if said != texts_of(name):
        yield f"a turn of {name} says {said}"


def _events(service: Service) -> Iterator[Json]:
    after: int | None = 0
    while after is not None:
        page = service.get(f"/turnlog/v1/events?after={after}&limit={_PAGE}").json()
        yield from page["events"]
        after = page["after"]


def _memory(service: Service) -> int:
    """Kilobytes that the workers have in memory."""
    workers = {str(service.pid_of(f"worker-{number + 1}")) for number in range(WORKERS)} & {
        str(pid) for pid in children_of(service.pid)
    }
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-p", ",".join(sorted(workers))], capture_output=True, text=True, check=True
    )
    return sum(map(int, listed.stdout.split()))


def _middle(numbers: Sequence[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]


def _name(model: Path) -> str:
    return model.name.removesuffix(".tar.gz")


@contextlib.asynccontextmanager
async def swapping(folder: Path, load: Load, seed: str) -> AsyncIterator[Run]:
    """A service of several workers, and models for all swaps: every other one has another slot than the one before."""
    models = [write_archive(folder, f"m{number}", f"slot_{number % 2}") for number in range(load.swaps + 1)]
    async with scripted(_act) as server:
        (folder / "endpoints.yml").write_text(f"action_endpoint:\n  url: {server.url}\n")
        flags = ("--enable-api", "-m", models[0])
        service = Service(folder, flags, environment={"SANIC_WORKERS": str(WORKERS)})
        service.start()
        try:
            await asyncio.to_thread(service.wait_until_ready)
            yield Run(service, models, load, seed)
        finally:
            await asyncio.to_thread(service.close)  # it closes its connections to the action server, which hears of it


async def _act(_request: Request) -> bytes:
    await asyncio.sleep(ACTION_SECONDS)
    return reply({"events": [], "responses": []})


def _summary(figures: Figures) -> str:
    times = [swapped.answered - swapped.begun for swapped in figures.swaps]
    rows = (
        ("swaps", f"{len(figures.swaps)}, the longest answered in {1000 * max(times):.0f} ms"),
        ("turns in a second", f"{len(figures.latencies) / (figures.swaps[-1].answered - figures.swaps[0].begun):.0f}"),
        ("turns", distribution(figures.latencies)),
        ("right after a swap", distribution(figures.first) if figures.first else "none"),
        ("turns across a swap", figures.across),
        ("memory of the workers", ", ".join(f"{kilobytes // 1000}" for kilobytes in figures.memory) + " MB"),
        ("violations", len(figures.violations)),
    )
    return "\n".join([*(f"{name:25} {value}" for name, value in rows), *figures.violations[:20]])


async def _main(folder: Path, load: Load, seed: str) -> Figures:
    async with swapping(folder, load, seed) as run:
        return await run()


def main() -> int:
    """Do the run that the command line asks for; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.swaps", description=__doc__)
    parser.add_argument("--swaps", type=int, default=Load().swaps)
    parser.add_argument("--seconds", type=float, default=Load().seconds, help="from one swap to the next")
    parser.add_argument("--turns", type=float, default=Load().turns, help="in a second")
    parser.add_argument("--seed", default="swaps")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="turnlog-swaps-"))
    figures = asyncio.run(_main(folder, Load(options.swaps, options.seconds, options.turns), options.seed))
    print(_summary(figures))
    if figures.violations:
        print(f"the data and the service's log are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
