"""`turnlog run actions` says how to start the server of a project's actions."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from api.command import turnlog

LOCK: Final = Path(__file__).parents[1] / "assistant" / "rasa-sdk.lock"


@pytest.mark.parametrize("flags", [[], ["--help"], ["--actions", "mine", "-p", "5056", "--auto-reload"]])
def test_it_prints_the_commands(flags: list[str]) -> None:
    result = CliRunner().invoke(turnlog, ["run", "actions", *flags])
    assert result.exit_code == 0
    assert "python -m rasa_sdk --actions actions\n" in result.stdout


def test_it_prints_them_also_where_a_folder_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("actions").mkdir()
    assert "rasa_sdk" in CliRunner().invoke(turnlog, ["run", "actions"]).stdout


def test_it_names_the_version_that_the_tests_run() -> None:
    (installed,) = (line.split()[0] for line in LOCK.read_text().splitlines() if line.startswith("rasa-sdk=="))
    assert f" {installed}\n" in CliRunner().invoke(turnlog, ["run", "actions"]).stdout
