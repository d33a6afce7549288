"""Trackers and their events as rasa_core 0.9 shows them and takes them, where that protocol is asked for."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from sanic.response import HTTPResponse

from api import older, requests
from api.older import OlderError
from api.resources import tracker
from api.resources.tracker import append, as_if_begun, chosen_view, headers_of, output_for_side_effects, write_of
from dialogue import ACTION_LISTEN, ActionExecuted, TrackerReplaced, stamp
from eventstore import WrongExpectedVersion
from projections import View, Write, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sanic import Request

    from api.service import Service
    from dialogue import Event

PARAMETERS: Final = frozenset(("events", "ignore_restarts"))  #: who gives one of them speaks 0.9


async def get_tracker(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """The state of a conversation: of today, or of 0.9.

    In the protocol 0.9 an unknown conversation is begun by it; in the one of today nothing is written.
    """
    given = requests.all_given(request)
    if not _is_older(service) and PARAMETERS.isdisjoint(given):
        return await tracker.get_tracker(service, request, conversation)
    moment = _moment(given["until"]) if "until" in given else math.inf
    view = await _view(service, request, conversation)
    if view is None:
        return await _shown(service, as_if_begun(service, conversation), given, {})
    etag = older.etag(service, view.version)
    if requests.is_not_modified(request, etag):
        return HTTPResponse(status=304, headers={"ETag": etag})
    return await _shown(service, await service.trackers.until(view, moment), given, {"ETag": etag})


async def post_events(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Append events. In the protocol 0.9 a new conversation begins with the bot listening."""
    if not _is_older(service):
        return await tracker.post_events(service, request, conversation)
    events = _posted(service, request)
    if not events:
        view = await _begun(service, conversation)
        headers = {"ETag": older.etag(service, view.version)}
    else:
        output = await output_for_side_effects(service, request, conversation)
        is_new = await service.trackers.current(conversation) is None  # one that was emptied is not begun again
        write = write_of(request, conversation, events, partial(_opening, service) if is_new else None)
        view, appended = await append(service, write, output)
        headers = headers_of(older.etag(service, view.version), repeated=appended.repeated)
    return older.answer(older.state(view.tracker, conversation, service.trackers.domain), headers)


async def put_tracker(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Replace a conversation: what was before stays in the log and shows no more."""
    events = [TrackerReplaced(timestamp=time.time(), metadata={}), *_posted(service, request)]
    view, appended = await append(service, write_of(request, conversation, events, None, replaces=True), None)
    headers = headers_of(older.etag(service, view.version), repeated=appended.repeated)
    with written():
        shown = await _events(service, view)
    return older.answer(older.state(view.tracker, conversation, service.trackers.domain, shown), headers)


def _is_older(service: Service) -> bool:
    return service.settings.protocol == "0.9"


def _posted(service: Service, request: Request) -> list[Event]:
    events = older.events_of(older.body_of(request.body))
    return [stamp(event, service.marks) for event in events]


def _says_true(given: str) -> bool:
    return given.lower() == "true"


def _moment(given: str) -> float:
    """Unix seconds; what is no number is before all times."""
    try:
        moment = float(given)
    except ValueError:
        raise OlderError(f"'until' must be a time in Unix seconds, is {given[:80]!r}.") from None
    return -math.inf if math.isnan(moment) else moment


async def _view(service: Service, request: Request, conversation: str) -> View | None:
    """The conversation that is asked for, begun where that is the custom; None before its first event."""
    view = await chosen_view(service, request, conversation)
    if view is not None and view.version:
        return view
    is_now = requests.query(request, "version") is None and requests.query(request, "at") is None
    return await _begun(service, conversation) if is_now and _is_older(service) else None


async def _shown(service: Service, view: View, given: Mapping[str, str], headers: dict[str, str]) -> HTTPResponse:
    """The state with the events that the query asks for."""
    events = None
    if _says_true(given.get("events", "true")):
        events = await _events(service, view, with_restarts=_says_true(given.get("ignore_restarts", "")))
    shown = older.state(view.tracker, view.conversation, service.trackers.domain, events)
    return older.answer(shown, headers)


async def _begun(service: Service, conversation: str) -> View:
    """The conversation, begun if it was not."""
    view = await service.trackers.current(conversation)
    if view is None:
        write = Write(conversation=conversation, events=_opening(service), expected=0)
        try:
            view, _ = await append(service, write, None)
        except WrongExpectedVersion:  # somebody else has begun it
            view = await service.trackers.current(conversation)
            assert view is not None
    return view


def _opening(service: Service) -> list[Event]:
    return [stamp(ActionExecuted(timestamp=time.time(), metadata={}, name=ACTION_LISTEN), service.marks)]


async def _events(service: Service, view: View, *, with_restarts: bool = False) -> list[Event]:
    """The events after the last restart, or all of them."""
    after = view.tracker.generation_version
    if not with_restarts:
        after = max(after, view.tracker.restart_version)
    window = await service.trackers.window(view, after)
    return [event for _, event in window.events(after, view.version)]
