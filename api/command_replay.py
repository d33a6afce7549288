"""`turnlog replay`: send events of the log again."""

from __future__ import annotations

import shlex
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from api.command_line import FAULT, FlagsCommand, chosen_broker, configure_logs, faults, load, options, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.replaying import Result, Wanted
    from api.settings import Settings

INTERRUPTED = 130
"""Exit status after a signal, as shells have it for SIGINT."""


class _Time(click.ParamType[datetime]):
    """A moment: ISO 8601, in UTC unless it says otherwise, or Unix seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromtimestamp(float(value), UTC)
        except (ValueError, OverflowError, OSError):
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither ISO 8601 (2026-11-21T10:00:00Z) nor Unix seconds", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(
    cls=FlagsCommand,
    params=[
        click.Option(["--to", "broker"], metavar="NAME", help="The broker; needless if endpoints.yml has one."),
        click.Option(["--output"], metavar="FILE", help="Append JSON lines to a file instead; - for standard output."),
        click.Option(["--after-position"], type=click.IntRange(min=0), metavar="N", help="Begin after this position."),
        click.Option(["--upto-position"], type=click.IntRange(min=0), metavar="N",
                     help="End with this position. [default: the end of the log at the start]"),
        click.Option(["--since"], type=_Time(), metavar="TIME", help="Only what was committed after this moment."),
        click.Option(["--until"], type=_Time(), metavar="TIME", help="Only what was committed up to this moment."),
        click.Option(["--conversation"], multiple=True, metavar="ID", help="Only this conversation; may be repeated."),
        click.Option(["--type"], multiple=True, metavar="TYPE", help="Only events of this type; may be repeated."),
        click.Option(["--parked"], is_flag=True, help="Only the events that the broker has as stubs, whole."),
        click.Option(["--id"], metavar="TEXT", help="The id in the header turnlog-replay. [default: a new one]"),
        *options("endpoints", "data_dir"),
    ],
    short_help="Send events of the log to a broker again.",
)  # fmt: skip
def replay(
    broker: str | None,
    output: str | None,
    after_position: int | None,
    upto_position: int | None,
    since: datetime | None,
    until: datetime | None,
    conversation: tuple[str, ...],
    type: tuple[str, ...],  # noqa: A002 - the flag's name
    parked: bool,
    id: str | None,  # noqa: A002 - the flag's name
    **values: Any,
) -> None:
    """Send events of the log again, in its order, each marked by the header turnlog-replay.

    The live relay goes on meanwhile, and its position does not change. Times are ISO 8601, or Unix seconds.

    Exit status: 0 when all was confirmed, 1 when it ended early, with the command that goes on; 130 after Ctrl-C.
    """
    settings = load(values)
    configure_logs(settings)
    if parked and output is not None:
        raise click.UsageError("--parked is about a broker, and --output is none")
    from api.replaying import Wanted
    from eventstore.feed import Selection

    wanted = Wanted(
        id=id or uuid.uuid4().hex,
        broker=None if output is not None else chosen_broker(settings, broker),
        output=output,
        after=after_position,
        upto=upto_position,
        since=since,
        until=until,
        selection=Selection(conversations=conversation or None, types=type or None),
        parked=parked,
    )
    result = carry_out(settings, wanted)
    click.echo(f"{result.replayed.confirmed} events replayed, up to position {result.replayed.position}", err=True)


def carry_out(settings: Settings, wanted: Wanted) -> Result:
    """Replay, or end the process and say how to go on."""
    from api import replaying
    from brokers.replay import ReplayFailed

    with faults():
        try:
            result = replaying.run(settings, wanted)
        except ReplayFailed as error:
            _end_early(wanted, error.reason, error.done.confirmed, error.done.position, FAULT)
        except replaying.NothingToReplay as error:
            stop([str(error)])
        except OSError as error:
            stop([f"--output {wanted.output}: {error.strerror}"])
    if not result.is_complete:
        _end_early(wanted, "interrupted", result.replayed.confirmed, result.replayed.position, INTERRUPTED)
    return result


def _end_early(wanted: Wanted, reason: str, confirmed: int, position: int, status: int) -> NoReturn:
    click.echo(f"turnlog: {reason}", err=True)
    click.echo(f"{confirmed} events replayed, up to position {position}; go on with:", err=True)
    click.echo(f"  {resume_command(sys.argv[1:], position, wanted.id)}", err=True)
    sys.exit(status)


def resume_command(arguments: Sequence[str], position: int, replay_id: str) -> str:
    """The command line that goes on after `position`, as the shell takes it."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, has_value, _ = argument.partition("=")
        if name.replace("_", "-") in ("--after-position", "--id"):
            if not has_value:
                next(rest, None)
            continue
        kept.append(argument)
    same_id = ["--id", replay_id] if kept[:1] == ["replay"] else []
    return shlex.join(["turnlog", *kept, "--after-position", str(position), *same_id])
