"""`turnlog train`: what it makes, when it makes nothing, and what it says."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner, Result

from api import archiving
from api.command import turnlog
from assistant.archive import load_model
from tests.assistant.test_projects import DOMAIN, NLU, POLICIES, RULES, WHOLE, Files, without, write
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.postgres import Server

TURNLOG: Final = (sys.executable, "-c", "from api.command import main; main()")
ODD: Final = without("data/nlu.yml") | {"data/nlu.yml": NLU.replace("bye", "unknown")}
"""A project with a warning."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is a whole project."""
    folder = write(tmp_path, WHOLE)
    monkeypatch.chdir(folder)
    return folder


def train(*args: str) -> Result:
    return CliRunner().invoke(turnlog, ["train", *args])


def path_of(result: Result) -> Path:
    assert result.exit_code == 0, result.output
    return Path(result.stdout.removesuffix("\n"))


def rewrite(folder: Path, files: Files) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.usefixtures("project")
class TestTheArchive:
    def test_holds_the_model_of_the_project(self, project: Path) -> None:
        trained, loaded = load_model(project).model, load_model(path_of(train())).model
        assert (loaded.id, loaded.domain, loaded.dialogue, loaded.nlu) == (
            trained.id,
            trained.domain,
            trained.dialogue,
            trained.nlu,
        )

    @pytest.mark.parametrize(("args", "prefix"), [((), ""), (("nlu",), "nlu-"), (("core",), "core-")])
    def test_is_named_by_part_time_and_a_word(self, args: Sequence[str], prefix: str) -> None:
        path = path_of(train(*args))
        assert path.parent == Path("models")
        match = re.fullmatch(rf"{prefix}\d{{8}}-\d{{6}}-(\w+)\.tar\.gz", path.name)
        assert match is not None
        assert match[1] in archiving.WORDS

    def test_holds_the_part_that_is_wanted(self) -> None:
        nlu, core = load_model(path_of(train("nlu"))).model, load_model(path_of(train("core"))).model
        assert (nlu.dialogue is None, len(nlu.nlu.components)) == (True, 1)
        assert (core.dialogue is None, len(core.nlu.components)) == (False, 0)
        assert nlu.domain == core.domain
        assert nlu.id != core.id

    @pytest.mark.parametrize(
        ("name", "file"), [("joe", "joe.tar.gz"), ("joe.tar.gz", "joe.tar.gz"), ("joe.zip", "joe.zip")]
    )
    @pytest.mark.parametrize("flag", ["--fixed-model-name", "--fixed_model_name"])
    def test_may_have_a_fixed_name(self, flag: str, name: str, file: str) -> None:
        assert path_of(train(flag, name, "--out", "deep/out")) == Path("deep/out") / file
        assert load_model(Path("deep/out") / file).model.file == file

    def test_leaves_the_pipeline_to_an_nlu_server(self, project: Path) -> None:
        rewrite(project, {"config.yml": "pipeline: [{name: DIETClassifier}]\n" + POLICIES})
        rewrite(project, {"endpoints.yml": "nlu:\n  url: http://nlu:5005\n  token: ${NOT_SET}\n"})
        assert load_model(path_of(train())).model.nlu.components == ()
        assert train("--endpoints", "none.yml").exit_code == 1
        assert "DIETClassifier is not run here" in train("nlu").stderr


@pytest.mark.usefixtures("project")
class TestTheFiles:
    def test_may_lie_elsewhere(self, tmp_path: Path) -> None:
        for name, text in {"d/all.yml": DOMAIN, "x/nlu.yml": NLU, "y.yml": RULES, "c.yml": POLICIES}.items():
            file = tmp_path / "other" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        other = tmp_path / "other"
        result = train("-d", f"{other}/d", "--data", f"{other}/x", f"{other}/y.yml", "-c", f"{other}/c.yml")
        model = load_model(path_of(result)).model
        assert model.dialogue is not None
        assert model.nlu.components == ()
        assert f"warning: {other}/x/nlu.yml:" in result.stderr or "warning: c.yml:" in result.stderr

    @pytest.mark.parametrize(
        "args",
        [
            ("--data", "data/rules.yml", "data/nlu.yml"),
            ("--data", "data/rules.yml", "--data", "data/nlu.yml"),
            ("-s", "data/rules.yml", "-u", "data/nlu.yml"),
            ("--stories", "data/rules.yml", "--nlu", "data/nlu.yml", "--domain", "domain.yml", "--config=config.yml"),
        ],
    )
    def test_may_be_named_in_every_spelling(self, args: Sequence[str]) -> None:
        model = load_model(path_of(train(*args))).model
        assert model.dialogue is not None
        assert len(model.nlu.components) == 1

    def test_that_come_twice_count_once(self) -> None:
        assert path_of(train("--data", "data", "data/rules.yml")).exists()

    @pytest.mark.parametrize("flag", ["--data", "-d", "-c"])
    def test_that_are_not_there_are_named(self, flag: str) -> None:
        result = train(flag, "none.yml")
        assert result.exit_code == 1
        assert result.stderr == ("turnlog: none.yml: can't be read: [Errno 2] No such file or directory: 'none.yml'\n")

    def test_must_hold_something_to_learn(self, project: Path) -> None:
        for file in (project / "data").iterdir():
            file.unlink()
        result = train()
        assert result.exit_code == 1
        assert result.stderr == "turnlog: there is no training data in data; name it with --data\n"

    def test_need_a_path(self) -> None:
        assert train("--data", "--force").exit_code == 2


@pytest.mark.usefixtures("project")
class TestNothingToDo:
    def test_when_nothing_changed(self) -> None:
        first, again = train(), train()
        assert path_of(again) == path_of(first)
        name = path_of(first).name
        assert again.stderr == f"there is nothing to do: {name} was made of the same files; --force trains anyway\n"
        assert len([*Path("models").iterdir()]) == 1

    @pytest.mark.parametrize("file", ["domain.yml", "data/nlu.yml", "data/rules.yml", "config.yml"])
    def test_but_when_a_file_changed(self, project: Path, file: str) -> None:
        train("--fixed-model-name", "first")
        with (project / file).open("a") as changed:
            changed.write("\n")
        assert path_of(train()).name != "first.tar.gz"

    def test_but_with_force(self) -> None:
        train("--fixed-model-name", "first")
        assert path_of(train("--force")).name != "first.tar.gz"

    def test_but_for_another_part(self) -> None:
        train()
        assert path_of(train("core")).name.startswith("core-")

    def test_but_when_the_archive_has_another_name(self) -> None:
        train()
        assert path_of(train("--fixed-model-name", "joe")).name == "joe.tar.gz"
        assert "nothing to do" in train("--fixed-model-name", "joe").stderr

    def test_but_when_the_newest_archive_is_broken(self) -> None:
        path = path_of(train("--fixed-model-name", "joe"))
        path.write_bytes(b"?")
        assert path_of(train("--fixed-model-name", "joe")) == path
        assert load_model(path).model.file == "joe.tar.gz"

    @pytest.mark.parametrize(
        ("args", "trains", "status"), [((), False, 1), ((), True, 0), (("--force",), False, 8), (("--force",), True, 8)]
    )
    def test_can_be_asked_for(self, args: Sequence[str], trains: bool, status: int) -> None:
        if trains:
            train()
        there = [*Path().rglob("*.tar.gz")]
        result = train("--dry-run", *args)
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr.count("\n") == 1
        assert [*Path().rglob("*.tar.gz")] == there


class TestFaults:
    def test_are_all_said_at_once(self, project: Path) -> None:
        rewrite(project, {"domain.yml": DOMAIN + "forms: 7\n", "data/rules.yml": "rules: 7\n"})
        result = train()
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.fullmatch(
            r"domain\.yml:5: .+\ndata/rules\.yml:1: .+\nturnlog: nothing was trained: 2 faults\n", result.stderr
        )
        assert not (project / "models").exists()

    def test_warnings_are_none(self, project: Path) -> None:
        rewrite(project, ODD)
        result = train()
        assert path_of(result).exists()
        assert "warning: data/nlu.yml:" in result.stderr

    def test_warnings_may_be(self, project: Path) -> None:
        rewrite(project, ODD)
        train()
        for flag in ("--fail-on-validation-warnings", "--fail_on_validation_warnings"):
            result = train(flag)
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr.startswith("data/nlu.yml:")
            assert re.search(r"\nturnlog: nothing was trained: \d+ warnings?\n", result.stderr)

    def test_warnings_need_not_be_looked_at(self, project: Path) -> None:
        rewrite(project, ODD)
        result = train("--skip-validation", "--fail-on-validation-warnings")
        assert path_of(result).exists()
        assert result.stderr == ""

    @pytest.mark.usefixtures("project")
    def test_a_folder_that_can_not_be_written_is_one(self) -> None:
        Path("models").touch()
        result = train()
        assert result.exit_code == 1
        assert result.stderr == "turnlog: [Errno 17] File exists: 'models'\n"


@pytest.mark.usefixtures("project")
class TestFlagsOfRasa:
    @pytest.mark.parametrize(
        "args",
        [
            ("--augmentation", "50"),
            ("--debug-plots",),
            ("--debug_plots",),
            ("--num-threads", "4"),
            ("--persist-nlu-data",),
            ("--epoch-fraction", "0.5"),
            ("--validation-max-history", "5"),
            ("core", "--percentages", "5", "--runs=2"),
        ],
        ids=" ".join,
    )
    def test_that_change_nothing_are_taken(self, args: Sequence[str]) -> None:
        result = train(*args)
        assert path_of(result).exists()
        assert all(" changes nothing here: " in line for line in result.stderr.splitlines())
        assert result.stderr

    def test_about_logs_say_nothing(self) -> None:
        assert train("-vv", "--verbose", "--debug").stderr == ""

    def test_quiet_leaves_the_path_alone(self, project: Path) -> None:
        rewrite(project, ODD)
        result = train("--quiet", "--debug-plots")
        assert path_of(result).exists()
        assert result.stderr == ""

    @pytest.mark.parametrize("args", [("--finetune",), ("--finetune", "models/a.tar.gz")])
    def test_finetune_is_refused(self, args: Sequence[str]) -> None:
        result = train(*args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("turnlog: --finetune: ")

    def test_another_part_is_a_wrong_command_line(self) -> None:
        assert train("all").exit_code == 2


def test_on_a_terminal_a_bar_is_shown(project: Path) -> None:
    primary, secondary = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}
    process = subprocess.Popen(
        [*TURNLOG, "train"], cwd=project, env=environment, stdout=subprocess.PIPE, stderr=secondary
    )
    os.close(secondary)
    shown = b""
    while chunk := _read(primary):
        shown += chunk
    stdout, _ = process.communicate()
    os.close(primary)
    assert process.returncode == 0
    assert stdout.startswith(b"models/")
    assert b"reading the files" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_when_it_is_interrupted_no_half_archive_is_left(project: Path) -> None:
    program = (
        "import os, signal\n"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGINT)\n"
        "from api.command import main\n"
        "main()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program, "train"], cwd=project, env=environment, capture_output=True)
    assert done.returncode in (1, -signal.SIGINT)
    assert b"Traceback" not in done.stderr
    assert [*(project / "models").iterdir()] == []


async def test_a_service_runs_it(server: Server, project: Path, tmp_path: Path) -> None:
    train()
    async with server.database() as database:
        flags: list[str | Path] = ["--enable-api", "-i", "127.0.0.1", "-m", project / "models"]
        with Service(tmp_path, flags, environment={"DATABASE_URL": database.dsn}) as service:
            await asyncio.to_thread(service.wait_until_ready)
            body = {"sender": "c", "message": "hi"}
            answer = await asyncio.to_thread(service.request, "POST", "/webhooks/rest/webhook", body)
            assert [message["text"] for message in answer.json()] == ["Hello"]
