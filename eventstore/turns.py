"""Turns: who answers a conversation, one after the other over all processes.

A turn that needs nothing from outside takes no lease: it reads a version and appends under the condition that the
conversation is still there. One that calls others meanwhile takes a lease first, so that nobody begins a turn between.
The lease only keeps others from working in vain. What is written is kept right by the expected version: a holder that
was stopped, and goes on when its lease has run out, finds the conversation moved on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from eventstore.errors import StoreUnavailable, TurnLost
from eventstore.hints import channel, persist
from eventstore.leases import RENEW_EVERY, SECONDS

if TYPE_CHECKING:
    from eventstore.database import Database
    from eventstore.reads import Reader

LOOK_AGAIN: Final = 0.25  #: seconds between two looks at a turn of another process, while nobody can tell of its end

# A lease that a crash of the server takes back does no harm, and nobody waits for it to reach the disk. It never is
# lost while events are kept that its turn appended later.
_UNHURRIED: Final = "(SELECT set_config('synchronous_commit', 'off', true)) unhurried"

# $1 text: conversation; $2 text: owner; $3 float8: seconds
TAKE: Final = f"""
INSERT INTO @schema@.turn AS t (conversation, owner, lease_until)
SELECT $1, $2, clock_timestamp() + make_interval(secs => $3) FROM {_UNHURRIED}
ON CONFLICT (conversation) DO UPDATE SET owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3),
    awaited = t.awaited AND t.owner = $2, abandoned = CASE WHEN t.owner = $2 THEN t.abandoned ELSE true END
WHERE t.lease_until < clock_timestamp() OR t.owner = $2
RETURNING abandoned
"""
# $1 text[]: owners; $2 float8: seconds; $3 text[]: their conversations
RENEW: Final = f"""
UPDATE @schema@.turn SET lease_until = clock_timestamp() + make_interval(secs => $2) FROM {_UNHURRIED}
WHERE conversation = ANY ($3) AND owner = ANY ($1) AND lease_until >= clock_timestamp() RETURNING owner
"""
# $1 text: conversation; $2 text: owner
END: Final = f"""
DELETE FROM @schema@.turn USING {_UNHURRIED} WHERE conversation = $1 AND owner = $2 RETURNING awaited
"""
# $1 text: conversation; $2 text: owner
ABANDON: Final = f"""
UPDATE @schema@.turn SET lease_until = '-infinity' FROM {_UNHURRIED}
WHERE conversation = $1 AND owner = $2 RETURNING awaited
"""
# $1 text: conversation
AWAIT: Final = f"""
UPDATE @schema@.turn SET awaited = true FROM {_UNHURRIED}
WHERE conversation = $1 RETURNING extract(epoch FROM lease_until - clock_timestamp())::float8
"""


class Turn(Struct, frozen=True):
    """A turn that holds its conversation.

    Attributes:
        owner: like no other turn's, in any process.
        follows_abandoned: whether the turn before was cut off in its middle.
    """

    conversation: str
    owner: str
    follows_abandoned: bool


class Turns:
    """The turns of one process that hold their conversations. Belongs to the running loop, on which `run` works."""

    def __init__(self, read: Reader, database: Database, *, node: str) -> None:
        self._read, self._database, self._node = read, database, node
        self._numbers = count(1)
        self._held: dict[str, tuple[Turn, float]] = {}  # by owner; until when, by this process's clock
        self._holding = asyncio.Event()
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._listening = False

    async def run(self) -> None:
        """Renew what is held, and listen for the ends of other processes' turns, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_on(), name="renewal of turns")
            tasks.create_task(persist(self._database, self._listen_on), name="ends of turns")

    async def take(self, conversation: str) -> Turn | None:
        """Hold a conversation; None when another turn does.

        Raises:
            StoreUnavailable: the database is away.
        """
        owner, now = f"{self._node}-{next(self._numbers)}", time.monotonic()
        rows = await self._read.fetch(TAKE, conversation, owner, SECONDS)
        if not rows:
            return None
        turn = Turn(conversation, owner, rows[0][0])
        self._hold(turn, now)
        return turn

    def check(self, turn: Turn) -> None:
        """Raise TurnLost if others may hold the conversation by now, as in a process that was stopped and goes on."""
        _, until = self._held.get(turn.owner, (turn, 0.0))
        if time.monotonic() >= until:
            raise TurnLost(turn.conversation)

    async def confirm(self, turn: Turn) -> None:
        """Hold the conversation on, as the database says.

        Raises:
            TurnLost: somebody else may have answered it meanwhile.
            StoreUnavailable: the database is away.
        """
        await self._renew([turn])
        self.check(turn)

    async def end(self, turn: Turn) -> None:
        """Let the conversation go.

        Raises:
            StoreUnavailable: the database is away; the lease then runs out by itself.
        """
        await self._let_go(END, turn)

    async def abandon(self, turn: Turn) -> None:
        """Let the conversation go in the middle of the turn; the next one is told so.

        Raises:
            StoreUnavailable: the database is away; the lease then runs out by itself, to the same effect.
        """
        await self._let_go(ABANDON, turn)

    async def other_ends(self, conversation: str) -> None:
        """Wait until the turn that holds a conversation has ended, or its lease has run out.

        Raises:
            StoreUnavailable: the database is away.
        """
        ended = asyncio.Event()
        self._waiting.setdefault(conversation, []).append(ended)
        try:
            rows = await self._read.fetch(AWAIT, conversation)
            if rows and rows[0][0] > 0:
                seconds = rows[0][0] if self._listening else min(rows[0][0], LOOK_AGAIN)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await ended.wait()
        finally:
            self._waiting[conversation].remove(ended)
            if not self._waiting[conversation]:
                del self._waiting[conversation]

    # --- leases ---

    def _hold(self, turn: Turn, now: float) -> None:
        self._held[turn.owner] = turn, now + SECONDS
        self._holding.set()

    async def _let_go(self, statement: str, turn: Turn) -> None:
        self._held.pop(turn.owner, None)
        rows = await self._read.fetch(statement, turn.conversation, turn.owner)
        if rows and rows[0][0]:
            await self._read.fetch("SELECT pg_notify($1, $2)", channel(self._database, "turn"), turn.conversation)

    async def _renew_on(self) -> None:
        while True:
            await self._holding.wait()
            await asyncio.sleep(RENEW_EVERY)
            if not self._held:
                self._holding.clear()
                continue
            with contextlib.suppress(StoreUnavailable):  # the leases run out, and their turns find out by themselves
                await self._renew([turn for turn, _ in self._held.values()])

    async def _renew(self, turns: list[Turn]) -> None:
        now = time.monotonic()
        owners, conversations = [turn.owner for turn in turns], [turn.conversation for turn in turns]
        renewed = {row[0] for row in await self._read.fetch(RENEW, owners, SECONDS, conversations)}
        for turn in turns:
            if turn.owner not in self._held:
                continue  # it ended meanwhile
            if turn.owner in renewed:
                self._held[turn.owner] = turn, now + SECONDS
            else:
                del self._held[turn.owner]

    # --- the ends of others ---

    async def _listen_on(self, connection: Any) -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(channel(self._database, "turn"), self._heard)
        self._listening = True
        try:
            await closed.wait()
        finally:
            self._listening = False

    def _heard(self, _connection: Any, _process: int, _channel: str, conversation: object) -> None:
        for ended in self._waiting.get(str(conversation), []):
            ended.set()
