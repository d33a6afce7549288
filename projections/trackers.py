"""The tracker of a conversation as a projection of the log.

A tracker in hand is a baseline, never a truth: the conversation's version is always read again, and what is missing is
fetched. Snapshots are written behind; losing one costs time and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

import dialogue
from dialogue import FOLD_VERSION, SCHEMA_VERSION, Event, Tracker, decode_stored, encode
from eventstore import Append, Appended, Head, NewEvent, OpeningNeeded, StoreUnavailable
from projections.snapshotting import SnapshotWriter, state_of, tracker_of
from projections.views import View, Window, continued, window_of

if TYPE_CHECKING:
    from datetime import datetime

    from dialogue import Domain
    from eventstore import EventStore

SNAPSHOT_EVERY: Final = 100  #: events between two snapshots of a conversation
MEMORY: Final = 24_000_000  #: bytes of trackers and events that one process holds in hand, about
UNREAD: Final = 8_000  #: bytes of new events that are held of a conversation whose events nobody asks for
_BASE_SIZE: Final = 4_000  # of a tracker without events, about


class Write(Struct, frozen=True, kw_only=True):
    """Events to append to a conversation. `opening` makes the events that open an empty one; None wants none.

    `folded` is the state after the events, of who has folded them already: only with `expected`, and without `opening`.
    """

    conversation: str
    events: Sequence[Event]
    opening: Callable[[], Sequence[Event]] | None = None
    expected: int | None = None
    key: str | None = None
    fingerprint: bytes | None = None
    replaces: bool = False
    actor: str | None = None
    request_id: str | None = None
    folded: Tracker | None = None


class _Held(Struct):
    view: View
    snapshot_version: int
    state_size: int  # of what the tracker has from events before the window

    @property
    def size(self) -> int:
        return _BASE_SIZE + self.state_size + self.view.window.size

    def drop_window(self) -> None:
        """Hold only the state. Whoever has the view has its window still."""
        self.view = replace(self.view, window=Window(self.view.version + 1))
        self.state_size = len(state_of(self.view.tracker))


class written:  # noqa: N801 - used as a function, and a class for its speed: it is on the way of every write
    """Around reads for the answer to a write that the log has accepted: no error of theirs says "not written"."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreUnavailable):
            raise StoreUnavailable(error.reason, "unknown", error.retry_after) from error


class Trackers:
    """Trackers of one process, which appends through it. Belongs to the running loop."""

    def __init__(self, store: EventStore, domain: Domain, *, memory: int = MEMORY) -> None:
        self.domain = domain
        self.fold = f"{FOLD_VERSION}-{domain.fingerprint}"
        self._store = store
        self._memory = memory
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._size = 0
        self._initial = dialogue.initial(domain)
        self.snapshots = SnapshotWriter(store, self.fold)

    async def close(self) -> None:
        """Stop writing snapshots."""
        await self.snapshots.close()

    async def append(self, write: Write) -> tuple[View, Appended]:
        """Append events; the view shows the conversation right after them, and what they reached is beside it.

        Raises what :meth:`eventstore.EventStore.append` raises, except OpeningNeeded; StoreUnavailable also for a write
        that was accepted when the database goes away before it can be shown, then with the outcome "unknown".
        """
        new = tuple([_new_event(event) for event in write.events])
        opening = self._opening_events(write)
        try:
            appended = await self._store.append(_request(write, new, opening))
        except OpeningNeeded:
            self._forget(write.conversation)
            opening = self._opening_events(write)
            appended = await self._store.append(_request(write, new, opening))
        opening_events = opening[0] if opening and appended.opened else ()
        new_opening = opening[1] if opening and appended.opened else ()
        events = (*opening_events, *write.events)
        with written():
            view = await self._after(write, appended, events, (*new_opening, *new))
        return view, appended

    async def current(self, conversation: str) -> View | None:
        """The conversation as it is now; None when the log has no event of it.

        Raises:
            StoreUnavailable: the database is away.
        """
        held = await self._catch_up(conversation)
        return held.view if held else None

    async def for_turn(self, conversation: str) -> tuple[View | None, float | None]:
        """The conversation as it is now, and for how many seconds a turn may still hold it (`Head.turn_seconds`).

        Raises:
            StoreUnavailable: the database is away.
        """
        head = await self._store.read.head(conversation)
        if head is None:
            return None, None
        return (await self._catch_up_to(conversation, head)).view, head.turn_seconds

    async def at_version(self, conversation: str, version: int) -> View | None:
        """The conversation as it was at a version; None when it never was there. At 0 it has no events yet."""
        held = self._held.get(conversation)
        if held is not None and held.view.version == version:
            return held.view
        head = await self._store.read.head(conversation)
        if head is None or not 0 <= version <= head.version:
            return None
        return (await self._load(conversation, await self._store.read.head_at(head, version))).view

    async def at_time(self, conversation: str, time: datetime) -> View | None:
        """The conversation as it was after the last commit at or before `time`; None before its first event."""
        head = await self._store.read.head(conversation)
        if head is None:
            return None
        version = await self._store.read.version_at(head, await self._store.read.position_at(time))
        return await self.at_version(conversation, version) if version else None

    async def until(self, view: View, timestamp: float) -> View:
        """The view's generation up to the event before the first one whose own time is later than `timestamp`.

        Raises:
            StoreUnavailable: the database is away.
        """
        latest = view.tracker.max_timestamp
        if latest is None or latest <= timestamp:
            return view
        window = await self.window(view, view.tracker.generation_version)
        events = window.events(view.tracker.generation_version, view.version)
        count = dialogue.until([event for _, event in events], timestamp)
        earlier = await self.at_version(view.conversation, view.tracker.generation_version + count)
        return earlier or view

    async def window(self, view: View, after: int) -> Window:
        """A window that holds the view's events with versions greater than `after`."""
        if after + 1 >= view.window.first:
            return view.window
        head = await self._head(view.conversation)
        recorded = await self._store.read.conversation(view.conversation, head, after, view.window.first - 1)
        window = window_of(after + 1, recorded)
        window.extend(view.window.types, view.window.texts)
        self._keep_window(view, window)
        return window

    # --- what is in hand ---

    def _opening_events(self, write: Write) -> tuple[Sequence[Event], tuple[NewEvent, ...]] | None:
        """Opening events, typed and as the log takes them; none are made for a conversation that surely has events."""
        if write.opening is None:
            return (), ()
        held = self._held.get(write.conversation)
        if held is not None and not held.view.is_empty:
            return None
        events = write.opening()
        return events, tuple([_new_event(event) for event in events])

    async def _after(self, write: Write, appended: Appended, events: Sequence[Event], new: Sequence[NewEvent]) -> View:
        conversation = write.conversation
        if not appended.repeated:
            held = self._held.get(conversation)
            if held is None and appended.base == 0:
                held = _Held(View(conversation, self._initial, Window(1)), 0, 0)
            if held is not None and held.view.version == appended.base:
                if write.folded is not None:
                    return self._extend(held, write.folded, new)
                if not any(map(dialogue.needs_history, events)):
                    return self._extend(held, dialogue.fold(held.view.tracker, events, self.domain, ()), new)
        caught_up = await self._catch_up(conversation)
        if caught_up is not None and caught_up.view.version == appended.version:
            return caught_up.view
        view = await self.at_version(conversation, appended.version)
        assert view is not None  # the log has acknowledged that version
        return view

    def _extend(self, held: _Held, tracker: Tracker, new: Sequence[NewEvent]) -> View:
        """Take up events that came right after what is in hand. Nothing is awaited, so nobody comes between."""
        before = held.size
        for event in new:
            held.view.window.add(event.type, event.body)
        held.view = View(held.view.conversation, tracker, held.view.window)
        self._keep(held, before)
        return held.view

    async def _catch_up(self, conversation: str) -> _Held | None:
        head = await self._store.read.head(conversation)
        return None if head is None else await self._catch_up_to(conversation, head)

    async def _catch_up_to(self, conversation: str, head: Head) -> _Held:
        held = self._held.get(conversation)
        if held is None or held.view.version < head.version:
            held = await self._load(conversation, head, held)
            newer = self._held.get(conversation)
            if newer is not None and newer.view.version >= held.view.version:
                held = newer
        self._keep(held, 0 if self._held.get(conversation) is not held else held.size)
        return held

    async def _load(self, conversation: str, head: Head, base: _Held | None = None) -> _Held:
        """Fold the conversation up to `head`, from `base` or a snapshot on."""
        read = self._store.read
        before: View | None = None
        if base is not None and base.view.tracker.generation_version == head.generation_version:
            before = base.view  # the base itself may go on meanwhile
            tracker, position, state_size = before.tracker, head.generation_position, base.state_size
            snapshot_version = base.snapshot_version
        else:
            tracker, position, state_size = await self._start(head)
            snapshot_version = tracker.version
        tail = await read.conversation(conversation, head, tracker.version, head.version, from_position=position)
        events = [decode_stored(event.type, event.schema_version, event.body) for event in tail]
        history = await self._history(conversation, head, tracker) if any(map(dialogue.needs_history, events)) else ()
        window = window_of(tracker.version + 1, tail)
        if before is not None:
            window = continued(before, window)
        view = View(conversation, dialogue.fold(tracker, events, self.domain, history), window)
        return _Held(view, snapshot_version, state_size)

    async def _start(self, head: Head) -> tuple[Tracker, int, int]:
        """The state to begin with, its position and its size: the nearest snapshot, or none of the generation."""
        snapshot = await self._store.snapshots.nearest(head, self.fold)
        if snapshot is None:
            return replace(self._initial, version=max(0, head.generation_version - 1)), head.generation_position, 0
        return tracker_of(snapshot), snapshot.position, len(snapshot.state)

    async def _history(self, conversation: str, head: Head, tracker: Tracker) -> list[Event]:
        recorded = await self._store.read.conversation(conversation, head, tracker.reset_version, tracker.version)
        return [decode_stored(event.type, event.schema_version, event.body) for event in recorded]

    async def _head(self, conversation: str) -> Head:
        head = await self._store.read.head(conversation)
        assert head is not None  # whoever has a view of it has seen it in the log
        return head

    def _keep(self, held: _Held, size_before: int) -> None:
        """Hold it as the one used last, and let go of those used longest ago when there is too much."""
        conversation = held.view.conversation
        other = self._held.get(conversation)
        if other is not held:
            size_before = other.size if other is not None else 0
        if held.view.window.size > self._memory // 4 or held.view.window.unread > UNREAD:
            held.drop_window()
        self._held[conversation] = held
        self._held.move_to_end(conversation)
        self._size += held.size - size_before
        while self._size > self._memory and len(self._held) > 1:
            self._let_go_of_oldest()
        if held.view.version - held.snapshot_version >= SNAPSHOT_EVERY:
            held.snapshot_version = held.view.version
            self.snapshots.add(conversation, held.view.tracker)

    def _let_go_of_oldest(self) -> None:
        """Of the one used longest ago, let go of its events; of its state when it comes to its turn again."""
        conversation, oldest = next(iter(self._held.items()))
        self._size -= oldest.size
        if not oldest.view.window.texts:
            del self._held[conversation]
            return
        oldest.drop_window()
        self._held.move_to_end(conversation)
        self._size += oldest.size

    def _keep_window(self, view: View, window: Window) -> None:
        held = self._held.get(view.conversation)
        if held is not None and held.view.window is view.window and held.view.version == view.version:
            before = held.size
            held.view = replace(held.view, window=window)
            self._keep(held, before)

    def _forget(self, conversation: str) -> None:
        held = self._held.pop(conversation, None)
        if held is not None:
            self._size -= held.size


def _new_event(event: Event) -> NewEvent:
    return NewEvent(event.type, float(event.timestamp), encode(event), SCHEMA_VERSION)


def _request(
    write: Write, new: tuple[NewEvent, ...], opening: tuple[Sequence[Event], tuple[NewEvent, ...]] | None
) -> Append:
    return Append(
        conversation=write.conversation,
        events=new,
        opening=None if opening is None else opening[1],
        expected=write.expected,
        key=write.key,
        fingerprint=write.fingerprint,
        replaces=write.replaces,
        actor=write.actor,
        request_id=write.request_id,
    )
