"""What Rasa does not have: the log itself, and the index of conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import asdict

from api import requests
from api.endpoint import json_response
from api.errors import BadRequest, ConversationNotFound, NotReady
from dialogue.json import dumps
from projections import conversations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sanic import HTTPResponse, Request

    from api.service import Service
    from eventstore import RecordedEvent
    from projections.conversations import Conversation

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000


async def get_events(service: Service, request: Request) -> HTTPResponse:
    """Events of the whole log in order, after a position. Positions are dense: none is ever missing."""
    after = requests.whole(request, "after", 0) or 0
    limit = _limit(request)
    events = await service.store.read.positions(after, limit)
    return json_response(_page(events, events[-1].position if len(events) == limit else None))


async def get_conversation_events(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Events of one conversation in order, after a version, over all its generations."""
    after = requests.whole(request, "after", 0) or 0
    limit = _limit(request)
    head = await service.store.read.head(conversation)
    if head is None:
        raise ConversationNotFound
    upto = max(after, min(head.version, after + limit))
    events = await service.store.read.conversation(conversation, head, after, upto)
    return json_response(_page(events, upto if upto < head.version else None))


async def get_conversations(service: Service, request: Request) -> HTTPResponse:
    """The index of conversations."""
    since = requests.query(request, "active_since")
    try:
        page = await conversations.page(
            service.store,
            active_since=None if since is None else requests.moment(since, "active_since"),
            channel=requests.query(request, "channel"),
            intent=requests.query(request, "intent"),
            after=requests.query(request, "after"),
            limit=_limit(request),
        )
    except conversations.InvalidQuery as error:
        raise BadRequest(str(error), "after", "query") from None
    except conversations.NotBuilt as error:
        raise NotReady(str(error)) from None
    return json_response(dumps({"conversations": [_row(row) for row in page.conversations], "after": page.after}))


def _row(conversation: Conversation) -> dict[str, Any]:
    return asdict(conversation) | {
        "first_seen": conversation.first_seen.isoformat(),
        "last_activity": conversation.last_activity.isoformat(),
    }


def _limit(request: Request) -> int:
    return requests.whole(request, "limit", DEFAULT_LIMIT, low=1, high=MAX_LIMIT) or DEFAULT_LIMIT


def _page(events: Sequence[RecordedEvent], after: int | None) -> str:
    """A page of events as JSON; each event's own JSON goes in as it is stored."""
    texts = [
        f'{{"position":{event.position},"conversation":{dumps(event.conversation)},"version":{event.version},'
        f'"schema_version":{event.schema_version},"event":{event.body}}}'
        for event in events
    ]
    return f'{{"events":[{",".join(texts)}],"after":{"null" if after is None else after}}}'
