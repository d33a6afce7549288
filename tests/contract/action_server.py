"""The servers around the recorded bot: the one that runs its actions, and the one to which its callback channel sends.

Both answer as those did that ran while the recordings were made.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]


class Around(Struct, frozen=True):
    """Where the servers listen."""

    actions: str
    callback: str


@contextmanager
def around_the_bot() -> Iterator[Around]:
    """The two servers for as long as the context lasts."""
    with _listening(_run) as actions, _listening(lambda _message: (200, {})) as callback:
        yield Around(f"{actions}/webhook", f"{callback}/bot")


def _run(call: Json) -> tuple[int, Json]:
    """What the action server answers."""
    match call["next_action"]:
        case "action_echo":
            return 200, _echo(call["tracker"]["latest_message"]["text"])
        case "action_rejects":
            return 400, {"error": "rejected by action server", "action_name": "action_rejects"}
        case action if action in _OLD_ACTIONS:
            return 200, _OLD_ACTIONS[action]
    return 500, {"error": "boom"}


def _did(*events: Json, said: tuple[Json, ...] = ()) -> Json:
    return {"events": list(events), "responses": list(said)}


_YES_OR_NO: Final = [{"title": "yes", "payload": "/affirm"}, {"title": "no", "payload": "/deny"}]
_CARD: Final = {"title": "card", "subtitle": "sub", "buttons": [{"title": "b", "payload": "/greet"}]}
_OLD_ACTIONS: Final = {  #: what those of the bots that speak the older protocol do; `give_info` fails
    "search_restaurants": _did(
        {"event": "slot", "name": "matches", "value": ["Papi's Pizza Place"]}, said=({"text": "here's what I found"},)
    ),
    "suggest": _did(
        said=(
            {"text": "Papi's Pizza Place"},
            {"attachment": "http://example.com/papi.png"},
            {"text": "is it ok?", "buttons": _YES_OR_NO},
        )
    ),
    "handoff_to_human": _did({"event": "pause"}, said=({"text": "a human will take over"},)),
    "chain": _did(said=({"elements": [_CARD]},)),
}


def _echo(text: str | None) -> Json:
    """Every kind of an answer's parts: an event, a message, and the name of a response with what fills it."""
    seen = {"seen": text, "n": [1, 2.5, None, True]}
    empty: Json = {"elements": [], "custom": {}, "image": None}
    said = {"text": f"echo: {text}", "buttons": [], **empty, "template": None, "response": None, "attachment": None}
    more = {"buttons": [{"title": "more", "payload": "/menu"}]}
    response = {"template": "utter_weather", "response": "utter_weather", "city": "Rome", "text": None, **more, **empty}
    return {
        "events": [{"event": "slot", "timestamp": None, "name": "anything", "value": seen}],
        "responses": [said, response],
    }


@contextmanager
def _listening(answer: Callable[[Json], tuple[int, Json]]) -> Iterator[str]:
    """A server of its own thread; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_said: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="around the bot")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
