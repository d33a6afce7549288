"""`turnlog import`: bring the history of a Rasa installation, or JSON lines, into the log."""

from __future__ import annotations

import contextlib
import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from api.command_line import FAULT, FlagsCommand, configure_logs, load, options, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from api.import_plan import Plan, Tally
    from api.rasa_history import Source
    from api.settings import Settings

    Report = Callable[[Mapping[str, object]], None]

SHOWN: Final = 5  #: conversations that were left out and are named


class _Command(FlagsCommand):
    """Keeps its arguments as they were given, for the command line that goes on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = tuple(args)
        return super().parse_args(ctx, args)


@click.command(
    "import",
    cls=_Command,
    params=[
        click.Argument(["source"]),
        click.Option(["--append"], is_flag=True, help="Add to conversations that have other events in the log, too."),
        click.Option(
            ["--name"], metavar="NAME", help="Of the import, for a later run to go on. [default: where SOURCE is]"
        ),
        click.Option(["--skip-invalid"], is_flag=True, help="Leave out records that are no events; else one stops it."),
        click.Option(["--dry-run"], is_flag=True, help="Read and check everything, and import nothing."),
        click.Option(
            ["--report"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Add all that is left out to the end of this file, as JSON lines.",
        ),
        click.Option(
            ["--source-schema"],
            default="public",
            metavar="NAME",
            help="The schema of a Postgres source, Rasa's POSTGRESQL_SCHEMA. [default: public]",
        ),
        *options("endpoints", "data_dir"),
    ],
    short_help="Import the history of a Rasa installation.",
)
def import_(source: str, name: str | None, report: Path | None, source_schema: str, **values: Any) -> None:
    """Import all events of a Rasa tracker store into the log. Stop that Rasa first, and start it no more.

    SOURCE is the postgresql:// URL of Rasa's database, its SQLite file (or sqlite:/// URL), a file of JSON lines as
    brokers of type `file` and `turnlog replay` write them, or - for JSON lines on standard input.

    Each event is imported once, in its order. The same command goes on after whatever has stopped it, kill -9
    included; only standard input can't be read again. Conversations that have other events in the log already are left
    out and listed. The database of the log is brought up to date first, as by `turnlog migrate`.

    Exit status: 0 when all is imported, 1 when something is wrong, 2 for a wrong command line, 130 or 143 when a
    signal (Ctrl-C, SIGTERM) stopped it.
    """
    from api.import_plan import Plan
    from dialogue.text import storable

    switches = {switch: values.pop(switch) for switch in ("append", "skip_invalid", "dry_run")}
    settings = load(values)
    configure_logs(settings)
    history = _source(source, source_schema)
    plan = Plan(name=storable(name or history.title), **switches)
    with _reporting(report) as write:
        sys.exit(_import(settings, history, plan, write))


def _source(text: str, schema: str) -> Source:
    from api.rasa_history import SourceUnusable, source_of

    try:
        return source_of(text, schema)
    except SourceUnusable as error:
        stop([str(error)])


@contextlib.contextmanager
def _reporting(path: Path | None) -> Iterator[Report]:
    """Writes what is left out into a file, if there shall be one."""
    if path is None:
        yield lambda _entry: None
        return
    from dialogue import dumps

    try:
        file = path.open("a", buffering=1, encoding="ascii")
    except OSError as error:
        stop([f"--report: {path}: {error.strerror}"])
    with file:
        yield lambda entry: click.echo(dumps(entry), file=file)


def _import(settings: Settings, source: Source, plan: Plan, report: Report) -> int:
    """Import, say what came of it, and give the exit status."""
    from api import importing
    from api.rasa_history import SourceUnusable
    from eventstore import EventStoreError
    from eventstore.embedded import EmbeddedPostgresError

    tally = importing.Tally(report)
    try:
        importing.run(settings, source, plan, tally)
    except importing.InvalidRecord as error:
        _tell([str(error), *_rest(plan, tally, "without such records it goes on by", "--skip-invalid")])
        return FAULT
    except importing.Interrupted as error:
        _tell([f"stopped by {error}", *_rest(plan, tally)])
        return 128 + error.number
    except (EventStoreError, EmbeddedPostgresError, SourceUnusable, importing.ImportedElsewhere) as error:
        _tell([str(error), *(_rest(plan, tally) if tally.records else ())])
        return FAULT
    return _finished(plan, source, tally)


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"turnlog: {line}", err=True)


def _rest(plan: Plan, tally: Tally, how: str = "it goes on by", *more: str) -> list[str]:
    """What was done until the import stopped, and how to go on."""
    if plan.dry_run:
        return ["nothing was imported: it was a dry run"]
    return [f"{_events(tally)} until then", f"{how}: {_again(plan, *more)}"]


def _again(plan: Plan, *more: str) -> str:
    """The command line that goes on, without the user and password of its source."""
    from assistant.secret import public_url

    context = click.get_current_context()
    source = context.params["source"]
    given = [public_url(word) if word == source else word for word in context.obj]
    named = [] if source != "-" or context.params["name"] else ["--name", plan.name]
    return shlex.join(["turnlog", "import", *given, *named, *more]) + (
        " (with the same lines)" if source == "-" else ""
    )


def _events(tally: Tally) -> str:
    return f"{tally.events:,} events imported, {tally.conversations:,} conversations begun"


def _finished(plan: Plan, source: Source, tally: Tally) -> int:
    """Print the summary, and give the exit status."""
    if not tally.records:
        where = f"imported already, up to {source.unit} {tally.begin}" if tally.begin else "imported: there is nothing"
        click.echo(f"{plan.name}: everything is {where}")
        return 0
    dry = "a dry run, nothing is written: " if plan.dry_run else ""
    seconds = max(tally.seconds, 0.001)
    click.echo(f"{dry}{_events(tally)}, in {seconds:.1f} s ({tally.events / seconds:,.0f} events/s)")
    for line in (*_left_out(tally), *_invalid(tally)):
        click.echo(line)
    if plan.dry_run and tally.invalid and not plan.skip_invalid:
        _tell(["the import would stop at the first of these records; --skip-invalid leaves them out"])
        return FAULT
    return 0


def _left_out(tally: Tally) -> Iterator[str]:
    if tally.left_out:
        records = sum(tally.left_out.values())
        yield f"left out {len(tally.left_out):,} conversations, {records:,} records: they have other events in the log"
        yield from (f"  {conversation}" for conversation in islice(tally.left_out, SHOWN))
        yield from _more(len(tally.left_out) - SHOWN)


def _invalid(tally: Tally) -> Iterator[str]:
    if tally.invalid:
        yield f"left out {tally.invalid:,} records that are no valid events"
        yield from (f"  {record.place}: {record.reason}" for record in tally.first_invalid)
        yield from _more(tally.invalid - len(tally.first_invalid))


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"  and {count:,} more: --report FILE lists all"
