"""What the `socketio` channel can be told."""

from __future__ import annotations

from msgspec import Struct

from assistant.secret import Secret


class SocketSettings(Struct, frozen=True, kw_only=True):
    """The channel as credentials.yml describes it.

    Attributes:
        user_message_evt: the event that brings what the user says.
        bot_message_evt: the event that brings what the bot says.
        namespace: of Socket.IO, in which all events are.
        session_persistence: whether the session's id is the conversation's, and not the connection's.
        socketio_path: the path of the connections.
        jwt_key: who connects shows a JWT that this key signs, as `token` of Socket.IO's `auth`.
        jwt_method: the algorithm of these JWTs.
        metadata_key: where a message of the user has its metadata.
    """

    user_message_evt: str = "user_uttered"
    bot_message_evt: str = "bot_uttered"
    namespace: str = "/"
    session_persistence: bool = False
    socketio_path: str = "/socket.io"
    jwt_key: Secret | None = None
    jwt_method: str = "HS256"
    metadata_key: str = "metadata"
