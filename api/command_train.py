"""`turnlog train`: from a project's folder to an archive that `turnlog run` loads."""

from __future__ import annotations

import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from api.command_line import declarations, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.archiving import Order
    from assistant.model import Model
    from dialogue import Fault

NEEDS_TRAINING: Final = 1
FORCED: Final = 8
"""Exit statuses of --dry-run, as in Rasa."""

# Flags of Rasa that change nothing here, and why.
_WITHOUT_EFFECT: Final = {
    "augmentation": "rules and memorized stories are learned from the stories as they are written",
    "debug_plots": "nothing is drawn",
    "num_threads": "training is not spread over threads",
    "persist_nlu_data": "an archive holds what was learned, and no examples",
    "epoch_fraction": "nothing goes on from an earlier model",
    "validation_max_history": "rules and stories are compared over their whole length",
    "percentages": "configurations are not compared with each other",
    "runs": "configurations are not compared with each other",
}


class _Flag(click.Option):
    """An option that is shown with one of its spellings, and its short one."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or self.name is None:
            return None
        names = [f"-{self.name[0]}"] * (f"-{self.name[0]}" in self.opts) + [f"--{self.name.replace('_', '-')}"]
        return f"{', '.join(names)} {self.metavar or ''}".strip(), record[1]


def _flag(*names: str, **settings: Any) -> click.Option:
    return _Flag([names[0].replace("-", "_"), *declarations(names)], **settings)


def _ignored(name: str, **settings: Any) -> click.Option:
    return _flag(name, hidden=True, default=None, **settings)


class TrainCommand(click.Command):
    """`--data` takes several values, which click has no option for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_single_paths(args))


def _with_single_paths(args: Sequence[str]) -> list[str]:
    """`--data a b` as `--data=a --data=b`."""
    if "--data" not in args:
        return list(args)
    at = args.index("--data")
    paths = list(takewhile(lambda arg: not arg.startswith("-"), args[at + 1 :]))
    if not paths:
        raise click.UsageError("--data needs at least one path")
    rest = args[at + 1 + len(paths) :]
    return [*args[:at], *(f"--data={path}" for path in paths), *_with_single_paths(rest)]


_PATH: Final = click.Path(path_type=Path)


@click.command(
    cls=TrainCommand,
    params=[
        click.Argument(["part"], required=False, type=click.Choice(["nlu", "core"]), metavar="[nlu|core]"),
        _flag("domain", "d", type=_PATH, metavar="PATH",
              help="The domain, a file or a folder. [default: domain.yml and domain/]"),
        _flag("data", "stories", "s", "nlu", "u", type=_PATH, multiple=True, metavar="PATH ...",
              help="Stories, rules and NLU data, files or folders; -s, --stories, -u and --nlu are the same. "
              "[default: data]"),
        _flag("config", "c", type=_PATH, metavar="FILE", help="Pipeline and policies. [default: config.yml]"),
        _flag("endpoints", type=_PATH, metavar="FILE", default=Path("endpoints.yml"),
              help="Where an NLU server is named: then the pipeline is not trained. [default: endpoints.yml]"),
        _flag("out", type=_PATH, metavar="FOLDER", default=Path("models"),
              help="The folder of the archives. [default: models]"),
        _flag("fixed-model-name", metavar="NAME", help="Write NAME.tar.gz, or NAME if it ends in .tar.gz or .zip."),
        _flag("force", is_flag=True, help="Train even if nothing has changed."),
        _flag("dry-run", is_flag=True, help="Train nothing, and say by the exit status what would be trained: 0 for "
              "nothing, 1 for the model, 8 for the model because of --force."),
        _flag("fail-on-validation-warnings", is_flag=True, help="Take warnings for faults."),
        _flag("skip-validation", is_flag=True, help="Look at no warnings. Faults can't be skipped."),
        _flag("quiet", is_flag=True, help="Print faults and the archive's path only."),
        _flag("finetune", is_flag=False, flag_value="", metavar="[PATH]", help="Refused: no model is trained further."),
        _ignored("augmentation", type=int),
        _ignored("debug-plots", is_flag=True),
        _ignored("num-threads", type=int),
        _ignored("persist-nlu-data", is_flag=True),
        _ignored("epoch-fraction", type=float),
        _ignored("validation-max-history", type=int),
        _ignored("percentages"),
        _ignored("runs", type=int),
        click.Option(["verbose", "-v", "--verbose"], is_flag=True, hidden=True),
        click.Option(["debug", "-vv", "--debug"], is_flag=True, hidden=True),
    ],
    short_help="Make an archive of a project.",
)  # fmt: skip
def train(part: str | None, **given: Any) -> None:
    """Make an archive of the project in this folder, or of one part of it, and print the archive's path.

    Where the newest archive in --out was made of the same files, nothing is done, and that one's path is printed.

    More flags of `rasa train` are taken, and change nothing: --augmentation, --debug-plots, --num-threads,
    --persist-nlu-data, --epoch-fraction, --validation-max-history.

    Exit status: 0 when the archive is there, 1 for faults in the project, 2 for a wrong command line.
    """
    if given["finetune"] is not None:
        stop(["--finetune: a model is always trained anew, which takes seconds; leave the flag out"])
    say = _nothing if given["quiet"] else _tell
    for name, reason in _WITHOUT_EFFECT.items():
        if given[name] is not None:
            say(f"--{name.replace('_', '-')} changes nothing here: {reason}")
    click.echo(_archive(part, given, say))


def _archive(part: str | None, given: dict[str, Any], say: Callable[[str], None]) -> Path:
    """The archive, which is made if it is not there yet. May end the process."""
    from api import archiving
    from assistant.project import InvalidModel

    paths = {name: given[name] for name in ("domain", "data", "config", "endpoints", "out")}
    try:
        order = archiving.order_of(part, **paths, name=given["fixed_model_name"])
        current = archiving.current(order)
        if given["dry_run"]:
            sys.exit(_foretell(current, given["force"], say))
        if current is None or given["force"]:
            return archiving.save(order, _model(order, given, say))
    except (InvalidModel, OSError) as error:
        stop([str(error)])
    if given["fail_on_validation_warnings"]:
        _model(order, given, say)
    say(f"there is nothing to do: {current.name} was made of the same files; --force trains anyway")
    return current


def _foretell(current: Path | None, is_forced: bool, say: Callable[[str], None]) -> int:
    """Say what would be done, and give the exit status."""
    if is_forced:
        say("the model would be trained, since --force is given")
        return FORCED
    if current is None:
        say("the model would be trained: there is no archive of the same files")
        return NEEDS_TRAINING
    say(f"there is nothing to do: {current.name} was made of the same files")
    return 0


def _model(order: Order, given: dict[str, Any], say: Callable[[str], None]) -> Model:
    """What is learned. Ends the process with all faults, and with all warnings if these are faults."""
    from api.progress import steps
    from assistant.training import STEPS, train
    from dialogue.training.files import InvalidTraining

    try:
        with steps(STEPS, shown=not given["quiet"]) as begin:
            trained = train(order.project, parts=order.parts, progress=begin)
    except InvalidTraining as error:
        _refuse(error.faults, "fault")
    warnings = () if given["skip_validation"] else trained.warnings
    if warnings and given["fail_on_validation_warnings"]:
        _refuse(warnings, "warning")
    for warning in warnings:
        say(f"warning: {warning}")
    return trained.model


def _refuse(found: Sequence[Fault], kind: str) -> NoReturn:
    for fault in found:
        _tell(str(fault))
    stop([f"nothing was trained: {len(found)} {kind}{'s' if len(found) > 1 else ''}"])


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _nothing(_line: str) -> None:
    pass
