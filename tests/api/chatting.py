"""What the tests of the channels share: a bot, a channel of its own, and a page that is connected by Socket.IO."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import socketio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECONDS: Final = 30.0  #: after which what has not come never will

DOMAIN: Final = """
version: "3.1"
intents: [greet, menu, show]
responses:
  utter_greet: [{text: "hello\\n\\nhow are you?"}]
  utter_menu:
  - text: "all of it"
  - text: "first\\n\\nchoose"
    channel: socketio
    buttons: [{title: "yes", payload: /yes}, {title: "no"}]
    image: http://example.com/menu.png
  utter_show:
  - custom: {data: {a: 1}}
    attachment: {type: video}
    elements: [{title: one}, {title: two}]
"""
RULES: Final = """
version: "3.1"
rules:
- rule: greet
  steps: [{intent: greet}, {action: utter_greet}]
- rule: menu
  steps: [{intent: menu}, {action: utter_menu}]
- rule: show
  steps: [{intent: show}, {action: utter_show}]
"""
CHANNEL: Final = '''
"""A channel as Rasa's documents teach to write one, but for the line that imports what it is made of."""

import inspect

from assistant.channels.custom import CollectingOutputChannel, InputChannel, OutputChannel, UserMessage
from sanic import Blueprint, response


class Paper(OutputChannel):
    printed = []

    @classmethod
    def name(cls):
        return "paper"

    async def send_text_message(self, recipient_id, text, **kwargs):
        if text == "all of it":
            raise RuntimeError("out of paper")
        self.printed.append(f"{recipient_id}: {text}")


class Typed(InputChannel):
    def __init__(self, greeting):
        self.greeting = greeting

    @classmethod
    def name(cls):
        return "typed"

    @classmethod
    def from_credentials(cls, credentials):
        return cls(credentials["greeting"])

    def get_output_channel(self):
        return Paper()

    def blueprint(self, on_new_message):
        routes = Blueprint(f"typed_{type(self).__name__}", inspect.getmodule(self).__name__)

        @routes.route("/", methods=["GET"])
        async def health(request):
            return response.json({"status": self.greeting})

        @routes.route("/webhook", methods=["POST"])
        async def receive(request):
            collector = CollectingOutputChannel()
            metadata = {"lines": 1}
            await on_new_message(
                UserMessage(
                    request.json["text"], collector, request.json["who"], input_channel=self.name(), metadata=metadata
                )
            )
            return response.json(collector.messages)

        @routes.route("/print", methods=["POST"])
        async def print_it(request):
            await on_new_message(UserMessage(request.json["text"], Paper(), request.json["who"]))
            return response.json(Paper.printed)

        return routes
'''


def write_bot(folder: Path) -> None:
    """The project of the bot."""
    (folder / "data").mkdir(parents=True)
    (folder / "domain.yml").write_text(DOMAIN)
    (folder / "data" / "rules.yml").write_text(RULES)
    (folder / "config.yml").write_text("policies: [{name: RulePolicy}]")


class Page:
    """A page with a chat widget. `said` is what the bot said to it so far and was not looked at."""

    def __init__(self, client: socketio.AsyncClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._sessions: asyncio.Queue[str] = asyncio.Queue()
        self._left = asyncio.Event()
        client.on("disconnect", lambda *_reason: self._left.set(), namespace=namespace)
        client.on("bot_uttered", self._said.put_nowait, namespace=namespace)
        client.on("session_confirm", self._sessions.put_nowait, namespace=namespace)

    async def session(self, wanted: str | None = None) -> str:
        """The session that it gets when it asks for one."""
        await self._client.emit("session_request", {"session_id": wanted}, namespace=self._namespace)
        return await asyncio.wait_for(self._sessions.get(), SECONDS)

    async def say(self, message: object, session: str | None = None, **more: object) -> None:
        """Send a message of the user."""
        data = {"message": message, "session_id": session, **more}
        await self._client.emit("user_uttered", data, namespace=self._namespace)

    async def hears(self, count: int) -> list[Any]:
        """The next messages of the bot."""
        return [await asyncio.wait_for(self._said.get(), SECONDS) for _ in range(count)]

    async def is_left(self) -> None:
        """Return when the service has ended the connection."""
        await asyncio.wait_for(self._left.wait(), SECONDS)


@asynccontextmanager
async def page(
    port: int,
    transport: str = "websocket",
    namespace: str = "/",
    query: str = "",
    auth: object = None,
    path: str = "socket.io",
) -> AsyncIterator[Page]:
    """A page that is connected; raises socketio.exceptions.ConnectionError when it is turned away."""
    client = socketio.AsyncClient(reconnection=False)
    page = Page(client, namespace)
    address = f"http://127.0.0.1:{port}{query}"
    try:
        await client.connect(address, auth=auth, transports=[transport], namespaces=[namespace], socketio_path=path)
        yield page
    finally:
        await client.disconnect()
