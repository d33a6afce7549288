"""The `socketio` channel: chat widgets in web pages, connected by Socket.IO.

A page asks for a session (`session_request`), is told its id (`session_confirm`), sends what the user says
(`user_uttered`), and is sent what the bot says (`bot_uttered`). With `session_persistence` the session's id is the
conversation, and every page with that session hears; without, each connection is a conversation of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs

import socketio
import structlog
from msgspec import Struct
from sanic.response import json as json_response

import dialogue
from assistant.assistant import Message
from assistant.channels.output import Output, Said
from assistant.channels.socket_messages import socket_messages
from eventstore import StoreUnavailable, check_conversation_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sanic import HTTPResponse, Request

    from assistant.channels.elsewhere import Elsewhere
    from assistant.channels.socket_settings import SocketSettings

log = structlog.get_logger("turnlog.socketio")

NAME: Final = "socketio"
FINISH_SECONDS: Final = 5.0  #: that a stopping process gives to the answers under way


class Visitor(Struct, frozen=True):
    """Who is connected. `own` is the one conversation that they may use; None when they may use any."""

    own: str | None = None


class Guard(Protocol):
    """Decides who may connect."""

    def admit(self, token: str | None, query_token: str | None, authorization: str | None) -> Visitor | None:
        """The visitor, by the token of Socket.IO's `auth`, the one in the query, and a header; None: turned away."""


class Refused(Exception):
    """What a page sent makes no sense; the message says why."""


class Sockets(Output):
    """The connections of one process.

    `take` answers a message to an output, and raises what goes wrong; `failed` is called for each message that was
    not answered or not delivered. With `polls`, pages may use long polling as well: all requests of a connection then
    have to reach this process.
    """

    def __init__(
        self,
        settings: SocketSettings,
        guard: Guard,
        take: Callable[[Message, Output], Awaitable[object]],
        failed: Callable[[], None],
        *,
        polls: bool,
    ) -> None:
        self._settings, self._guard, self._take, self._failed = settings, guard, take, failed
        self._elsewhere: Elsewhere | None = None
        self._visitors: dict[str, Visitor] = {}
        self._answering: set[asyncio.Task[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        # CORS is the application's, for all its paths.
        self._server = socketio.AsyncServer(
            async_mode="sanic",
            cors_allowed_origins=[],
            transports=["polling", "websocket"] if polls else ["websocket"],
            logger=logging.getLogger("socketio"),
            engineio_logger=logging.getLogger("engineio"),
        )
        self._server.eio.start_background_task = self._start_task
        self._on("connect", self._connect)
        self._on("disconnect", self._disconnect)
        self._on("session_request", self._begin_session)
        self._on(settings.user_message_evt, self._hear)

    def _on(self, event: str, handler: Callable[..., Awaitable[object]]) -> None:
        self._server.on(event, handler, namespace=self._settings.namespace)

    def _start_task(self, work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, **named: Any) -> Any:
        """Start a task of the library's, which by itself keeps no hold of them."""
        task = asyncio.get_running_loop().create_task(work(*arguments, **named))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def attach(self, elsewhere: Elsewhere) -> None:
        """From now on, let other processes know what is said here."""
        self._elsewhere = elsewhere

    async def stop(self) -> None:
        """Let the answers under way arrive, then close all connections; the pages connect again, elsewhere."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=FINISH_SECONDS)
        for connection in list(self._server.eio.sockets.values()):
            await connection.close(wait=False)

    async def close(self) -> None:
        """End what the library still does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- requests ---

    async def handle(self, request: Request) -> HTTPResponse | None:
        """Serve a request to the path of the connections; None when it has become a connection, which has ended."""
        response: HTTPResponse = await self._server.handle_request(request)
        transport: Any = request.transport
        return None if getattr(transport.get_protocol(), "websocket", None) else response

    handle.is_websocket = True  # type: ignore[attr-defined]  # that Sanic takes None for an answer

    async def health(self, _request: Request) -> HTTPResponse:
        """The health check of the channel."""
        return json_response({"status": "ok"})

    # --- the bot's messages ---

    @property
    def name(self) -> str:
        """As in credentials.yml."""
        return NAME

    @property
    def is_remote(self) -> bool:
        """Messages arrive in the order of the turns."""
        return True

    def is_here(self, conversation: str) -> bool:
        """Whether a page of this conversation is connected to this process."""
        rooms: dict[Any, Any] = self._server.manager.rooms.get(self._settings.namespace, {})
        return conversation in rooms

    async def send(self, said: Said) -> None:
        """Let all pages of the conversation hear, in whatever process they are."""
        await self.send_here(said)
        if self._elsewhere is None or (self.is_here(said.conversation) and not self._settings.session_persistence):
            return
        try:
            await self._elsewhere.tell(said)
        except StoreUnavailable as error:
            log.error("other processes could not be told", conversation=said.conversation, reason=error.reason)
            self._failed()

    async def send_here(self, said: Said) -> None:
        """Let the pages hear that are connected to this process."""
        for event in said.events:
            for message in socket_messages(event):
                await self._emit(self._settings.bot_message_evt, message, said.conversation)

    async def _emit(self, event: str, value: Any, room: str) -> None:
        await self._server.emit(event, value, room=room, namespace=self._settings.namespace)

    # --- the pages' events ---

    async def _connect(self, connection: str, environ: dict[str, Any], auth: Any = None) -> bool:
        token = auth.get("token") if isinstance(auth, dict) else None
        in_query = parse_qs(environ.get("QUERY_STRING", "")).get("token", [None])[0]
        visitor = self._guard.admit(
            token if isinstance(token, str) else None, in_query, environ.get("HTTP_AUTHORIZATION")
        )
        if visitor is None:
            log.warning("a connection was refused", connection=connection)
            return False
        self._visitors[connection] = visitor
        return True

    async def _disconnect(self, connection: str, _reason: object = None) -> None:
        self._visitors.pop(connection, None)

    async def _begin_session(self, connection: str, data: Any = None) -> None:
        try:
            session = self._session(connection, data)
        except Refused as refusal:
            self._refuse(connection, refusal)
            return
        if self._settings.session_persistence:
            await self._enter(connection, session)
        await self._emit("session_confirm", session, connection)

    async def _hear(self, connection: str, data: Any = None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            await self._answer(connection, data)
        except Refused as refusal:
            self._refuse(connection, refusal)
        except Exception as error:
            log.error("a message could not be answered", connection=connection, reason=str(error), exc_info=error)
            self._failed()
        finally:
            self._answering.discard(task)

    async def _answer(self, connection: str, data: Any) -> None:
        message = self._message(connection, _checked(data))
        if self._settings.session_persistence:
            await self._enter(connection, message.conversation)
        await self._take(message, self)

    def _message(self, connection: str, data: dict[str, Any]) -> Message:
        text = data.get("message", "")
        if not isinstance(text, str):
            raise Refused(f"message must be text, is {repr(text)[:80]}")
        conversation = connection
        if self._settings.session_persistence:
            if not data.get("session_id"):
                raise Refused("it has no session_id; ask for one by session_request")
            conversation = self._session(connection, data)
        metadata = _metadata(data.get(self._settings.metadata_key))
        return Message(conversation=conversation, text=text.strip(), input_channel=NAME, metadata=metadata)

    def _session(self, connection: str, data: Any) -> str:
        """The session that a page names, or a new one."""
        own = self._visitors[connection].own
        given = data.get("session_id") if isinstance(data, dict) else None
        if given in (None, ""):
            return own or uuid.uuid4().hex
        session = str(given)
        if own not in (None, session):
            raise Refused("the session is somebody else's")
        try:
            check_conversation_id(session)
        except ValueError as error:
            raise Refused(f"invalid session_id: {error}") from None
        return session

    async def _enter(self, connection: str, session: str) -> None:
        if connection in self._visitors:  # it may be gone by now
            await self._server.enter_room(connection, session, namespace=self._settings.namespace)

    def _refuse(self, connection: str, refusal: Refused) -> None:
        log.warning("a page's event was refused", connection=connection, reason=str(refusal))
        self._failed()


def _checked(data: Any) -> dict[str, Any]:
    """A message with values that the log can hold."""
    try:
        data = dialogue.loads(json.dumps(data).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(f"a message must be JSON: {error}") from None
    if not isinstance(data, dict):
        raise Refused("a message must be an object")
    return data


def _metadata(given: Any) -> dict[str, Any]:
    """Metadata may be a text that holds JSON."""
    try:
        metadata = dialogue.loads(given.encode()) if isinstance(given, str) and given else given or {}
    except ValueError as error:
        raise Refused(f"metadata is no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise Refused(f"metadata must be an object, is {repr(metadata)[:80]}")
    return metadata
