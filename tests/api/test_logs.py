"""Log lines: their form, where they go, and what never is in them."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from api import logs
from api.settings import LogSettings, Notice, Syslog, load

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = "turnlog.test"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging as it was before the test."""
    root = logging.getLogger()
    named = [root, *(logging.getLogger(name) for name in (logs.OURS, "sanic.access"))]
    before = [(logger, logger.level, logger.disabled, logger.handlers[:]) for logger in named]
    yield
    for name in (LOGGER, "sanic.error", "asyncpg", "py.warnings"):
        logging.getLogger(name).disabled = False
    for handler in set(root.handlers) - set(before[0][3]):
        handler.close()
    for logger, level, disabled, handlers in before:
        logger.setLevel(level)
        logger.disabled, logger.handlers = disabled, handlers
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Errors:
    """What went to the standard error stream, which is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Errors:
    return Errors(capsys)


def lines(stream: Errors | Terminal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_whose_first_fields_are_always_the_same(stream: Errors) -> None:
    logs.configure(LogSettings())
    structlog.get_logger(LOGGER).info("ready", port=5005)
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "logger", "event", "port"]
    assert (line["level"], line["logger"], line["event"], line["port"]) == ("info", LOGGER, "ready", 5005)
    assert line["time"].endswith("Z")


def test_a_line_of_a_library_has_the_same_form(stream: Errors) -> None:
    logs.configure(LogSettings())
    logging.getLogger("sanic.error").error("worker %s died", 3)
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "logger", "event"]
    assert (line["level"], line["logger"], line["event"]) == ("error", "sanic.error", "worker 3 died")


def test_an_exception_is_a_field(stream: Errors) -> None:
    logs.configure(LogSettings())
    try:
        int("wrong")
    except ValueError:
        structlog.get_logger(LOGGER).exception("failed")
    (line,) = lines(stream)
    assert line["exception"].endswith("invalid literal for int() with base 10: 'wrong'")


def test_what_is_bound_to_the_context_is_in_the_line(stream: Errors) -> None:
    logs.configure(LogSettings())
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger(LOGGER).info("done")
    assert lines(stream)[0]["request_id"] == "r1"


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure(LogSettings())
    structlog.get_logger(LOGGER).info("ready", port=5005)
    assert "ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_a_terminal_gets_json_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure(LogSettings(json=True))
    structlog.get_logger(LOGGER).info("ready")
    assert lines(terminal)[0]["event"] == "ready"


def test_levels_are_set_apart_for_us_and_for_libraries(stream: Errors) -> None:
    logs.configure(LogSettings(level="DEBUG", libraries="ERROR"))
    structlog.get_logger(LOGGER).debug("ours")
    logging.getLogger("asyncpg").warning("theirs")
    logging.getLogger("asyncpg").error("their fault")
    assert [line["event"] for line in lines(stream)] == ["ours", "their fault"]


def test_a_second_configuration_replaces_the_first(stream: Errors) -> None:
    logs.configure(LogSettings())
    logs.configure(LogSettings(level="WARNING"))
    structlog.get_logger(LOGGER).info("not told")
    structlog.get_logger(LOGGER).warning("told")
    assert [line["event"] for line in lines(stream)] == ["told"]


def test_warnings_of_python_are_lines_too(stream: Errors) -> None:
    logs.configure(LogSettings())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]


def test_sanics_own_access_lines_are_off(stream: Errors) -> None:
    logs.configure(LogSettings(libraries="DEBUG"))
    logging.getLogger("sanic.access").info("GET /status?token=hidden")
    assert stream.getvalue() == ""


def test_a_log_file_gets_every_line(stream: Errors, tmp_path: Path) -> None:
    logs.configure(LogSettings(file=tmp_path / "log"))
    structlog.get_logger(LOGGER).info("ready", name="ü\ud800")
    assert (tmp_path / "log").read_text() == stream.getvalue()
    assert lines(stream)[0]["name"] == "ü\ud800"


def test_a_log_file_that_was_moved_is_opened_again(stream: Errors, tmp_path: Path) -> None:
    logs.configure(LogSettings(file=tmp_path / "log"))
    (tmp_path / "log").rename(tmp_path / "log.1")
    logs.reopen()
    assert (tmp_path / "log").exists()
    structlog.get_logger(LOGGER).info("after")
    assert "after" in (tmp_path / "log").read_text()
    assert (tmp_path / "log.1").read_text() == ""


def test_a_log_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(logs.InvalidLogging, match=r"^--log-file: .*/none/log: No such file or directory$"):
        logs.configure(LogSettings(file=tmp_path / "none" / "log"))


def test_a_syslog_server_gets_datagrams(stream: Errors) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        logs.configure(LogSettings(syslog=Syslog(address="127.0.0.1", port=server.getsockname()[1])))
        structlog.get_logger(LOGGER).info("ready")
        assert server.recv(10_000).decode() == "<14>turnlog: " + stream.getvalue().rstrip("\n")


def test_a_syslog_server_gets_lines_over_tcp(stream: Errors) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        logs.configure(LogSettings(syslog=Syslog(address="127.0.0.1", port=server.getsockname()[1], protocol="TCP")))
        peer, _ = server.accept()
        with peer, peer.makefile() as received:
            structlog.get_logger(LOGGER).info("ready")
            assert received.readline() == "<14>turnlog: " + stream.getvalue()


def test_a_syslog_server_that_goes_away_is_told_once_and_holds_nothing_up(stream: Errors) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    logs.configure(LogSettings(syslog=Syslog(address="127.0.0.1", port=server.getsockname()[1], protocol="TCP")))
    server.accept()[0].close()
    server.close()
    for _ in range(20):
        structlog.get_logger(LOGGER).info("go on")
    events = [line["event"] for line in lines(stream)]
    assert events.count("go on") == 20
    assert events.count("the syslog server takes no lines") == 1


def test_a_syslog_server_that_can_not_be_reached_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(logs.InvalidLogging, match=f"127.0.0.1:{port}"):
        logs.configure(LogSettings(syslog=Syslog(address="127.0.0.1", port=port, protocol="TCP")))


def test_a_configuration_file_replaces_everything(tmp_path: Path) -> None:
    file = tmp_path / "logging.yml"
    file.write_text(
        "version: 1\n"
        "disable_existing_loggers: false\n"
        "formatters: {short: {format: '%(levelname)s %(message)s'}}\n"
        f"handlers: {{out: {{class: logging.FileHandler, filename: {tmp_path / 'out'}, formatter: short}}}}\n"
        "root: {level: INFO, handlers: [out]}\n"
    )
    logs.configure(LogSettings(config=file))
    structlog.get_logger(LOGGER).info("ready", port=5005)
    assert (tmp_path / "out").read_text().startswith("INFO event='ready' port=5005")


@pytest.mark.parametrize("text", ["version: 2", "- a", "version: 1\nroot: {handlers: [none]}", "a: [", ""])
def test_a_configuration_file_that_is_wrong_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "logging.yml").write_text(text)
    with pytest.raises(logs.InvalidLogging, match=r"^--logging-config-file: .*logging\.yml: "):
        logs.configure(LogSettings(config=tmp_path / "logging.yml"))


def test_notices_are_told_with_their_level(stream: Errors) -> None:
    logs.configure(LogSettings())
    logs.tell((Notice("info", "100% fine"), Notice("warning", "not fine")))
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("info", "100% fine"),
        ("warning", "not fine"),
    ]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("token=hidden", "token=***"),
        ("include_events=NONE&token=hidden&token=x&until=5", "include_events=NONE&token=***&token=***&until=5"),
        ("%74oken=hidden", "%74oken=***"),
        ("token=", "token=***"),
        ("token", "token"),
        ("tokens=5&xtoken=5", "tokens=5&xtoken=5"),
    ],
)
def test_a_query_is_shown_without_its_tokens(query: str, shown: str) -> None:
    assert logs.redact(query) == shown


@given(st.lists(st.tuples(st.sampled_from(["token", "a", ""]), st.text("ab&=%7 ", max_size=5))))
def test_only_tokens_are_taken_out_of_a_query(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value.replace('&', '')}" for name, value in pairs)
    shown = logs.redact(query).split("&")
    expected = [f"{name}=***" if name == "token" else f"{name}={value.replace('&', '')}" for name, value in pairs]
    assert shown == (expected or [""])


@pytest.mark.parametrize(
    "text",
    [
        "no answer from postgresql://ann:hidden@db:5432/log",
        "no answer from postgresql://ann:hid@hidden@db/log?password=x",
        "GET http://here/status?include_events=NONE&token=hidden HTTP/1.1",
        "header Authorization: Bearer hidden.hidden.hidden",
        "amqp://:hidden@queue",
    ],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_passwords_tokens_and_credentials_are_taken_out_of_every_line(
    text: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings())
    structlog.get_logger(LOGGER).error("failed", cause=text)
    structlog.get_logger(LOGGER).error(text)
    logging.getLogger("sanic.error").error("failed: %s", text)
    try:
        int(text)
    except ValueError:
        logging.getLogger("sanic.error").exception("failed")
    assert len(stream.getvalue().splitlines()) >= 4
    assert "hidden" not in stream.getvalue()


def test_a_start_with_every_secret_logs_none_of_them(
    stream: Errors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("endpoints.yml").write_text(
        "tracker_store: {type: SQL, dialect: postgresql, url: db, username: ann, password: hidden-store}\n"
        "event_broker: {type: pika, url: h, username: ann, password: hidden-broker}\n"
        "models: {url: 'http://u:hidden-models@m/', token: hidden-models}\n"
    )
    settings = load(
        {"auth_token": ("hidden-token",), "jwt_secret": ("hidden-jwt",), "ssl_password": "hidden-ssl"},
        {"HOME": "/home/ann", "DATABASE_URL": "postgresql://ann:hidden-database@db/log?connect_timeout=1"},
    )
    logs.configure(settings.logs)
    logs.tell(settings.notices)
    structlog.get_logger(LOGGER).info(
        "starting", settings=settings, database=str(settings.database), auth=settings.auth
    )
    assert len(lines(stream)) > 5
    assert "hidden" not in stream.getvalue()


def test_lines_of_several_threads_are_whole(stream: Errors) -> None:
    logs.configure(LogSettings())
    logger = structlog.get_logger(LOGGER)
    threads = [threading.Thread(target=lambda: [logger.info("x" * 500) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 200
