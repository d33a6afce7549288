"""The command line, in every spelling that Rasa's documents print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import api
from api import logs, serving
from api.command import turnlog
from api.flags import FLAGS
from eventstore import StoreUnavailable

if TYPE_CHECKING:
    from api.settings import Settings


configure = logs.configure


class Service:
    """Stands in for the service: it keeps the settings that it was given."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.status = 0
        self.applied: list[str] = []
        self.failure: Exception | None = None

    def serve(self, settings: Settings) -> int:
        self.settings = settings
        return self.status

    def migrate(self, settings: Settings) -> list[str]:
        self.settings = settings
        if self.failure:
            raise self.failure
        return self.applied


@pytest.fixture(autouse=True)
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that does not start, an empty working directory, and a log that stays as it is."""
    fake = Service()
    monkeypatch.setattr(serving, "serve", fake.serve)
    monkeypatch.setattr(serving, "migrate", fake.migrate)
    monkeypatch.setattr(logs, "configure", lambda settings: None)
    monkeypatch.chdir(tmp_path)
    return fake


def invoke(*args: str, **environ: str) -> Result:
    return CliRunner().invoke(turnlog, args, env={"HOME": "/none", **environ})


def run(service: Service, *args: str, **environ: str) -> Settings:
    """The settings of `turnlog run` with these arguments."""
    result = invoke("run", *args, **environ)
    assert result.exit_code == 0, result.output
    assert service.settings is not None
    return service.settings


def test_flags_become_settings(service: Service) -> None:
    settings = run(service, "--enable-api", "-p", "5006", "-i", "::1", "--response-timeout", "9", "--connector", "rest")
    assert (settings.enable_api, settings.port, settings.interface) == (True, 5006, "::1")
    assert (settings.limits.response_timeout, settings.connector) == (9, "rest")


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_spelling_of_a_flag_works_with_dash_and_underscore(
    flag: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET_NAME", "models")
    Path("given").write_text("")
    known = {
        "jwt_method": "HS512", "syslog_protocol": "TCP", "jwt_secret": "x" * 40, "connector": "socketio",
        "protocol": "0.9", "remote_storage": "aws",
    }  # fmt: skip
    value = known.get(flag.name, "given")
    values = [] if flag.kind == "switch" else ["2" if flag.kind == "whole" else value]
    names = {name for spelling in flag.spellings for name in (spelling, spelling.replace("-", "_"))}
    spelled = {f"--{name}" for name in names} | {f"-{name}" for name in names if len(name) == 1}
    settings = [run(service, "-t", "t", name, *values, "--enable-api") for name in sorted(spelled)]
    assert all(one == settings[0] for one in settings)


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (["core", "-d", "m", "-u", "nlu"], "m"),
        (["-d", "m", "-u", "nlu", "--enable_api", "-o", "out.log", "--auth_token", "t"], "m"),
        (["--d", "m", "--enable_api", "--cors", "*"], "m"),
        (["--m", "m", "--endpoints", "endpoints.yml"], "m"),
        (["-m", "m", "--enable-api", "--log-file", "out.log"], "m"),
        (["--core", "m", "--nlu", "nlu", "-c", "rest", "--jwt_secret", "t", "--jwt_method", "HS256"], "m"),
    ],
)
def test_the_command_lines_of_old_documents_work(arguments: list[str], model: str, service: Service) -> None:
    Path("m").write_text("")
    assert run(service, *arguments).model == Path(model)


@pytest.mark.parametrize(
    "arguments",
    [["m"], ["--enable-api", "m"], ["m", "--enable-api"], ["--cors", "*", "m"], ["-m", "other", "m"], ["core", "m"],
     ["--auth-token", "t", "m"], ["none", "m"]],
)  # fmt: skip
def test_a_path_that_exists_names_the_model(arguments: list[str], service: Service) -> None:
    Path("m").write_text("")
    assert run(service, *arguments).model == Path("m")


@pytest.mark.parametrize(
    ("arguments", "origins"),
    [
        ([], ()),
        (["--cors"], ()),
        (["--cors", "*"], ("*",)),
        (["--cors", "http://a", "http://b", "-p", "1"], ("http://a", "http://b")),
        (["--cors=http://a"], ("http://a",)),
        (["--cors", "a", "--cors", "b"], ("a", "b")),
        (["--cors", "m"], ("m",)),
    ],
)
def test_any_number_of_origins_may_follow_cors(
    arguments: list[str], origins: tuple[str, ...], service: Service
) -> None:
    Path("m").write_text("")
    assert run(service, "--enable-api", *arguments).cors == origins


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], "ERROR"), (["-v"], "INFO"), (["-vv"], "DEBUG"), (["--debug"], "DEBUG"), (["--quiet"], "WARNING")],
)
def test_the_level_of_the_log_can_be_given(flags: list[str], level: str, service: Service) -> None:
    assert run(service, "--enable-api", *flags, LOG_LEVEL="ERROR").logs.level == level


def test_several_tokens_may_be_given(service: Service) -> None:
    settings = run(service, "--enable-api", "-t", "old", "--auth-token", "new")
    assert [token.value for token in settings.auth.tokens] == ["old", "new"]


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["none"], ["-p", "many"], ["-p", "70000"], ["--port"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], service: Service) -> None:
    result = invoke("run", "--enable-api", *arguments)
    assert (result.exit_code, service.settings) == (2, None)
    assert "Error: " in result.stderr


def test_a_wrong_configuration_ends_with_1_and_a_line_for_each_fault(service: Service) -> None:
    result = invoke("run", "--enable-api", "-t", "", LOG_LEVEL="loud")
    assert (result.exit_code, service.settings) == (1, None)
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == ["turnlog", "turnlog"]


def test_a_log_that_can_not_be_written_ends_with_1(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", configure)
    result = invoke("run", "--enable-api", "--log-file", "/none/turnlog.log")
    assert (result.exit_code, service.settings) == (1, None)
    assert result.stderr == "turnlog: --log-file: /none/turnlog.log: No such file or directory\n"


def test_without_a_model_and_without_the_api_the_process_says_so_and_ends_with_1(service: Service) -> None:
    result = invoke("run")
    assert (result.exit_code, service.settings) == (1, None)
    assert "there is no model at models" in result.stderr
    assert "--enable-api" in result.stderr


def test_what_the_settings_have_to_say_is_logged(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(logs, "tell", told.append)
    settings = run(service, "--enable-api", "-t", "hidden")
    assert told == [settings.notices]


def test_the_exit_status_is_that_of_the_service(service: Service) -> None:
    service.status = 3
    assert invoke("run", "--enable-api").exit_code == 3


def test_migrate_prints_what_it_applied(service: Service) -> None:
    service.applied = ["0001_log", "0002_more"]
    result = invoke("migrate", DATABASE_URL="postgresql://db/log")
    assert (result.exit_code, result.stdout) == (0, "applied 0001_log\napplied 0002_more\n")
    assert str(service.settings and service.settings.database) == "postgresql://db/log (DATABASE_URL)"


def test_migrate_says_that_there_is_nothing_to_do() -> None:
    assert invoke("migrate").stdout == "nothing to apply\n"


def test_migrate_ends_with_1_if_the_database_can_not_be_used(service: Service) -> None:
    service.failure = StoreUnavailable("no answer from db:5432")
    result = invoke("migrate")
    assert (result.exit_code, result.stderr) == (1, f"turnlog: {service.failure}\n")


def test_the_version_names_both_versions() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("turnlog ")
    assert result.stdout.endswith(", compatible with Rasa 3.6.21\n")


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_the_help_shows_every_flag_with_its_variable(flag: Any) -> None:
    text = " ".join(invoke("run", "--help").stdout.split())
    assert flag.spelling in text
    assert flag.variable in text


def test_the_help_is_shown_without_importing_what_is_slow() -> None:
    slow = "jwt cryptography asyncpg sanic structlog yaml api.settings"
    program = (
        "import contextlib, sys\n"
        "from api.command import main\n"
        "sys.argv = ['turnlog', 'run', '--help']\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main()\n"
        f"sys.exit(' '.join(name for name in '{slow}'.split() if name in sys.modules))\n"
    )
    root = Path(api.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "Usage: turnlog run" in done.stdout
