"""What posted events bring about outside of the log, for who asks for it: messages go out, reminders are scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import requests
from assistant import Collector
from assistant.channels.output import Said
from dialogue import BotUttered
from eventstore import EventStoreError, StoreUnavailable

if TYPE_CHECKING:
    from sanic import Request

    from api.service import Service
    from assistant import Output
    from eventstore import Appended
    from projections import View, Write

LATEST: Final = "latest"


async def output_of(service: Service, request: Request, conversation: str) -> Output:
    """The way to the user that a request asks for: a channel, the latest one, or the answer to the request itself."""
    name = requests.query(request, "output_channel")
    if name == LATEST:
        name = (await service.ledger.read(conversation)).tracker.latest_input_channel
    return service.channels.output(name) or Collector()


async def append_with_side_effects(service: Service, write: Write, output: Output) -> tuple[View, Appended]:
    """Append events and carry out what they bring about, unless they were there before.

    Raises as Trackers.append; then nothing is brought about, but if the log has the events, their reminders.
    """
    plan = await service.reminders.plan(write.conversation, write.events, output.name)
    try:
        view, appended = await service.trackers.append(write)
    except StoreUnavailable:
        raise  # the log may have the events
    except EventStoreError:
        if plan:
            await plan.withdraw()
        raise
    if appended.repeated:
        if plan:
            await plan.withdraw()
        return view, appended
    if plan:
        await plan.confirm(appended.version)
    if said := tuple(event for event in write.events if isinstance(event, BotUttered)):
        await output.send(Said(write.conversation, said, appended.base, appended.version))
    return view, appended
