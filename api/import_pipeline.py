"""How an import writes: appends under way one behind the other, each of which moves the import's checkpoint.

A checkpoint is moved, in the commit of the append itself, to the number of the last record in it, so that a later run
goes on behind what is written. Appends are handed in without waiting for the results of those before, so that many
travel in one commit; each expects the checkpoint where the one before it puts it. When one fails, all behind it fail
too, and are handed in again from where the checkpoint then is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

import structlog
from msgspec import Struct

from dialogue import TrackerReplaced
from eventstore import Append, Appended, CheckpointMove, CheckpointMoved, StoreUnavailable, WrongExpectedVersion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from api.import_plan import Plan, Tally
    from eventstore import EventStore, NewEvent, Reader

log = structlog.get_logger("turnlog.import")

T = TypeVar("T")

APPEND: Final = 500  #: events of one append, at most
APPEND_BYTES: Final = 1_000_000  #: of bodies in one append; a larger event goes alone
IN_FLIGHT: Final = 1_500  #: events that were handed in and not answered: a commit under way, and what makes the next
IN_FLIGHT_BYTES: Final = 4_000_000
TRIES: Final = 12  #: in a row to reach a database that is away, each as long as its patience
PAUSE: Final = 1.0  #: seconds between two of them

# $1 text[]: ids of conversations
FIRST_ACTORS: Final = """
SELECT c.id, e.actor FROM @schema@.conversation c JOIN @schema@.event e ON e.position = c.first_position
WHERE c.id = ANY ($1)
"""

Standing = Literal["new", "ours", "foreign"]


class ImportedElsewhere(Exception):
    """Another process imports under the same name at this moment. Nothing was written twice."""


async def reached(store: EventStore, plan: Plan) -> int:
    """The number of the last record that an import has consumed, 0 for none.

    Raises:
        StoreUnavailable: the database stays away.
    """
    checkpoint = await store.checkpoints.get(plan.actor)
    return checkpoint.position if checkpoint else 0


class Draft:
    """An append in the making: consecutive events of one conversation."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.events: list[NewEvent] = []
        self.last = 0  #: number of the last record in it
        self.bytes = 0

    def add(self, number: int, event: NewEvent) -> None:
        """Put an event at the end."""
        self.events.append(event)
        self.last = number
        self.bytes += len(event.body)

    def ends_before(self, event: NewEvent) -> bool:
        """Whether the event belongs into another append: there is no room, or it begins the conversation anew."""
        full = len(self.events) >= APPEND or self.bytes + len(event.body) > APPEND_BYTES
        return bool(self.events) and (full or event.type == TrackerReplaced.type)

    @property
    def replaces(self) -> bool:
        """Whether it begins the conversation anew."""
        return self.events[0].type == TrackerReplaced.type


class Conversations:
    """Which conversations an import may write to: new ones, and those that it began itself in this or an earlier run.

    With `append` all others as well, as if they were its own.
    """

    def __init__(self, read: Reader, plan: Plan) -> None:
        self._read, self._plan = read, plan
        self._standings: dict[str, Standing] = {}

    def __len__(self) -> int:
        return len(self._standings)

    async def look_up(self, conversations: Iterable[str], *, again: bool = False) -> None:
        """Learn the standing of these conversations; of those that are known only `again`.

        Raises:
            StoreUnavailable: the database stays away.
        """
        asked = [each for each in dict.fromkeys(conversations) if again or each not in self._standings]
        if asked:
            rows = await _patiently(lambda: self._read.fetch(FIRST_ACTORS, asked))
            found = {conversation: self._of(actor) for conversation, actor in rows}
            self._standings |= {each: found.get(each, "new") for each in asked}

    def _of(self, first_actor: str | None) -> Standing:
        return "ours" if self._plan.append or first_actor == self._plan.actor else "foreign"

    def standing(self, conversation: str) -> Standing:
        """The standing of a conversation that was looked up."""
        return self._standings[conversation]

    def begin(self, conversation: str) -> None:
        """Note that an append of ours to it is under way."""
        self._standings[conversation] = "ours"

    def forget(self) -> None:
        """Forget all; no append may be under way."""
        self._standings.clear()


class Sink(Protocol):
    """Where drafts go, in their order."""

    async def add(self, draft: Draft) -> None:
        """Take a draft, of a conversation that was looked up; may wait for room."""

    async def finish(self) -> None:
        """Return when all that was taken is written."""

    async def close(self) -> None:
        """Wait for what can't be taken back, and let go of the rest."""


class Rehearsal:
    """Counts what would be written."""

    def __init__(self, conversations: Conversations, tally: Tally) -> None:
        self._conversations, self._tally = conversations, tally

    async def add(self, draft: Draft) -> None:
        self._tally.written(len(draft.events), began=self._conversations.standing(draft.conversation) == "new")
        self._conversations.begin(draft.conversation)

    async def finish(self) -> None:
        """Nothing is under way."""

    async def close(self) -> None:
        """Nothing is under way."""


class _Pending(Struct, frozen=True):
    draft: Draft
    begins: bool  # the conversation
    answer: asyncio.Task[Appended]


class Pipeline:
    """Hands appends in, as many at once as keep the log busy, and once more after a failure.

    Tasks begin in the order in which they are made, and the log keeps the order in which it is called.
    """

    def __init__(self, store: EventStore, plan: Plan, conversations: Conversations, tally: Tally) -> None:
        self._store, self._plan = store, plan
        self._conversations, self._tally = conversations, tally
        self._pending: deque[_Pending] = deque()
        self._events = self._bytes = 0  # pending
        self._written = self._moved = tally.begin  # where the checkpoint is, and where the last pending one puts it
        self._failures = 0  # in a row

    async def add(self, draft: Draft) -> None:
        """Hand a draft in when there is room.

        Raises:
            ImportedElsewhere, EventStoreError: an earlier one could not be written, and neither will this one.
        """
        while self._pending and not self._has_room_for(draft):
            await self._settle()
        self._hand_in(draft)

    async def finish(self) -> None:
        """Return when all is written; raises as `add` does."""
        while self._pending:
            await self._settle()

    async def close(self) -> None:
        """Wait for the answers to what is under way."""
        await self._answered()
        while self._pending:
            pending = self._take()
            if pending.answer.exception() is None:
                self._count(pending)

    def _has_room_for(self, draft: Draft) -> bool:
        return self._events + len(draft.events) <= IN_FLIGHT and self._bytes + draft.bytes <= IN_FLIGHT_BYTES

    def _hand_in(self, draft: Draft) -> None:
        standing = self._conversations.standing(draft.conversation)
        if standing == "foreign":  # since a moment ago
            self._tally.leave_out(draft.conversation, len(draft.events))
            return
        request = Append(
            conversation=draft.conversation,
            events=tuple(draft.events),
            expected=0 if standing == "new" else None,
            replaces=draft.replaces,
            checkpoint=CheckpointMove(self._plan.actor, self._moved, draft.last),
            actor=self._plan.actor,
        )
        self._moved = draft.last
        self._conversations.begin(draft.conversation)
        self._put(_Pending(draft, standing == "new", asyncio.create_task(self._store.append(request))))

    async def _settle(self) -> None:
        """Wait until the first one is written, however often that must be tried."""
        first = self._pending[0].answer
        if not first.done():
            await asyncio.wait([first])
        error = first.exception()
        if error is None:
            self._count(self._take())
        elif isinstance(error, CheckpointMoved | WrongExpectedVersion | StoreUnavailable):
            await self._recover(error)
        else:
            raise error

    async def _recover(self, error: BaseException) -> None:
        """Find out what was written, and hand in the rest again."""
        await self._answered()
        written = await self._reached(error)
        if written not in {self._written, *(pending.draft.last for pending in self._pending)}:
            raise ImportedElsewhere(
                f"another process imports under the name {self._plan.name!r}, and has come to {written}: this one stops"
            )
        while self._pending and self._pending[0].draft.last <= written:
            self._count(self._take())
        self._written = self._moved = written
        drafts = [self._take().draft for _ in range(len(self._pending))]
        await self._conversations.look_up([draft.conversation for draft in drafts], again=True)
        for draft in drafts:
            self._hand_in(draft)

    async def _reached(self, error: BaseException) -> int:
        """Where the checkpoint is, when the database answers again after an error."""
        while True:
            if isinstance(error, StoreUnavailable):
                self._failures += 1
                await _rest(error, self._failures)
            try:
                return await reached(self._store, self._plan)
            except StoreUnavailable as again:
                error = again

    async def _answered(self) -> None:
        if self._pending:
            await asyncio.wait([pending.answer for pending in self._pending])

    def _count(self, pending: _Pending) -> None:
        pending.answer.exception()  # looked at, or the loop would complain of it
        self._failures = 0
        self._written = pending.draft.last
        self._tally.written(len(pending.draft.events), began=pending.begins)

    def _put(self, pending: _Pending) -> None:
        self._pending.append(pending)
        self._events += len(pending.draft.events)
        self._bytes += pending.draft.bytes

    def _take(self) -> _Pending:
        pending = self._pending.popleft()
        self._events -= len(pending.draft.events)
        self._bytes -= pending.draft.bytes
        return pending


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do what is safe to repeat, also when the database is away for longer than its patience."""
    failures = 0
    while True:
        try:
            return await work()
        except StoreUnavailable as error:
            failures += 1
            await _rest(error, failures)


async def _rest(error: StoreUnavailable, failures: int) -> None:
    """Wait before another try; raises the error when there were enough."""
    if failures >= TRIES:
        raise error
    log.warning("waiting for the database", reason=error.reason)
    await asyncio.sleep(PAUSE)  # nothing tells when a server is back
