"""`/conversations/<id>/tracker`, its events and its story."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from sanic.response import HTTPResponse

import dialogue
from api import requests
from api.endpoint import json_response
from api.errors import BadRequest, ConversationNotFound, TooManyEvents, VersionNotFound
from api.side_effects import append_with_side_effects, output_of
from assistant import Terms
from dialogue import TrackerReplaced, decode_posted, session_start, stamp, starts_session
from dialogue.text import storable
from projections import Verbosity, View, Window, Write, session_begin, tracker_document, written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sanic import Request

    from api.service import Service
    from assistant import Output
    from dialogue import Event
    from eventstore import Appended

NO_BODY: Final = b"null"  #: what Rasa takes an empty body for: its complaint is one about events


async def get_tracker(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """The state of a conversation, with its whole history.

    An unknown conversation is shown as it would begin: with a session start, which is neither stored nor published.
    """
    verbosity = requests.verbosity(request)
    view = await chosen_view(service, request, conversation)
    if view is None or view.is_empty:
        begun = as_if_begun(service, conversation)
        return json_response(await tracker_document(service.trackers, begun, verbosity))
    etag = service.etag(view.version)
    if requests.is_not_modified(request, etag):
        return HTTPResponse(status=304, headers={"ETag": etag})
    until = requests.until(request)
    if until is not None:
        view = await service.trackers.until(view, until)
    return json_response(await tracker_document(service.trackers, view, verbosity), headers={"ETag": etag})


async def post_events(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Append one event or a list of them; a conversation without events gets a session start in front."""
    now = time.time()
    events = _posted(request, now)
    verbosity = requests.verbosity(request)
    if not events:
        raise BadRequest("Couldn't extract a proper event from the request body.", "", "body")
    output = await output_for_side_effects(service, request, conversation)
    opening = None if starts_session(events) else partial(_opening, service, min(now, events[0].timestamp))
    events = [stamp(event, service.marks) for event in events]
    return await _append(service, verbosity, write_of(request, conversation, events, opening), output)


async def put_events(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Replace a conversation: what was before stays in the log and shows no more."""
    now = time.time()
    events = [TrackerReplaced(timestamp=now, metadata={}), *_posted(request, now)]
    verbosity = requests.verbosity(request)
    return await _append(service, verbosity, write_of(request, conversation, events, None, replaces=True))


async def get_story(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """The latest session as a story in YAML; every session with `all_sessions`."""
    view = await service.trackers.current(conversation)
    if view is None:
        raise ConversationNotFound
    all_sessions = requests.truth(request, "all_sessions")
    after = view.tracker.generation_version if all_sessions else session_begin(view.tracker)
    window = await service.trackers.window(view, after)
    events = [event for _, event in window.events(after, view.version)]
    text = dialogue.story(conversation, events, all_sessions=all_sessions, time=requests.until(request))
    return HTTPResponse(text, content_type="text/plain; charset=utf-8")


def _posted(request: Request, now: float) -> list[Event]:
    events = decode_posted(request.body or NO_BODY, now)
    if len(events) > requests.MAX_EVENTS:
        raise TooManyEvents(requests.MAX_EVENTS, len(events))
    return events


async def output_for_side_effects(service: Service, request: Request, conversation: str) -> Output | None:
    """Where messages go; None when nothing but the append is wanted. Raises NoModel without an assistant."""
    if not requests.truth(request, "execute_side_effects"):
        return None
    service.assistant()
    return await output_of(service, request, conversation)


async def _append(
    service: Service, verbosity: Verbosity, write: Write, side_effects_to: Output | None = None
) -> HTTPResponse:
    view, appended = await append(service, write, side_effects_to)
    headers = headers_of(service.etag(view.version), repeated=appended.repeated)
    with written():
        after = 0 if write.replaces else await shown_after(service, view, appended.base)
        return json_response(await tracker_document(service.trackers, view, verbosity, after), headers=headers)


async def append(service: Service, write: Write, side_effects_to: Output | None) -> tuple[View, Appended]:
    """Append events, and bring about what follows from them outside of the log where somebody asks for it.

    Raises as Trackers.append.
    """
    if side_effects_to is None:
        view, appended = await service.trackers.append(write)
    else:
        view, appended = await service.uninterrupted(append_with_side_effects(service, write, side_effects_to))
    if not appended.repeated:
        service.hint.send()
    return view, appended


def headers_of(etag: str, *, repeated: bool) -> dict[str, str]:
    """The headers of the answer to a write."""
    return {"ETag": etag, "Idempotency-Replayed": "true"} if repeated else {"ETag": etag}


async def shown_after(service: Service, view: View, base: int) -> int:
    """The version after which the answer to a write begins: with the session that was current when it came, at `base`.

    So does Rasa: it loads that session, and new events come behind it, also those that begin a session of their own.
    """
    if view.tracker.session_version <= base or base <= view.tracker.generation_version:
        return session_begin(view.tracker)
    before = await service.trackers.at_version(view.conversation, base)
    return session_begin(before.tracker) if before else 0


def write_of(
    request: Request,
    conversation: str,
    events: Sequence[Event],
    opening: Callable[[], Sequence[Event]] | None,
    *,
    replaces: bool = False,
) -> Write:
    """Events to append to a conversation, on the terms of the request. Raises BadRequest as `terms_of`."""
    terms = terms_of(request)
    return Write(
        conversation=conversation,
        events=events,
        opening=opening,
        expected=terms.expected,
        key=terms.key,
        fingerprint=terms.fingerprint,
        replaces=replaces,
        actor=terms.actor,
        request_id=terms.request_id,
    )


def terms_of(request: Request) -> Terms:
    """What a request demands of its write, by `If-Match` and `Idempotency-Key`, and who sends it.

    Raises:
        BadRequest: a header can't be understood.
    """
    key = requests.idempotency_key(request)
    return Terms(
        key=key,
        fingerprint=None if key is None else requests.fingerprint(request),
        expected=requests.expected_version(request),
        actor=_actor(request),
        request_id=request.ctx.request_id,
    )


def _actor(request: Request) -> str | None:
    """Who writes, as a column holds it: a JWT may name its user by any text."""
    username: str | None = request.ctx.identity.username
    return None if username is None else storable(username)


def _opening(service: Service, timestamp: float) -> Sequence[Event]:
    return session_start(timestamp, service.marks)


def as_if_begun(service: Service, conversation: str) -> View:
    """What the conversation would be right after its first session start."""
    window = Window(1)
    events = session_start(time.time(), service.marks)
    for event in events:
        window.add(event.type, dialogue.encode(event))
    domain = service.trackers.domain
    return View(conversation, dialogue.fold(dialogue.initial(domain), events, domain, ()), window)


async def chosen_view(service: Service, request: Request, conversation: str) -> View | None:
    """The conversation now, or as `version` or `at` say."""
    version = requests.whole(request, "version")
    time_text = requests.query(request, "at")
    if version is not None:
        view = await service.trackers.at_version(conversation, version)
        if view is None:
            raise VersionNotFound(version)
        return view
    if time_text is not None:
        return await service.trackers.at_time(conversation, requests.moment(time_text, "at"))
    return await service.trackers.current(conversation)
