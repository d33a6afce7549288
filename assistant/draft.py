"""A conversation while a turn works on it: what the log has, and what the turn has added and not yet written.

What was computed from a version is written only if the conversation is still there. If it is not, because a backend
posted events meanwhile, the turn computes again, from what the conversation is now. What came from outside, as the
answer of an action server, is a fact by then: it is written behind those events.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

import dialogue
from assistant.channels.output import Said
from assistant.scene import Scene
from dialogue import ActionExecuted, BotUttered, Event, Tracker, stamp
from eventstore import StoreUnavailable, WrongExpectedVersion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from assistant.reminders import Reminders
    from dialogue import Domain
    from eventstore import Turn, Turns

log = structlog.get_logger("turnlog.assistant")

_ANYTHING = "anything"  # the step that every write makes


class Reading(Struct, frozen=True):
    """A conversation as the log has it.

    Attributes:
        tracker: at its version; of a conversation without events, the initial one.
        events: of the current session, and all that can still count, up to that version.
        turn_seconds: for how long a turn may still hold it; not above 0 when one was cut off; None when none does.
    """

    tracker: Tracker
    events: tuple[Event, ...]
    turn_seconds: float | None = None


class Terms(Struct, frozen=True, kw_only=True):
    """What somebody demands of a turn, and who it is.

    Attributes:
        key: of all turns of the conversation that have it, only one writes the first step.
        fingerprint: of what was asked for, with `key`: the same key for something else is refused.
        expected: the version at which the conversation must be; -1 for any but 0; None for any.
        actor, request_id: are kept with the events.
    """

    key: str | None = None
    fingerprint: bytes | None = None
    expected: int | None = None
    actor: str | None = None
    request_id: str | None = None


NO_TERMS: Final = Terms()


class Ledger(Protocol):
    """The log, as turns read and write it."""

    async def read(self, conversation: str) -> Reading:
        """The conversation now.

        Raises:
            StoreUnavailable: the database is away.
        """

    async def append(self, conversation: str, events: Sequence[Event], after: Tracker, terms: Terms) -> None:
        """Append events that lead to the state `after`; the `expected` of the terms is not looked at.

        Raises:
            AlreadyDone: with the key of the terms there was an append; nothing was written.
            WrongExpectedVersion: the conversation is not where they lead from; nothing was written.
            IdempotencyKeyReused: that append was for something else; nothing was written.
            StoreUnavailable: the database is away.
        """

    def keep(self, conversation: str, reading: Reading) -> None:
        """Remember what the log has by now, to be read again without the database's help."""


class Overtaken(Exception):
    """Somebody else wrote to the conversation; what the draft holds is to be made anew."""


class AlreadyDone(Exception):
    """What must happen once has happened: it led from the version `base` to `version`, and maybe further."""

    def __init__(self, base: int, version: int) -> None:
        super().__init__(f"it was done before, from version {base} on")
        self.base, self.version = base, version


class Draft:
    """One turn's view of a conversation. `begin` comes first, and `close` last, whatever happens between.

    Attributes:
        scene: the conversation with all that was added.
        base: the version at which the turn found it first.
    """

    scene: Scene
    base: int

    def __init__(
        self,
        conversation: str,
        channel: str,
        *,
        domain: Domain,
        marks: Mapping[str, str],
        ledger: Ledger,
        turns: Turns,
        deliver: Callable[[Said], Awaitable[None]],
        reminders: Reminders | None = None,
        terms: Terms = NO_TERMS,
    ) -> None:
        self._conversation, self._channel = conversation, channel
        self._domain, self._marks = domain, marks
        self._ledger, self._turns, self._deliver = ledger, turns, deliver
        self._reminders, self._terms = reminders, terms
        self.base = self._version = -1
        self._pending: list[Event] = []
        self._steps: set[str] = set()
        self._pending_steps: set[str] = set()
        self._turn: Turn | None = None
        self._went_out = False

    async def begin(self, *, insists: bool = False) -> None:
        """Read the conversation as soon as no other turn holds it, and drop what was added and not written.

        With `insists`, what is added next goes behind whatever is posted meanwhile.

        Raises:
            StoreUnavailable: the database is away.
            TurnLost: this turn held the conversation, and another one may have answered it meanwhile.
            WrongExpectedVersion: the conversation is not at the version that the terms demand.
        """
        while True:
            reading = await self._ledger.read(self._conversation)
            if self._turn is not None:
                self._turns.check(self._turn)
                break
            if reading.turn_seconds is None:
                break
            if reading.turn_seconds > 0:
                await self._turns.other_ends(self._conversation)
            else:
                self._turn = await self._turns.take(self._conversation)
        self._take_up(reading)
        self._pending_steps.clear()
        if self.base < 0:
            self._check_version(reading.tracker.version)
            self.base = reading.tracker.version
        if insists:
            await self.hold()
            self._went_out = True
        self._mend()

    def add(self, *events: Event) -> None:
        """Add events at the end, with the model's marks in their metadata."""
        stamped = [stamp(event, self._marks) for event in events]
        self._pending += stamped
        self.scene = self.scene.after(stamped)

    def did(self, step: str) -> None:
        """Note that what was added so far makes a step of the turn."""
        self._pending_steps.add(step)

    def has_written(self, step: str) -> bool:
        """Whether a step is in the log, and so not to be done again."""
        return step in self._steps

    async def hold(self) -> None:
        """Let nobody begin another turn until this one is closed.

        Raises:
            Overtaken: somebody did, or wrote, since the conversation was read; begin again.
            StoreUnavailable, TurnLost: as `begin`.
        """
        if self._turn is None:
            self._turn = await self._turns.take(self._conversation)
            if self._turn is None or not await self._is_current():
                raise Overtaken
        self._turns.check(self._turn)

    async def reserve(self) -> None:
        """Prepare to call others: write what was added, and let nobody begin another turn.

        Raises:
            Overtaken: begin again.
            StoreUnavailable, TurnLost: as `begin`.
        """
        await self.hold()
        await self.write()
        self._went_out = True

    async def write(self) -> None:
        """Append what was added, and then let the user hear what the bot said.

        Raises:
            Overtaken: begin again.
            AlreadyDone: another draft has written the first step; nothing was written.
            IdempotencyKeyReused: the key of the terms was used for something else; nothing was written.
            StoreUnavailable, TurnLost: as `begin`.
        """
        if not self._pending:
            return
        plan = await self._reminders.plan(self._conversation, self._pending, self._channel) if self._reminders else None
        terms = self._terms if self._pending_steps - self._steps else replace(self._terms, key=None, fingerprint=None)
        while True:
            try:
                await self._ledger.append(self._conversation, self._pending, self.scene.tracker, terms)
                break
            except WrongExpectedVersion:
                if not self._went_out:
                    raise Overtaken from None
                await self._go_behind()
        written, self._pending = self._pending, []
        before, self._version, self._went_out = self._version, self.scene.tracker.version, False
        self._steps |= self._pending_steps | {_ANYTHING}
        self._ledger.keep(self._conversation, Reading(self.scene.tracker, self.scene.events))
        if plan:
            await plan.confirm(self._version)
        if said := tuple(event for event in written if isinstance(event, BotUttered)):
            await self._deliver(Said(self._conversation, said, before, self._version))

    async def settle(self) -> None:
        """Write what came from outside, if anything did, so that what is computed next sees what was posted meanwhile.

        Raises as `write`.
        """
        if self._went_out:
            await self.write()
            self._went_out = False

    async def close(self, *, cut_off: bool) -> None:
        """Let the conversation go; what was added and not written is lost."""
        if self._turn is None:
            return
        with contextlib.suppress(StoreUnavailable):  # then the lease runs out
            await (self._turns.abandon if cut_off else self._turns.end)(self._turn)

    def _check_version(self, actual: int) -> None:
        expected = self._terms.expected
        if expected is not None and (actual == 0 if expected < 0 else actual != expected):
            raise WrongExpectedVersion(self._conversation, expected, actual)

    async def _is_current(self) -> bool:
        return (await self._ledger.read(self._conversation)).tracker.version == self._version

    async def _go_behind(self) -> None:
        """Take up what others have posted, and put what was added behind it."""
        assert self._turn is not None  # who calls others holds the conversation
        await self._turns.confirm(self._turn)
        self._take_up(await self._ledger.read(self._conversation), self._pending)

    def _take_up(self, reading: Reading, pending: Sequence[Event] = ()) -> None:
        self._version, self._pending = reading.tracker.version, list(pending)
        self.scene = Scene(
            sender=self._conversation,
            channel=self._channel,
            domain=self._domain,
            tracker=reading.tracker,
            events=reading.events,
        ).after(pending)

    def _mend(self) -> None:
        """Behind a turn that was cut off the bot listens: else no rule would know the next message as one."""
        if self._turn is None or not self._turn.follows_abandoned or self.has_written(_ANYTHING):
            return
        last = self.scene.tracker.latest_action.get("action_name")
        if last not in (None, dialogue.ACTION_LISTEN):
            log.warning("a turn was cut off, and the bot listens again", conversation=self._conversation, action=last)
            self.add(ActionExecuted(timestamp=time.time(), metadata={}, name=dialogue.ACTION_LISTEN))
