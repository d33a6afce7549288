"""credentials.yml: the channels of a service, each with what it has to know."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.auth import JWT_METHODS, InvalidKey, check_key
from api.sections import Document, Section, kind_of, secret
from assistant.channels.custom import InputChannel
from assistant.channels.socket_settings import SocketSettings
from assistant.endpoint import Endpoint
from dialogue.yaml12 import InvalidYaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_FILE: Final = "credentials.yml"
REST: Final = "rest"
CALLBACK: Final = "callback"
SOCKETIO: Final = "socketio"
IGNORED: Final = "rasa"  #: stands in the file of every new project of Rasa, for a server that no longer exists

_RASA_ONLY: Final = frozenset(
    {
        "botframework", "cmdline", "facebook", "hangouts", "mattermost", "rocketchat", "slack", "telegram", "twilio",
        "twilio_voice", "webexteams",
    }
)  # fmt: skip
_OWN: Final = "write it as a channel of your own, and name its class by its dotted path"
_UNKNOWN: Final = (
    "Failed to find input channel class for '{name}'. Unknown input channel. Check your credentials configuration to "
    "make sure the mentioned channel is not misspelled. If you are creating your own channel, make sure it is a proper "
    "name of a class in a module."
)


class CustomChannel(msgspec.Struct, frozen=True):
    """A channel by the dotted path of its class, and its section."""

    path: str
    section: dict[str, Any] | None

    def __repr__(self) -> str:
        """Only the path: sections hold secrets."""
        return f"CustomChannel({self.path})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("path", self.path)]

    def load(self) -> InputChannel:
        """The channel. Its class has been found before; what it raises is its own."""
        return class_of(self.path).from_credentials(self.section)


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The channels to start.

    Attributes:
        rest: whether the channel `rest` is one of them.
        callback: where the channel `callback` posts to; None without it.
        socketio: the channel `socketio`; None without it.
        custom: channels of the user's own.
        ignored: names of sections without a meaning here.
    """

    rest: bool = False
    callback: Endpoint | None = None
    socketio: SocketSettings | None = None
    custom: tuple[CustomChannel, ...] = ()
    ignored: tuple[str, ...] = ()


class InvalidCredentials(ValueError):
    """The channels can't be started; `faults` holds a line for each reason, naming file, line and key."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load(path: Path, connector: str | None, environ: Mapping[str, str]) -> Credentials:
    """Read the file, with variables from `environ`. With a `connector`, that one's section counts alone.

    Raises:
        InvalidCredentials: it is not readable, not YAML, or a section is not what it should be.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path), connector, environ)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCredentials([f"{path}: {error}"]) from error


def parse(text: str, file: str, connector: str | None, environ: Mapping[str, str]) -> Credentials:
    """The channels in a YAML text; `file` names it in messages.

    Raises:
        InvalidCredentials: it is not YAML, or a section is not what it should be.
    """
    try:
        document = Document(text, file, environ)
    except InvalidYaml as error:
        raise InvalidCredentials([str(error)]) from error
    sections = document.sections()
    if connector is not None:
        sections = {connector: sections.get(connector)}
    credentials = _Reader(document, sections).credentials()
    if document.faults:
        raise InvalidCredentials(document.faults)
    return credentials


def class_of(path: str) -> type[InputChannel]:
    """A class by its dotted path, looked for in the working directory too, as Rasa does.

    Raises:
        ImportError, AttributeError: there is no such thing.
        TypeError: it is no channel.
        Exception: whatever its module raises.
    """
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds texts
        sys.path.append(os.getcwd())  # noqa: PTH109
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, InputChannel)):
        raise TypeError("it is no subclass of assistant.channels.custom.InputChannel")
    return found


class _Reader:
    """Reads the sections of one file."""

    def __init__(self, document: Document, sections: dict[Any, Any]) -> None:
        self._document, self._sections = document, sections

    def credentials(self) -> Credentials:
        names = [str(name) for name in self._sections]
        custom = [self._custom(name) for name in names if name not in (REST, CALLBACK, SOCKETIO, IGNORED)]
        return Credentials(
            rest=REST in names,
            callback=self._callback() if CALLBACK in names else None,
            socketio=self._socketio() if SOCKETIO in names else None,
            custom=tuple(channel for channel in custom if channel is not None),
            ignored=(IGNORED,) if IGNORED in names else (),
        )

    def _section(self, name: str) -> Section:
        return self._document.section(self._sections, name) or Section(self._document, (name,), {})

    def _callback(self) -> Endpoint:
        endpoint = self._section(CALLBACK).endpoint()
        if not endpoint.url:
            self._document.fault((CALLBACK,), "needs a `url`, to which the bot's messages are posted")
        return endpoint

    def _socketio(self) -> SocketSettings:
        section, default = self._section(SOCKETIO), SocketSettings()
        namespace, path = section.text("namespace") or "/", section.text("socketio_path") or default.socketio_path
        settings = SocketSettings(
            user_message_evt=section.text("user_message_evt") or default.user_message_evt,
            bot_message_evt=section.text("bot_message_evt") or default.bot_message_evt,
            namespace="/" + namespace.lstrip("/"),
            session_persistence=section.truth("session_persistence"),
            socketio_path="/" + path.strip("/"),
            jwt_key=secret(section.text("jwt_key")),
            jwt_method=section.text("jwt_method") or default.jwt_method,
            metadata_key=section.text("metadata_key") or default.metadata_key,
        )
        _check_jwt(section, settings)
        return settings

    def _custom(self, name: str) -> CustomChannel | None:
        sentence = self._fault_of_name(name)
        if sentence is not None:
            self._document.fault((name,), sentence)
            return None
        given = self._sections[name]
        if not (given is None or isinstance(given, dict)):
            self._document.fault((name,), f"must be a mapping, is {kind_of(given)}")
            return None
        return CustomChannel(name, given)

    def _fault_of_name(self, name: str) -> str | None:
        if name in _RASA_ONLY:
            return f"Rasa's channel {name!r} is not there; take this section out, or {_OWN}"
        if not all(part.isidentifier() for part in name.split(".")) or "." not in name:
            return f"{_UNKNOWN.format(name=name)} There are rest, callback and socketio; for others, {_OWN}"
        try:
            class_of(name)
        except Exception as error:  # noqa: BLE001 - a module of somebody else's may fail in any way
            return f"{_UNKNOWN.format(name=name)} ({type(error).__name__}: {error}){_hint(error)}"
        return None


def _hint(error: Exception) -> str:
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "rasa":
        return " Rasa's own modules are not here: import from assistant.channels.custom what it takes from them"
    return ""


def _check_jwt(section: Section, settings: SocketSettings) -> None:
    if settings.jwt_method not in JWT_METHODS:
        section.fault("jwt_method", f"must be one of {', '.join(JWT_METHODS)}, is {settings.jwt_method!r}")
    elif settings.jwt_key is not None:
        try:
            check_key(settings.jwt_method, settings.jwt_key.value)
        except InvalidKey as error:
            section.fault("jwt_key", str(error))
