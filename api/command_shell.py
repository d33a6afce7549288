"""`turnlog shell`: talk to the assistant in a terminal."""

from __future__ import annotations

import os
import sys
import uuid
from typing import Any, Final

import click

from api.command_line import FlagsCommand, configure_logs, is_word, load, model_path, options
from api.flags import BY_NAME

SHOWN: Final = (
    "model",
    "nlu",
    "remote_storage",
    "endpoints",
    "protocol",
    "request_timeout",
    "data_dir",
    "verbose",
    "debug",
    "log_file",
)
"""The flags of `turnlog run` that mean something here. The others are accepted."""

_NOT_SERVED: Final = ("Authentication", "TLS")  # groups of flags of which nothing is even looked at


def _options() -> list[click.Parameter]:
    flags = options()
    for flag in flags:
        assert isinstance(flag, click.Option)
        flag.hidden = flag.name not in SHOWN
    return flags


def _id(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str:
    from eventstore import check_conversation_id

    id = f"shell-{uuid.uuid4().hex[:12]}" if given is None else given  # noqa: A001
    try:
        check_conversation_id(id)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return id


@click.command(
    cls=FlagsCommand,
    params=[
        click.Argument(["paths"], nargs=-1, metavar="[nlu] [MODEL]"),
        click.Option(["conversation_id", "--conversation-id", "--conversation_id"], metavar="ID", callback=_id,
                     help="Go on with this conversation, or begin one with this id. [default: a new one]"),
        click.Option(["--no-events"], is_flag=True, help="Show only what is said."),
        *_options(),
    ],
    short_help="Talk to the assistant in a terminal.",
)  # fmt: skip
def shell(paths: tuple[str, ...], conversation_id: str, no_events: bool, **values: Any) -> None:
    """Talk to the assistant in this terminal, and see beside each message the events that it leaves in the log.

    It needs a model (-m), and no running service: the database is opened as `turnlog run` does, and may be shared with
    one. With the embedded Postgres, give both the same --data-dir.

    \b
    hello                     a message
    /greet{"name": "Ada"}     an intent, with entities
    2                         the second button of the answer
    :help                     what else can be typed: :tracker :slots :story :undo :restart
    /stop, Ctrl-D             ends
    Ctrl-C                    drops the line that is being typed, or does not wait for an answer

    Lines may come through a pipe as well: `printf 'hello\\nbye\\n' | turnlog shell -m bot`.

    `turnlog shell nlu` shows what the model understands in each line, as JSON, and opens no database.

    All flags of `turnlog run` are accepted; those of a server change nothing.

    Exit status: 0 at the end, 1 when it can't start or a line of a pipe can't be answered, 2 for a wrong command line.
    """
    understands = is_word("nlu", paths)
    model = model_path(paths[1:] if understands else paths)
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    served = {name for name, flag in BY_NAME.items() if flag.group in _NOT_SERVED}
    values = {name: value for name, value in values.items() if name not in served}
    settings = load(values | {"interface": "localhost"} | ({"model": model} if model else {}))
    configure_logs(settings)
    from api import logs, shell

    logs.tell(settings.notices)
    if understands:
        sys.exit(shell.understand(settings))
    sys.exit(shell.talk(settings, conversation_id, shows_events=not no_events))
