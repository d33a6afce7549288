"""`turnlog relay`: publish the log from a process of its own, and look after relays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from api.command_line import FAULT, FlagsCommand, chosen_broker, configure_logs, faults, load, options, stop

if TYPE_CHECKING:
    from api.settings import Settings
    from brokers import RelayStatus


@click.command(
    cls=FlagsCommand,
    params=[
        *options("endpoints", "data_dir"),
        click.Option(["--status"], is_flag=True, help="Show how far every broker is, and exit."),
        click.Option(["--broker"], metavar="NAME", help="The broker that --set-position means; needless for one."),
        click.Option(
            ["--set-position"],
            type=click.IntRange(min=0),
            metavar="N",
            help="Let a relay that stopped go on after position N of the log (0: publish all again), and exit.",
        ),
        click.Option(["--forget"], metavar="NAME", help="Remove what is known of a broker that is gone, and exit."),
    ],
    short_help="Publish the log to the brokers of endpoints.yml.",
)
def relay(status: bool, broker: str | None, set_position: int | None, forget: str | None, **values: Any) -> None:
    """Publish the log to the brokers of endpoints.yml until it is told to stop, without serving HTTP.

    `turnlog run` does the same beside its work. Any number of processes may run the relay of a broker: one works, the
    others stand by.

    Exit status: 0 after an orderly stop, 1 when a relay has stopped for good or something is wrong, 2 for a wrong
    command line.
    """
    settings = load(values)
    configure_logs(settings)
    if set_position is not None:
        _set_position(settings, broker, set_position)
    elif status or forget:
        _show(settings, forget)
    else:
        _run(settings)


def _run(settings: Settings) -> None:
    if not settings.endpoints.event_brokers:
        stop([f"{settings.endpoints.file or 'endpoints.yml'}: there is no event_broker to publish to"])
    from api import logs, relaying

    logs.tell(settings.notices)
    with faults():
        relaying.run(settings)


def _set_position(settings: Settings, name: str | None, position: int) -> None:
    from api import relaying

    name = chosen_broker(settings, name)
    with faults():
        relaying.set_position(settings, name, position)
    click.echo(f"the relay of {name} goes on after position {position}")


def _show(settings: Settings, without: str | None) -> None:
    from api import relaying

    with faults():
        statuses = relaying.statuses(settings, without=without)
    for status in statuses:
        click.echo(_line(status))
    if not statuses:
        click.echo("no broker was ever published to")
    sys.exit(FAULT if any(status.state == "stopped" for status in statuses) else 0)


def _line(status: RelayStatus) -> str:
    return (
        f"{status.name} ({status.kind}, {status.state}): at position {status.position}, {status.lag_events} events and "
        f"{status.lag_seconds:.1f} s behind, {status.parked} parked" + (f"; {status.reason}" if status.reason else "")
    )
