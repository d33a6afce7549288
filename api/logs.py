"""Log lines: for people on a terminal, one JSON object each everywhere else.

Every line has `time` (UTC), `level`, `logger` and `event`; what an event has besides are fields of their own. Lines of
libraries, which use Python's `logging`, look the same. Passwords in URLs, tokens in queries and credentials of HTTP
headers are taken out of every line, whoever wrote it.
"""

from __future__ import annotations

import logging
import logging.config
import re
import socket
import sys
import time
from logging.handlers import SysLogHandler, WatchedFileHandler
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import structlog

from dialogue import yaml12

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict, Processor, WrappedLogger

    from api.settings import LogSettings, Notice, Syslog

OURS: Final = "turnlog"
SYSLOG_TIMEOUT_SECONDS: Final = 1.0
SYSLOG_PAUSE_SECONDS: Final = 30.0

_FIRST: Final = ("time", "level", "logger", "event")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/?#]*:[^\s]*@")
_QUERY: Final = re.compile(r"(?<=\?)[^\s\"'#]+")
_HEADER: Final = re.compile(r"(?i)(?<=\bbearer )[^\s\"',]+")


class InvalidLogging(ValueError):
    """A place for log lines can't be used; the message names the setting and the reason."""


def configure(settings: LogSettings) -> None:
    """Send the log lines of this process where `settings` say; a second call replaces the first.

    Raises:
        InvalidLogging: the log file can't be opened, the syslog server not be reached, or the configuration is wrong.
    """
    if settings.config is None:
        _install(_handlers(settings), settings)
        renderer: Processor = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
    else:
        _install_file(settings.config)
        renderer = structlog.processors.KeyValueRenderer(key_order=["event"])
    # Requests are logged by the API itself: Sanic's own lines would show tokens.
    logging.getLogger("sanic.access").disabled = True
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, *_shared(), renderer],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def reopen() -> None:
    """Open the log file again if it was moved away: for SIGHUP, so that it can be rotated."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, WatchedFileHandler):
            handler.reopenIfNeeded()


def tell(notices: tuple[Notice, ...]) -> None:
    """Log what the settings have to say."""
    logger = structlog.get_logger("turnlog.settings")
    for notice in notices:
        logger.log(logging.WARNING if notice.level == "warning" else logging.INFO, notice.text)


def redact(query: str) -> str:
    """A URL's query without the values of its `token` parameters, however their name is written."""
    return "&".join(_without_token(pair) for pair in query.split("&"))


def _without_token(pair: str) -> str:
    name, separator, _ = pair.partition("=")
    return f"{name}=***" if separator and unquote_plus(name) == "token" else pair


def _install(handlers: list[logging.Handler], settings: LogSettings) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(settings.libraries)
    logging.getLogger(OURS).setLevel(settings.level)


def _install_file(path: Path) -> None:
    try:
        logging.config.dictConfig(yaml12.load(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InvalidLogging(f"--logging-config-file: {path}: {error}") from error


def _handlers(settings: LogSettings) -> list[logging.Handler]:
    people = sys.stderr.isatty() and not settings.json
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(_formatter(_for_people() if people else _as_json()))
    if settings.file is not None:
        handlers.append(_file(settings.file))
    if settings.syslog is not None:
        handlers.append(_syslog(settings.syslog))
    return handlers


def _file(path: Path) -> logging.Handler:
    try:
        handler = WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InvalidLogging(f"--log-file: {path}: {error.strerror}") from error
    handler.setFormatter(_formatter(_as_json()))
    return handler


def _syslog(settings: Syslog) -> logging.Handler:
    try:
        handler = _SyslogHandler(settings)
    except OSError as error:
        place = f"{settings.address}:{settings.port} ({settings.protocol})"
        raise InvalidLogging(f"--syslog-address: {place}: {error.strerror or error}") from error
    handler.setFormatter(_formatter(_as_json()))
    return handler


class _SyslogHandler(SysLogHandler):
    """Python's handler, but a server that hangs or is gone costs a second each half minute, not one with each line."""

    ident = "turnlog: "

    def __init__(self, settings: Syslog) -> None:
        self._silent_until = 0.0
        self._place = (settings.address, settings.port)
        self.unixsocket = False
        kind = socket.SOCK_STREAM if settings.protocol == "TCP" else socket.SOCK_DGRAM
        super().__init__(self._place, socktype=kind)
        self.append_nul = False

    def createSocket(self) -> None:  # noqa: N802 - the name in the base class
        if self.socktype == socket.SOCK_STREAM:
            self.socket = socket.create_connection(self._place, timeout=SYSLOG_TIMEOUT_SECONDS)
        else:
            super().createSocket()

    def format(self, record: logging.LogRecord) -> str:
        """TCP has no messages: there a line's end ends one."""
        return super().format(record) + ("\n" if self.socktype == socket.SOCK_STREAM else "")

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._silent_until:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in the base class
        self._silent_until = time.monotonic() + SYSLOG_PAUSE_SECONDS
        structlog.get_logger(f"{OURS}.logs").warning(
            "the syslog server takes no lines",
            address=self._place,
            error=str(sys.exception()),
            again_in=SYSLOG_PAUSE_SECONDS,
        )


def _formatter(renderers: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted, *renderers],
    )


def _shared() -> list[Processor]:
    """What makes the fields that every line has, for lines of ours and of libraries."""
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _as_json() -> list[Processor]:
    return [_in_order, structlog.processors.JSONRenderer(default=str)]


def _for_people() -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=structlog.dev.plain_traceback)]


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: event[name] for name in _FIRST if name in event} | dict(event)


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _without_secrets(value) for name, value in event.items()}


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = _CREDENTIALS.sub("***@", value)
    value = _QUERY.sub(lambda match: redact(match.group()), value)
    return _HEADER.sub("***", value)
