"""The command line. It imports what it needs when it needs it, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from api.flags import BY_NAME, FLAGS, Flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


class _FlagsCommand(click.Command):
    """A command whose options are flags of the table, shown by group, each with its default and its variable."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        flags = [BY_NAME[param.name] for param in self.params if param.name in BY_NAME]
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
        [flag.name, *_declarations(flag.spellings)],
        is_flag=flag.kind == "switch" or None,  # False would let the value be left out
        multiple=flag.kind in ("texts", "secrets"),
        type=click.IntRange(flag.low, flag.high) if flag.kind == "whole" else None,
    )


def _declarations(spellings: Iterable[str]) -> list[str]:
    """Each spelling with its dashes, and with underscores instead; `--m` does for `-m`, as in old documents."""
    declared = []
    for name in spellings:
        short = len(name) == 1 or name == "vv"
        declared += [f"-{name}"] if short else []
        declared += [f"--{name}", f"--{name.replace('-', '_')}"]
    return list(dict.fromkeys(declared))


def _options(*names: str) -> list[click.Parameter]:
    return [_option(flag) for flag in FLAGS if not names or flag.name in names]


def _load(values: dict[str, Any]) -> Settings:
    """The settings, or the end of the process with a line for each fault."""
    from api.settings import InvalidSettings, load

    try:
        return load(values, os.environ)
    except InvalidSettings as error:
        _stop(error.faults)


def _stop(faults: Iterable[str]) -> NoReturn:
    for fault in faults:
        click.echo(f"turnlog: {fault}", err=True)
    sys.exit(FAULT)


def _configure_logs(settings: Settings) -> None:
    from api import logs

    try:
        logs.configure(settings.logs)
    except logs.InvalidLogging as error:
        _stop([str(error)])


def _model_path(paths: Sequence[str]) -> str | None:
    """The model among the positional arguments; `core` is the old name of this command's server and no path."""
    given = paths[1:] if paths and paths[0] == "core" and not Path("core").exists() else paths
    existing = [path for path in given if Path(path).exists()]
    if given and not existing:
        raise click.UsageError(f"{given[-1]!r} is no flag, and no path of a model that exists")
    return existing[-1] if existing else None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=lambda *given: _version(*given),
              help="Show the version, and the version of Rasa it is compatible with.")  # fmt: skip
def turnlog() -> None:
    """An event-sourced conversation service with the HTTP API that Rasa's users know.

    `turnlog run --enable-api` serves it; `turnlog run --help` shows all flags.
    """


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    from api.errors import RASA_VERSION

    click.echo(f"turnlog {version('turnlog')}, compatible with Rasa {RASA_VERSION}")
    ctx.exit()


@turnlog.command(
    cls=_FlagsCommand,
    params=[*_options(), click.Argument(["paths"], nargs=-1, metavar="[MODEL]")],
    short_help="Serve conversations over HTTP.",
)
def run(paths: tuple[str, ...], **values: Any) -> None:
    """Serve conversations over HTTP until it is told to stop (SIGTERM, or Ctrl-C).

    Without --enable-api a model must be there, since nothing else could be served. Secrets are best given in
    files: `TURNLOG_AUTH_TOKEN_FILE=/run/secrets/token turnlog run --enable-api`.

    Exit status: 0 after an orderly stop, 1 when it can't start, 2 for a wrong command line.
    """
    model = _model_path(paths)
    settings = _load(values | ({"model": model} if model else {}))
    if not settings.enable_api and not settings.has_model:
        _stop(
            [
                f"there is no model at {settings.model}, no `models` in endpoints.yml and no --remote-storage; "
                "to serve the HTTP API without a model, give --enable-api"
            ]
        )
    _configure_logs(settings)
    from api import logs, serving

    logs.tell(settings.notices)
    sys.exit(serving.serve(settings))


@turnlog.command(
    cls=_FlagsCommand,
    params=_options("endpoints", "data_dir"),
    short_help="Bring the database up to date.",
)
def migrate(**values: Any) -> None:
    """Apply the migrations that the database does not have yet, and print their names.

    `turnlog run` does the same when it starts; here it is a step of its own, for an account with more rights.
    """
    settings = _load(values)
    _configure_logs(settings)
    from api import serving
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    try:
        applied = serving.migrate(settings)
    except (EventStoreError, EmbeddedPostgresError) as error:
        _stop([str(error)])
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to apply")


@turnlog.command(
    cls=_FlagsCommand,
    params=[
        *_options("endpoints", "data_dir"),
        click.Option(
            ["--rebuild"], is_flag=True, help="Build them anew from the first event; readers get them when done."
        ),
        click.Option(["--retry"], is_flag=True, help="Try again the event before which one stands still."),
    ],
    short_help="Show, rebuild or retry the projections.",
)
def projections(rebuild: bool, retry: bool, **values: Any) -> None:
    """Show how far every projection is behind the log. The service may run meanwhile, and its readers notice nothing.

    Exit status: 0 when all is well, 1 when a projection stands still or the database is away.
    """
    settings = _load(values)
    _configure_logs(settings)
    from api import keeping
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    try:
        statuses = keeping.projections(settings, rebuild=rebuild, retry=retry)
    except (EventStoreError, EmbeddedPostgresError, keeping.ProjectionStopped) as error:
        _stop([str(error)])
    for status in statuses:
        click.echo(
            f"{status.name} (slot {status.slot}, {status.state}): at position {status.position}, "
            f"{status.lag_events} events and {status.lag_seconds:.1f} s behind"
            + (f"; stands still: {status.error}" if status.error else "")
        )
    sys.exit(FAULT if any(status.error for status in statuses) else 0)


def main() -> None:
    """The program `turnlog`."""
    turnlog(prog_name="turnlog")
