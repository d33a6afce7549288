"""What all commands share: options from the table of flags, settings, and the end with a fault."""

from __future__ import annotations

import contextlib
import os
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from api.flags import BY_NAME, FLAGS, Flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from api.settings import Settings

FAULT: Final = 1
"""Exit status when the configuration is wrong; a wrong command line is click's 2."""

_ENVIRONMENT: Final = (
    ("TURNLOG_<FLAG>", "Every flag, with underscores; a flag on the command line wins. Switches are true or false."),
    ("DATABASE_URL", "The database: postgresql://user:password@host:port/name. It wins over tracker_store in "
     "endpoints.yml. DATABASE_URL_FILE names a file that holds it."),
    ("POSTGRESQL_SCHEMA", "The database's schema that holds the log. [default: turnlog]"),
    ("SANIC_WORKERS", "Processes that answer requests. [default: 1]"),
    ("SANIC_<SETTING>", "Any setting of Sanic: SANIC_BACKLOG, SANIC_REQUEST_MAX_SIZE (bytes), SANIC_REQUEST_TIMEOUT, "
     "SANIC_KEEP_ALIVE_TIMEOUT, SANIC_GRACEFUL_SHUTDOWN_TIMEOUT (seconds) ..."),
    ("LOG_LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL; LOG_LEVEL_LIBRARIES for lines from libraries. "
     "[default: INFO, WARNING]"),
    ("FORCE_JSON_LOGGING", "Log JSON on a terminal as well; anywhere else it is always JSON."),
)  # fmt: skip


class FlagsCommand(click.Command):
    """A command whose options are flags of the table, shown by group, each with its default and its variable."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [param for param in self.params if isinstance(param, click.Option) and param.name not in BY_NAME]
        if records := [record for param in own if (record := param.get_help_record(ctx))]:
            with formatter.section("Options"):
                formatter.write_dl(records, col_max=34)
        given = (param for param in self.params if isinstance(param, click.Option) and not param.hidden)
        flags = [BY_NAME[param.name] for param in given if param.name in BY_NAME]
        for group in dict.fromkeys(flag.group for flag in flags):
            with formatter.section(group):
                formatter.write_dl([_help(flag) for flag in flags if flag.group == group], col_max=34)
        with formatter.section("Environment"):
            formatter.write_dl(_ENVIRONMENT, col_max=34)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_single_origins(args))


def _help(flag: Flag) -> tuple[str, str]:
    spellings = [("-" if len(name) == 1 else "--") + name for name in flag.spellings if name != "vv"]
    names = ", ".join(sorted(dict.fromkeys(spellings), key=len))
    default = f" [default: {flag.default}]" if flag.default else ""
    file = f" or {flag.variable}_FILE" if flag.kind in ("secret", "secrets") else ""
    return f"{names} {flag.metavar}".strip(), f"{flag.help}{default} [{flag.variable}{file}]"


def _with_single_origins(args: Sequence[str]) -> list[str]:
    """`--cors a b` as `--cors=a --cors=b`: click knows no option that takes any number of values.

    The last argument is the model's path and no origin, if it is there and not the only value, as in Rasa.
    """
    if "--cors" not in args:
        return list(args)
    at = args.index("--cors")
    rest = args[at + 1 :]
    origins = list(takewhile(lambda arg: not arg.startswith("-"), rest))
    if 1 < len(origins) == len(rest) and Path(origins[-1]).exists():
        origins.pop()
    return [*args[:at], *(f"--cors={origin}" for origin in origins), *_with_single_origins(rest[len(origins) :])]


def _option(flag: Flag) -> click.Option:
    return click.Option(
        [flag.name, *declarations(flag.spellings)],
        is_flag=flag.kind == "switch" or None,  # False would let the value be left out
        multiple=flag.kind in ("texts", "secrets"),
        type=click.IntRange(flag.low, flag.high) if flag.kind == "whole" else None,
    )


def declarations(spellings: Iterable[str]) -> list[str]:
    """Each spelling with its dashes, and with underscores instead; `--m` does for `-m`, as in old documents."""
    declared = []
    for name in spellings:
        short = len(name) == 1 or name == "vv"
        declared += [f"-{name}"] if short else []
        declared += [f"--{name}", f"--{name.replace('-', '_')}"]
    return list(dict.fromkeys(declared))


def options(*names: str) -> list[click.Parameter]:
    """The options for these flags of the table, or for all."""
    return [_option(flag) for flag in FLAGS if not names or flag.name in names]


def is_word(word: str, paths: tuple[str, ...]) -> bool:
    """Whether the first positional argument is this word, and not the path of a model that is called so."""
    return paths[:1] == (word,) and not Path(word).exists()


def model_path(paths: tuple[str, ...]) -> str | None:
    """The model among the positional arguments; ends the process if these are there, and none of them exists."""
    existing = [path for path in paths if Path(path).exists()]
    if paths and not existing:
        raise click.UsageError(f"{paths[-1]!r} is no flag, and no path of a model that exists")
    return existing[-1] if existing else None


def load(values: dict[str, Any]) -> Settings:
    """The settings, or the end of the process with a line for each fault."""
    from api import settings

    try:
        return settings.load(values, os.environ)
    except settings.InvalidSettings as error:
        stop(error.faults)


def stop(faults: Iterable[str]) -> NoReturn:
    """End the process with a line for each fault."""
    for fault in faults:
        click.echo(f"turnlog: {fault}", err=True)
    sys.exit(FAULT)


def configure_logs(settings: Settings) -> None:
    """Send log lines where the settings say, or end the process."""
    from api import logs

    try:
        logs.configure(settings.logs)
    except logs.InvalidLogging as error:
        stop([str(error)])


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """End the process with a line for what may go wrong with the database or a broker."""
    from brokers import BrokerError
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    try:
        yield
    except (EventStoreError, EmbeddedPostgresError, BrokerError) as error:
        stop([str(error)])


def chosen_broker(settings: Settings, name: str | None) -> str:
    """The name of the broker that is meant, or the end of the process."""
    names = [broker.name for broker in settings.endpoints.event_brokers]
    file = settings.endpoints.file or "endpoints.yml"
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return name
    if not names:
        stop([f"{file}: there is no event_broker"])
    wanted = "say which broker is meant" if name is None else f"there is no broker named {name!r}"
    stop([f"{wanted}: {file} has {', '.join(names)}"])
