"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_EVERY: Final = 10.0  #: seconds between two lines


class Progress(Protocol):
    """Shows how far the work is."""

    def show(self, done: int, events: int) -> None:
        """`done` of the total are done, and `events` events were handled on the way."""


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """Show the progress of something that has `total` steps, with rate and time left."""
    if not sys.stderr.isatty():
        yield _Lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[events]:,} events  {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(what, total=total, events=0, rate=0.0))


@contextlib.contextmanager
def steps(names: Sequence[str], *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show on a terminal which step of the work is being done: what is given is called with each one's name."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(names[0], total=len(names))
        yield lambda name: bar.update(task, description=name, completed=names.index(name))
        bar.update(task, completed=len(names))


class _Bar:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task, self._began = bar, task, time.monotonic()

    def show(self, done: int, events: int) -> None:
        rate = events / max(time.monotonic() - self._began, 1e-9)
        self._bar.update(self._task, completed=done, events=events, rate=rate)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._began = self._told = time.monotonic()

    def show(self, done: int, events: int) -> None:
        now = time.monotonic()
        if now - self._told < LINE_EVERY:
            return
        self._told = now
        rate = events / (now - self._began)
        left = (self._total - done) * (now - self._began) / max(done, 1)
        share = 100 * done / max(self._total, 1)
        sys.stderr.write(f"{self._what}: {share:.0f} %, {events:,} events, {rate:,.0f}/s, {left:.0f} s left\n")
