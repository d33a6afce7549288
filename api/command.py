"""The program `turnlog`. It imports what it needs when it needs it, so that `--help` answers at once."""

from __future__ import annotations

import sys
from typing import Any

import click

from api.command_actions import RunCommand
from api.command_export import export
from api.command_import import import_
from api.command_line import FAULT, FlagsCommand, configure_logs, is_word, load, model_path, options, stop
from api.command_relay import relay
from api.command_replay import replay
from api.command_shell import shell
from api.command_train import train
from api.command_verify import verify


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

    from assistant.compatibility import RASA_VERSION

    click.echo(f"turnlog {version('turnlog')}, compatible with Rasa {RASA_VERSION}")
    ctx.exit()


@turnlog.command(
    cls=RunCommand,
    params=[*options(), click.Argument(["paths"], nargs=-1, metavar="[MODEL]")],
    short_help="Serve conversations over HTTP.",
)
def run(paths: tuple[str, ...], **values: Any) -> None:
    """Serve conversations over HTTP until it is told to stop (SIGTERM, or Ctrl-C).

    Without --enable-api a model must be there, since nothing else could be served. Secrets are best given in
    files: `TURNLOG_AUTH_TOKEN_FILE=/run/secrets/token turnlog run --enable-api`.

    `turnlog run actions` says how to start rasa-sdk, the server of a project's actions.

    Exit status: 0 after an orderly stop, 1 when it can't start, 2 for a wrong command line.
    """
    if is_word("core", paths):
        paths = paths[1:]  # the old name of this command's server
    model = model_path(paths)
    settings = load(values | ({"model": model} if model else {}))
    if not settings.enable_api and not settings.has_model:
        stop(
            [
                f"there is no model at {settings.model}, no `models` in endpoints.yml and no --remote-storage; "
                "to serve the HTTP API without a model, give --enable-api"
            ]
        )
    configure_logs(settings)
    from api import logs, serving

    logs.tell(settings.notices)
    sys.exit(serving.serve(settings))


@turnlog.command(
    cls=FlagsCommand,
    params=options("endpoints", "data_dir"),
    short_help="Bring the database up to date.",
)
def migrate(**values: Any) -> None:
    """Apply the migrations that the database does not have yet, and print their names.

    `turnlog run` does the same when it starts; here it is a step of its own, for an account with more rights.
    """
    settings = load(values)
    configure_logs(settings)
    from api import serving
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    try:
        applied = serving.migrate(settings)
    except (EventStoreError, EmbeddedPostgresError) as error:
        stop([str(error)])
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to apply")


@turnlog.command(
    cls=FlagsCommand,
    params=[
        *options("endpoints", "data_dir"),
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
    settings = load(values)
    configure_logs(settings)
    from api import keeping
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    try:
        statuses = keeping.projections(settings, rebuild=rebuild, retry=retry)
    except (EventStoreError, EmbeddedPostgresError, keeping.ProjectionStopped) as error:
        stop([str(error)])
    for status in statuses:
        click.echo(
            f"{status.name} (slot {status.slot}, {status.state}): at position {status.position}, "
            f"{status.lag_events} events and {status.lag_seconds:.1f} s behind"
            + (f"; stands still: {status.error}" if status.error else "")
        )
    sys.exit(FAULT if any(status.error for status in statuses) else 0)


for command in (train, shell, relay, replay, export, import_, verify):
    turnlog.add_command(command)


def main() -> None:
    """The program `turnlog`."""
    turnlog(prog_name="turnlog")
