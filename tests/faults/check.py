"""Compares the log with what clients and readers were told. Every violation is a sentence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from eventstore import CorruptLog, verify
from tests.faults.clients import SLOT
from tests.faults.readers import Seen
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventstore import Reader
    from tests.faults.clients import Book, Told
    from tests.faults.readers import Follower
    from tests.service import Service

_PAGE: Final = 1000


class Log:
    """The log as it is in the end, from the first event of some conversations on."""

    def __init__(self, events: Sequence[Seen]) -> None:
        self.events = events
        self.conversations: dict[str, list[Seen]] = defaultdict(list)
        self.labels: dict[str, list[Seen]] = defaultdict(list)
        for event in events:
            self.conversations[event.conversation].append(event)
            if label := label_of(event):
                self.labels[label].append(event)

    @classmethod
    async def read(cls, reader: Reader, after: int) -> Log:
        """All of it after a position. Raises CorruptLog when a position is missing."""
        events: list[Seen] = []
        while page := await reader.positions(after + len(events), _PAGE):
            events += [Seen(event.position, event.conversation, event.version, event.body) for event in page]
        return cls(events)


def label_of(event: Seen) -> str | None:
    """The label of a numbered event."""
    body: dict[str, Any] = json.loads(event.body)
    return body["value"] if body["event"] == "slot" and body["name"] == SLOT else None


async def check_log(reader: Reader, after: int, book: Book, followers: Sequence[Follower]) -> tuple[Log, list[str]]:
    """The log after a position, and what is wrong with it."""
    try:
        log = await Log.read(reader, after)
        await verify(reader)
    except CorruptLog as error:
        return Log([]), [f"the log is corrupt: {error}"]
    followed = [fault for follower in followers for fault in _followed(log, follower)]
    return log, [*_versions(log), *_starts(log), *_told(log, book), *followed]


def duplicates(log: Log) -> int:
    """How many numbered events are in the log more than once."""
    return sum(count > 1 for count in map(len, log.labels.values()))


def lost(log: Log, book: Book) -> int:
    """How many acknowledged events are not in the log."""
    return sum(told.outcome == "acknowledged" and told.label not in log.labels for told in book.told)


def _versions(log: Log) -> Iterator[str]:
    for conversation, events in log.conversations.items():
        versions = [event.version for event in events]
        if versions != list(range(1, len(events) + 1)):
            yield f"{conversation}: its versions are not 1 to {len(events)} in the order of positions"


def _starts(log: Log) -> Iterator[str]:
    for conversation, events in log.conversations.items():
        starts = sum(json.loads(event.body)["event"] == "session_started" for event in events)
        if starts != 1:
            yield f"{conversation}: {starts} session starts"


def _told(log: Log, book: Book) -> Iterator[str]:
    known = Counter(told.label for told in book.told)
    for label in log.labels.keys() - known.keys():
        yield f"{label}: is in the log, and nobody sent it"
    for told in book.told:
        yield from _check_told(told, log.labels.get(told.label, []))


def _check_told(told: Told, found: Sequence[Seen]) -> Iterator[str]:
    history = f"{told.label} ({told.manner}, {told.tries} tries, {told.unknown_tries} of them with unknown outcome)"
    if len(found) > 1:
        yield f"{history}: is in the log {len(found)} times"
    if told.outcome == "acknowledged":
        if not found:
            yield f"{history}: was acknowledged and is not in the log"
        elif (found[0].conversation, found[0].version) != (told.conversation, told.version):
            yield f"{history}: was acknowledged as version {told.version} of {told.conversation}, it is {found[0]}"
    elif found and told.refused_tries == told.tries:
        yield f"{history}: is in the log, every answer said that nothing was written"


def _followed(log: Log, follower: Follower) -> Iterator[str]:
    yield from follower.faults
    for expected, event in zip(log.events, follower.seen, strict=False):
        if not _same(event, expected):
            yield f"{follower.name} saw {event}, the log has {expected}"
            break
    if len(follower.seen) != len(log.events):
        yield f"{follower.name} saw {len(follower.seen)} events, the log has {len(log.events)}"


def _same(event: Seen, expected: Seen) -> bool:
    names = ("position", "conversation", "version")
    if any(getattr(event, name) != getattr(expected, name) for name in names):
        return False
    return bool(json.loads(event.body) == json.loads(expected.body))


def check_services(log: Log, services: Sequence[Service]) -> list[str]:
    """What services tell of the log's conversations that the log does not: their trackers, and the index."""
    wait_until(lambda: _lag(services[0]) == 0, "the index of conversations has caught up")
    violations = list(_index(log, services[0]))
    for service in services:
        for conversation in log.conversations:
            violations += _tracker(log, service, conversation)
    return violations


def _tracker(log: Log, service: Service, conversation: str) -> Iterator[str]:
    answer = service.get(f"/conversations/{conversation}/tracker?include_events=ALL")
    events = log.conversations[conversation]
    last = [label for label in map(label_of, events) if label][-1]
    tracker = answer.json()
    shown = (answer.headers["etag"].strip('"').partition("-")[0], tracker["slots"][SLOT], len(tracker["events"]))
    expected = (str(len(events)), last, len(events))
    if shown != expected:
        yield f"{conversation}: port {service.port} shows version, slot and number of events {shown}, not {expected}"


def _lag(service: Service) -> int:
    projections = service.get("/readyz").json().get("projections", [])
    return int(projections[0]["lag_events"]) if projections else -1


def _index(log: Log, service: Service) -> Iterator[str]:
    rows = dict(_rows(service))
    for conversation, events in log.conversations.items():
        if rows.get(conversation) != len(events):
            yield f"{conversation}: the index says version {rows.get(conversation)}, it is at {len(events)}"


def _rows(service: Service) -> Iterator[tuple[str, int]]:
    """Id and version of every conversation in the index."""
    cursor: str | None = ""
    while cursor is not None:
        path = f"/turnlog/v1/conversations?limit={_PAGE}" + (f"&after={cursor}" if cursor else "")
        page = service.get(path).json()
        yield from ((row["id"], row["version"]) for row in page["conversations"])
        cursor = page["after"]
