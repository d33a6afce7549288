"""credentials.yml: which channels are started, and every fault with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.credentials import Credentials, InvalidCredentials, parse
from assistant.channels.socket_settings import SocketSettings
from assistant.secret import Secret
from tests.api.chatting import CHANNEL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_channels.py").write_text(CHANNEL + "\nNothing = 5\n")
    (tmp_path / "ported_halfway.py").write_text("from rasa.core.channels.channel import InputChannel\n")
    return tmp_path


def read(text: str, connector: str | None = None, **environ: str) -> Credentials:
    return parse(text, "credentials.yml", connector, environ)


def faults(text: str, connector: str | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidCredentials) as caught:
        read(text, connector)
    return caught.value.faults


def test_a_file_that_says_nothing_has_no_channels() -> None:
    assert read("") == Credentials()


def test_rest_needs_no_settings() -> None:
    assert read("rest:").rest


def test_callback_is_an_endpoint_with_variables() -> None:
    callback = read("callback: {url: 'http://${HOST}/bot', token: t}", HOST="bots").callback
    assert callback is not None
    assert (callback.url, callback.token) == ("http://bots/bot", Secret("t"))


def test_socketio_has_rasas_keys_and_defaults() -> None:
    assert read("socketio:").socketio == SocketSettings()
    given = """
socketio:
  user_message_evt: said
  bot_message_evt: answered
  namespace: chat
  session_persistence: "True"
  socketio_path: /live/
  jwt_key: a-key-that-is-long-enough-for-hs512
  jwt_method: HS512
  metadata_key: customData
"""
    assert read(given).socketio == SocketSettings(
        user_message_evt="said",
        bot_message_evt="answered",
        namespace="/chat",
        session_persistence=True,
        socketio_path="/live",
        jwt_key=Secret("a-key-that-is-long-enough-for-hs512"),
        jwt_method="HS512",
        metadata_key="customData",
    )


def test_a_class_is_found_in_the_working_directory() -> None:
    (channel,) = read("own_channels.Typed: {greeting: hi}").custom
    loaded: Any = channel.load()
    assert (loaded.name(), loaded.greeting) == ("typed", "hi")
    assert "hi" not in repr(channel)


def test_the_channel_of_rasas_own_server_is_ignored() -> None:
    """It stands in the file of every new project."""
    credentials = read('rest:\nrasa:\n  url: "http://localhost:5002/api"\n')
    assert (credentials.rest, credentials.ignored) == (True, ("rasa",))


def test_a_connector_leaves_the_others_out() -> None:
    text = "rest:\ncallback: {url: http://a}\nslack: {slack_token: t}\n"
    assert read(text, "callback") == Credentials(callback=read(text, "callback").callback)
    assert read(text, "rest") == Credentials(rest=True)


def test_all_faults_are_told_at_once_with_their_lines(folder: Path) -> None:
    text = """\
callback:
socketio:
  session_persistence: maybe
  jwt_method: none
slack:
  slack_token: t
own_channels.Typed: greeting
own_channels.Nothing:
reset:
"""
    found = faults(text)
    assert sorted(fault.partition(": ")[0] for fault in found) == [
        f"credentials.yml:{line}" for line in (1, 3, 4, 5, 7, 8, 9)
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("slack", "Rasa's channel 'slack' is not there"),
        ("reset", "Failed to find input channel class for 'reset'. Unknown input channel. Check your credentials"),
        ("own_channels.Typo", "no attribute 'Typo'"),
        ("own_channels.Nothing", "no subclass of assistant.channels.custom.InputChannel"),
        ("ported_halfway.It", "import from assistant.channels.custom"),
    ],
)
def test_a_fault_says_what_to_do(name: str, told: str) -> None:
    (fault,) = faults(f"{name}:")
    assert told in fault


def test_a_connector_without_its_section_lacks_its_address() -> None:
    assert "needs a `url`" in faults("rest:", "callback")[0]
