"""The form in which an event reaches a broker: Rasa's body, and headers of ours."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from brokers.publisher import Message
from dialogue.json import dumps
from dialogue.text import storable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from brokers.publisher import Header
    from eventstore.feed import FeedEvent

LONGEST_TYPE: Final = 200  #: characters of a type in headers


def messages_of(events: Iterable[FeedEvent], log: UUID) -> list[Message]:
    """The messages of events."""
    text = str(log)
    return [_message(event, text, None) for event in events]


def message_of(event: FeedEvent, log: UUID, *, replay: str | None = None) -> Message:
    """The message of an event; `replay` is the id of the replay that sends it again."""
    return _message(event, str(log), replay)


def stub_of(message: Message, timestamp: float) -> Message:
    """What stands in for a message that is too large for its broker: an event of the same type, without its content."""
    metadata = {"turnlog_parked": {"position": message.position, "bytes": len(message.body)}}
    body = {
        "sender_id": message.conversation,
        "event": message.type,
        "timestamp": timestamp,
        "metadata": metadata,
    }
    return replace(message, body=dumps(body).encode("ascii"), more=(*message.more, ("turnlog-parked", True)))


def _message(event: FeedEvent, log: str, replay: str | None) -> Message:
    """The body is the event's own JSON with `sender_id` in front: the bytes that the log holds are not made anew."""
    conversation, prefix = _sender(event.conversation)
    more: tuple[tuple[str, Header], ...] = ()
    if event.imported:
        more = (("turnlog-imported", True),)
    if replay is not None:
        more = (*more, ("turnlog-replay", replay))
    body = prefix + event.body[1:].encode("ascii")
    return Message(log, event.position, conversation, event.version, event.generation, _type(event.type), body, more)


@lru_cache(maxsize=10_000)
def _sender(conversation: str) -> tuple[str, bytes]:
    """A conversation's id as headers and keys take it, and the beginning of its bodies."""
    return storable(conversation), f'{{"sender_id":{dumps(conversation)},'.encode("ascii")


@lru_cache(maxsize=1_000)
def _type(name: str) -> str:
    """A type as headers take it; clients may post any."""
    return storable(name)[:LONGEST_TYPE]
