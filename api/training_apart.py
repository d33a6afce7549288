"""Training in a process of its own: it keeps a processor busy for seconds, and would hold up this process's requests.

As a process that its parent starts, it ends when the parent is gone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from api.parent import give_way
from assistant.archive import save_model
from assistant.project import InvalidModel
from dialogue import InvalidDomain, InvalidYaml
from dialogue.training.files import InvalidTraining

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from assistant.training import Trained

FAULTS: Final = (InvalidModel, InvalidDomain, InvalidTraining, InvalidYaml)
"""What is wrong with a model's files; the messages have a line for each fault."""


class TrainingBroken(Exception):
    """The process that trained has ended without a result; its own log lines say why."""


class TrainedApart(Struct, frozen=True):
    """The name to show for a model and its id, and what is odd about the files that it was made of."""

    file: str
    id: str
    warnings: tuple[str, ...]


class _Faults(Struct, frozen=True):
    message: str
    yaml: tuple[str, int, str] | None = None  #: of InvalidYaml


async def train_apart(learn: Callable[[], Trained], archive: Path) -> TrainedApart:
    """Have a model made, by a function that can be pickled, and its archive written.

    When cancelled, the process is killed.

    Raises:
        InvalidYaml: `learn` raised it.
        InvalidModel: it found other faults; the message has a line for each.
        TrainingBroken: the process died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_train, args=(learn, archive, theirs), name="training")
    process.start()
    theirs.close()
    try:
        outcome = await _outcome(ours, process)
    finally:
        process.kill()  # it has nothing more to do
        await asyncio.to_thread(process.join)
        process.close()
        ours.close()
    if isinstance(outcome, TrainedApart):
        return outcome
    raise InvalidModel(outcome.message) if outcome.yaml is None else InvalidYaml(*outcome.yaml)


async def _outcome(pipe: Connection, process: SpawnProcess) -> TrainedApart | _Faults:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe.fileno(), readable.set)
    try:
        await readable.wait()
        outcome: TrainedApart | _Faults = pipe.recv()
    except EOFError:
        await asyncio.to_thread(process.join)
        raise TrainingBroken(f"the training has ended with exit status {process.exitcode}") from None
    finally:
        loop.remove_reader(pipe.fileno())
    return outcome


def _train(learn: Callable[[], Trained], archive: Path, pipe: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    give_way()
    _end_first()
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        trained = learn()
        save_model(trained.model, archive)
    except InvalidYaml as error:
        pipe.send(_Faults(str(error), (error.name, error.line, error.reason)))
    except FAULTS as error:
        pipe.send(_Faults(str(error)))
    else:
        pipe.send(TrainedApart(trained.model.file, trained.model.id, tuple(map(str, trained.warnings))))


def _end_first() -> None:
    """Where memory runs out, Linux shall end this process rather than one that serves requests."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_parent(pipe: Connection) -> None:
    """Wait for the parent's end of the pipe to close, however that happens: nothing ever comes through it."""
    pipe.poll(None)
    os._exit(1)
