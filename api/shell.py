"""`turnlog shell`: the assistant at a terminal. A process of the log as a worker is one, without HTTP."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from api.assembling import understanding_of
from api.command_line import FAULT, faults, stop
from api.credentials import Credentials
from api.process import Process, end_worker
from api.pulling import pull
from api.serving import open_database, prepare
from api.settings import holds_model
from api.shelf import Shelf, Shelved
from api.shell_commands import STOP, take
from api.shell_conversation import Conversation
from api.shell_events import as_json
from api.shell_loop import Loop
from api.shell_terminal import Terminal, printable
from api.shell_view import View
from api.training_apart import FAULTS
from assistant.archive import load_model
from assistant.http import Client
from assistant.project import is_project

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from api.settings import Settings
    from assistant import Understanding
    from assistant.model import Model
    from eventstore import Database

LOOK_EVERY: Final = 0.05  #: seconds between two looks for a model that is being fetched
TERMINATED: Final = 143
"""Exit status after SIGTERM, as shells have it."""


def talk(settings: Settings, id: str, *, shows_events: bool) -> int:  # noqa: A002 - what it is called
    """Talk in a conversation until the end of what is typed; gives the exit status. May end the process."""
    terminal = _terminal()
    view = View(terminal, shows_events=shows_events)
    model = _model(settings)
    with faults(), Loop() as loop, open_database(settings) as database:
        loop.run(prepare(settings, database))
        if terminal.is_interactive:
            view.say(f"{model.file}, conversation {id}\n:help says what can be typed, {STOP} or Ctrl-D ends.\n")
        with loop.opened(_conversation(settings, database, model, id, view)) as conversation:
            return _converse(terminal, view, lambda line: loop.run(take(line, conversation), settings.request_timeout))


def understand(settings: Settings) -> int:
    """Show what the texts mean that are typed, as JSON; gives the exit status. May end the process."""
    terminal = _terminal()
    view = View(terminal, shows_events=False)
    model = _model(settings)
    with Loop() as loop, loop.opened(_understanding(settings, model)) as understanding:
        if terminal.is_interactive:
            view.say(f"{model.file}: type texts to see what they mean; {STOP} or Ctrl-D ends.\n")
        return _converse(terminal, view, lambda line: loop.run(_parse(line, understanding, view)))


def _terminal() -> Terminal:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    terminal = Terminal()
    terminal.take_logs()
    return terminal


@asynccontextmanager
async def _conversation(
    settings: Settings,
    database: Database,
    model: Model,
    id: str,  # noqa: A002
    view: View,
) -> AsyncIterator[Conversation]:
    """The conversation, shown so far and followed from then on. What is under way in the end is waited for."""
    with tempfile.TemporaryDirectory(prefix="turnlog-models-") as folder:
        shelf = Shelf.create(Path(folder), model, str(settings.model))
        settings = replace(settings, credentials=Credentials())  # nobody else talks through a shell
        process = Process(settings, database, model, shelf, only=id)
        await process.open()
        conversation = Conversation(process, id, view)
        try:
            await conversation.begin()
            follower = asyncio.create_task(conversation.follow(), name="follower")
            follower.add_done_callback(end_worker)
            yield conversation
            follower.cancel()
            if conversation.is_answering:
                view.say("(Waiting for the answer that is under way; Ctrl-C does not.)")
        finally:
            await process.close()


def _converse(terminal: Terminal, view: View, answer: Callable[[str], bool]) -> int:
    """Answer one line after the other. A pipe ends with the first one that can't be answered."""
    try:
        while (line := _line(terminal, view)) is not None:
            if not _is_answered(line, terminal, view, answer) and not terminal.is_interactive:
                return FAULT
    finally:
        terminal.end()
    return 0


def _line(terminal: Terminal, view: View) -> str | None:
    """The next line; None at the end."""
    while True:
        try:
            line = terminal.read()
        except KeyboardInterrupt:
            if not terminal.is_interactive:
                raise
            view.say(f"(:help says what can be typed, {STOP} or Ctrl-D ends.)")
        else:
            return None if line is None or line.strip() == STOP else line


def _is_answered(line: str, terminal: Terminal, view: View, answer: Callable[[str], bool]) -> bool:
    try:
        with terminal.interruptible():
            return answer(line)
    except KeyboardInterrupt:
        if not terminal.is_interactive:
            raise
    except TimeoutError:
        view.warn("there is no answer within the time of --request-timeout")
    view.say("(The answer is shown when it comes.)")
    return False


@asynccontextmanager
async def _understanding(settings: Settings, model: Model) -> AsyncIterator[Understanding]:
    async with Client() as client:
        yield understanding_of(settings, model, client)


async def _parse(line: str, understanding: Understanding, view: View) -> bool:
    if text := line.strip():
        view.say(as_json(await understanding.parse(text, "default"), indent=2))
    return True


# --- the model --------------------------------------------------------------------------------------------------------


def _model(settings: Settings) -> Model:
    """The model, from where `turnlog run` has it. Ends the process if there is none that can be used."""
    with tempfile.TemporaryDirectory(prefix="turnlog-models-") as folder:
        try:
            return _loaded(settings, Path(folder))
        except FAULTS as error:
            stop(str(error).splitlines())


def _loaded(settings: Settings, folder: Path) -> Model:
    elsewhere = settings.endpoints.nlu is not None
    if settings.endpoints.models is not None or settings.remote_storage is not None:
        fetched = asyncio.run(_fetched(settings, Shelf.create(folder, None, "nowhere")))
        assert fetched.archive is not None
        return replace(load_model(folder / fetched.archive).model, file=fetched.file)
    if not holds_model(settings.model):
        here = "; this folder is a project: give -m ." if is_project(Path()) else ""
        stop([f"there is no model at {settings.model}: give the path of a project or an archive with -m{here}"])
    trained = load_model(settings.model, understands_elsewhere=elsewhere)
    for warning in trained.warnings:
        sys.stderr.write(f"turnlog: warning: {printable(str(warning))}\n")
    return trained.model


async def _fetched(settings: Settings, shelf: Shelf) -> Shelved:
    """The model from a model server or a storage. Ends the process if it can't be had."""
    pulling = asyncio.create_task(pull(settings, shelf))
    try:
        while shelf.generation == 0 and shelf.fault is None:  # noqa: ASYNC110 - a shelf tells nobody
            await asyncio.sleep(LOOK_EVERY)
    finally:
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
    if shelf.fault is not None and shelf.generation == 0:
        stop([f"{shelf.fault.origin}: {line}" for line in shelf.fault.reason.splitlines()])
    return shelf.current
