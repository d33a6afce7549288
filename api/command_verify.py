"""`turnlog verify`: prove that nothing in the log was lost or changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from api.command_line import FAULT, FlagsCommand, configure_logs, faults, load, options, stop

if TYPE_CHECKING:
    from api.settings import Settings
    from api.verifying import Checked, Extent


@click.command(
    cls=FlagsCommand,
    params=[
        *options("model", "endpoints", "data_dir"),
        click.Option(
            ["--quick"], is_flag=True, help="Leave out projections and snapshots, for which events are folded."
        ),
        click.Option(
            ["--from-position"],
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Verify the log from position N on, and no folds. [default: 1]",
        ),
        click.Option(
            ["--to-position"],
            type=click.IntRange(min=1),
            metavar="N",
            help="Verify the log up to position N, which it must reach, and no folds. [default: its end]",
        ),
    ],
    short_help="Prove that nothing in the log was lost or changed.",
)
def verify(quick: bool, from_position: int, to_position: int | None, **values: Any) -> None:
    """Prove that the log is whole, and that what is kept of it equals a fold of it.

    Looks at partitions, checkpoints, positions, versions, digests, the chain, heads of conversations, projections and
    snapshots. The service may run meanwhile, and nothing is changed. Snapshots are folded with the model's domain: give
    the same model as the service has.

    Exit status: 0 when all is well, 1 when something is wrong, 2 for a wrong command line.
    """
    from api.verifying import Extent

    if to_position is not None and to_position < from_position:
        raise click.UsageError(f"--to-position {to_position} lies before --from-position {from_position}")
    settings = load(values)
    configure_logs(settings)
    sys.exit(_verify(settings, Extent(first=from_position, last=to_position, quick=quick)))


def _verify(settings: Settings, extent: Extent) -> int:
    """Verify, print what came of it, and give the exit status."""
    from api import verifying
    from assistant.project import InvalidModel
    from dialogue import InvalidDomain, InvalidYaml

    checked: list[Checked] = []

    def show(check: Checked) -> None:
        checked.append(check)
        click.echo(_line(check))

    try:
        with faults():
            verifying.verify(settings, extent, show)
    except (InvalidModel, InvalidDomain, InvalidYaml) as error:
        stop([*str(error).splitlines(), "the model can't be used; --quick does without it"])
    finally:
        found = [f"fault: {check.name}: {fault}" for check in checked for fault in check.faults]
        for line in found:
            click.echo(line)
    if not found:
        click.echo("ok")
    return FAULT if found else 0


def _line(check: Checked) -> str:
    if not check.faults:
        return f"{check.name}: {check.found}"
    return f"{check.name}: {len(check.faults)} fault{'s' if len(check.faults) > 1 else ''}"
