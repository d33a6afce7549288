"""The reminders that wait, over all processes and restarts: a table beside the log.

Rows are written before the events that they stand for, and what ends them (a cancellation, a reminder of the same name)
is noted before it is in the log, too. So nothing is lost when a process dies in between, and what counts is the log:
a reminder whose event it has not is never run, and what ends it does so only from its place in the log on.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct

from dialogue import ReminderCancelled, ReminderScheduled, UserUttered
from dialogue.json import dumps, loads
from eventstore import StoreUnavailable
from eventstore.hints import channel as hint_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from assistant.scene import Scene
    from dialogue import Event
    from eventstore import Database, Reader

Json = dict[str, Any]
Known = tuple[uuid.UUID, bytes, ReminderScheduled]

log = structlog.get_logger("turnlog.reminders")

CLAIM_SECONDS: Final = 5.0  #: for which a worker may run a reminder before it has to say that it still does
DOUBT_SECONDS: Final = 60.0  #: for which an event may be on its way into the log behind its row
AGAIN: Final = 1.0  #: seconds between two looks at a reminder whose event is not in the log yet
LATE: Final = "1 second"  #: what was due so long before it was scheduled is not run

# No row needs to be on the disk before the event that it stands for: the log's own commit takes both there.
_UNHURRIED: Final = "(SELECT set_config('synchronous_commit', 'off', true)) unhurried"

# $1 text: conversation
OF_CONVERSATION: Final = "SELECT id, digest, name, intent, entities FROM @schema@.reminder WHERE conversation = $1"
# $1 uuid[]; $2 bytea: digest of the event that ends them
END: Final = f"""
UPDATE @schema@.reminder SET ended_by = array_append(ended_by, $2) FROM {_UNHURRIED} WHERE id = ANY ($1) RETURNING 1
"""
# $1 text: conversation; $2 text: channel; $3 uuid[]; $4 bytea[]; $5, $6, $7 text[]: name, intent, entities;
# $8 boolean[]; $9 float8[]: when, in Unix seconds; $10 text: where to say that the first of all is another one
ADD: Final = f"""
WITH added AS (
    INSERT INTO @schema@.reminder
        (id, conversation, digest, name, intent, entities, kill_on_user_msg, channel, due, look_at)
    SELECT u.id, $1, u.digest, u.name, u.intent, u.entities, u.kill, $2, to_timestamp(u.due), to_timestamp(u.due)
    FROM {_UNHURRIED}, unnest($3::uuid[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::float8[])
        u(id, digest, name, intent, entities, kill, due)
    WHERE to_timestamp(u.due) > clock_timestamp() - interval '{LATE}'
    ON CONFLICT (conversation, digest) DO NOTHING RETURNING id, look_at
)
SELECT a.id, (SELECT pg_notify($10, '') WHERE NOT EXISTS (
    SELECT 1 FROM @schema@.reminder r WHERE r.look_at < a.look_at
)) FROM added a
"""
# $1 uuid[]: reminders; $2 bigint: version after their events; $3 text: conversation; $4 bytea[]: what ended others
CONFIRM: Final = f"""
WITH confirmed AS (UPDATE @schema@.reminder SET version = $2 FROM {_UNHURRIED} WHERE id = ANY ($1))
DELETE FROM @schema@.reminder WHERE conversation = $3 AND ended_by && $4 AND version < $2 RETURNING 1
"""
# $1 uuid[]
REMOVE: Final = f"DELETE FROM @schema@.reminder USING {_UNHURRIED} WHERE id = ANY ($1) RETURNING 1"
# $1 text: who claims; $2 float8: seconds; $3 bigint: how many at most; $4 text: of which conversation, NULL: of any
CLAIM: Final = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM @schema@.reminder WHERE look_at <= now() AND ($4::text IS NULL OR conversation = $4)
    ORDER BY look_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE @schema@.reminder r SET look_at = clock_timestamp() + make_interval(secs => $2), claimed_by = $1
FROM due, {_UNHURRIED} WHERE r.id = due.id
RETURNING r.id, r.conversation, r.digest, r.intent, r.entities, r.kill_on_user_msg, r.channel, r.ended_by,
    r.version IS NULL AND r.created > now() - make_interval(secs => {DOUBT_SECONDS})
"""
# $1 uuid[]; $2 text: who claimed them; $3 float8: seconds
LOOK_IN: Final = f"""
UPDATE @schema@.reminder SET look_at = clock_timestamp() + make_interval(secs => $3) FROM {_UNHURRIED}
WHERE id = ANY ($1) AND claimed_by = $2 RETURNING 1
"""
# $1 text: of which conversation, NULL: of any
SECONDS_LEFT: Final = """
SELECT extract(epoch FROM look_at - clock_timestamp())::float8 FROM @schema@.reminder
WHERE $1::text IS NULL OR conversation = $1 ORDER BY look_at LIMIT 1
"""
WAITING: Final = "SELECT count(*) FROM @schema@.reminder"


class Outdated(Exception):
    """A reminder is not to be run any more. The message says why."""


class Missing(Outdated):
    """The event of a reminder does not count, or is not in the log at all."""


class Due(Struct, frozen=True, kw_only=True):
    """A reminder that is to be run now.

    Attributes:
        entities: as of a message.
        channel: name of the output that was there when it was scheduled.
        may_come: whether its event may be on its way into the log.
    """

    id: uuid.UUID
    conversation: str
    digest: bytes
    intent: str
    entities: list[Json]
    dies_with_message: bool
    channel: str
    ended_by: frozenset[bytes]
    may_come: bool

    def refuse_outdated(self, scene: Scene) -> None:
        """Raise Outdated if this reminder is not to be run in this scene."""
        if not any(_is(event, self.digest) for event in scene.applied):
            raise Missing("its event is taken back, or was never written")
        own = max(index for index, event in enumerate(scene.events) if _is(event, self.digest))
        later = scene.events[own + 1 :]
        if any(_digest(event) in self.ended_by for event in later if isinstance(event, _Planned)):
            raise Outdated("it is cancelled, or replaced by another one of its name")
        if self.dies_with_message and any(isinstance(event, UserUttered) and event.text for event in later):
            raise Outdated("the user wrote meanwhile")


class Reminders:
    """The reminders of all conversations. `count` is told of what becomes of how many.

    With an `only`, no others than those of this conversation are run here.
    """

    def __init__(
        self,
        read: Reader,
        database: Database,
        *,
        node: str,
        count: Callable[[str, int], None],
        only: str | None = None,
    ) -> None:
        self._read, self._node, self._count, self._only = read, node, count, only
        self.channel = hint_channel(database, "reminder")

    async def plan(self, conversation: str, events: Sequence[Event], output: str) -> Plan | None:
        """Prepare what these events, which are to be appended next, mean for reminders; None when they mean nothing.

        A reminder that was already due a second ago is none.

        Raises:
            StoreUnavailable: the database is away.
        """
        planned = [event for event in events if isinstance(event, _Planned)]
        if not planned:
            return None
        known = [_known(*row) for row in await self._read.fetch(OF_CONVERSATION, conversation)]
        added, ended = _effects(planned, known)
        for digest, ids in ended.items():
            await self._read.fetch(END, ids, digest)
        rows = await self._add(conversation, output, added) if added else []
        return Plan(self, conversation, [row[0] for row in rows], list(ended))

    async def claim(self, most: int) -> list[Due]:
        """Take reminders that are due, and that nobody runs. As `plan`."""
        return [_due(*row) for row in await self._read.fetch(CLAIM, self._node, CLAIM_SECONDS, most, self._only)]

    async def look_again(self, ids: Iterable[uuid.UUID], seconds: float = CLAIM_SECONDS) -> None:
        """Keep what was claimed from being claimed again for so many seconds. As `plan`."""
        await self._read.fetch(LOOK_IN, list(ids), self._node, seconds)

    async def seconds_left(self) -> float | None:
        """Until somebody must look at reminders again; None when there are none. As `plan`."""
        rows = await self._read.fetch(SECONDS_LEFT, self._only)
        return rows[0][0] if rows else None

    async def waiting(self) -> int:
        """How many there are. As `plan`."""
        return int((await self._read.fetch(WAITING))[0][0])

    async def remove(self, ids: Sequence[uuid.UUID], outcome: str | None = None) -> None:
        """Forget reminders, and count them as what has become of them. As `plan`."""
        removed = await self._read.fetch(REMOVE, ids)
        if outcome:
            self._count(outcome, len(removed))

    async def confirm(self, conversation: str, version: int, ids: Sequence[uuid.UUID], ending: Sequence[bytes]) -> None:
        """Note that the log has the events of a plan, and forget what they ended. As `plan`."""
        ended = await self._read.fetch(CONFIRM, ids, version, conversation, ending)
        self._count("scheduled", len(ids))
        self._count("cancelled", len(ended))

    async def _add(self, conversation: str, output: str, added: Sequence[ReminderScheduled]) -> list[Any]:
        columns = zip(*map(_columns, added), strict=True)
        return await self._read.fetch(ADD, conversation, output, *map(list, columns), self.channel)


class Plan:
    """What events that are about to be appended mean for reminders."""

    def __init__(
        self, reminders: Reminders, conversation: str, ids: Sequence[uuid.UUID], ending: Sequence[bytes]
    ) -> None:
        self._reminders, self._conversation, self._ids, self._ending = reminders, conversation, ids, ending

    async def confirm(self, version: int) -> None:
        """The log has the events, and the conversation is at this version right after them."""
        with contextlib.suppress(StoreUnavailable):  # the log says it as well, when they come due
            await self._reminders.confirm(self._conversation, version, self._ids, self._ending)

    async def withdraw(self) -> None:
        """The events were refused, or were in the log already."""
        with contextlib.suppress(StoreUnavailable):  # without their events they are dropped when they come due
            await self._reminders.remove(self._ids)


_Planned = ReminderScheduled | ReminderCancelled


def _effects(
    events: Sequence[ReminderScheduled | ReminderCancelled], known: Sequence[Known]
) -> tuple[list[ReminderScheduled], dict[bytes, list[uuid.UUID]]]:
    """The reminders to add, and for each event that ends others which it ends, one event after the other."""
    added: list[ReminderScheduled] = []
    ended: dict[bytes, list[uuid.UUID]] = {}
    for event in events:
        digest = _digest(event)
        ids = [row for row, other, reminder in known if other != digest and _ends(event, reminder)]
        if ids:
            ended[digest] = ids
        added = [reminder for reminder in added if not _ends(event, reminder)]
        if isinstance(event, ReminderScheduled) and _can_be_run(event):
            added.append(event)
    return added, ended


def _ends(event: ReminderScheduled | ReminderCancelled, reminder: ReminderScheduled) -> bool:
    if isinstance(event, ReminderScheduled):
        return bool(event.name == reminder.name)
    return (
        (not event.name or event.name == reminder.name)
        and (not event.intent or event.intent == reminder.intent)
        and (not event.entities or entities_of(event.entities) == entities_of(reminder.entities))
    )


def _can_be_run(event: ReminderScheduled) -> bool:
    if not isinstance(event.intent, str):
        log.warning("a reminder without an intent is not scheduled", name=event.name)
    return isinstance(event.intent, str)


def entities_of(given: Any) -> list[Json]:
    """The entities of a reminder: given as a list of entities, or short as an object of values by name."""
    if isinstance(given, dict):
        return [{"entity": name, "value": value} for name, value in given.items()]
    if not isinstance(given, list):
        return []
    return [entity for entity in given if isinstance(entity, dict) and isinstance(entity.get("entity"), str)]


def _is(event: Event, digest: bytes) -> bool:
    return isinstance(event, ReminderScheduled) and _digest(event) == digest


def _digest(event: ReminderScheduled | ReminderCancelled) -> bytes:
    when = event.date_time if isinstance(event, ReminderScheduled) else None
    parts = [event.type, event.timestamp, event.name, event.intent, event.entities, when]
    return hashlib.sha256(dumps(parts).encode()).digest()


# --- rows -------------------------------------------------------------------------------------------------------------


def _columns(event: ReminderScheduled) -> tuple[uuid.UUID, bytes, str, str, str, bool, float]:
    name, intent, entities = dumps(event.name), dumps(event.intent), dumps(event.entities)
    return uuid.uuid4(), _digest(event), name, intent, entities, bool(event.kill_on_user_msg), _moment(event.date_time)


def _moment(text: str) -> float:
    """Unix seconds of a date and time; without an offset it is in UTC."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _known(id: uuid.UUID, digest: bytes, name: str, intent: str, entities: str) -> Known:  # noqa: A002
    values = {key: loads(text.encode()) for key, text in (("name", name), ("intent", intent), ("entities", entities))}
    return id, digest, ReminderScheduled(timestamp=0.0, metadata={}, **values)


def _due(
    id: uuid.UUID,  # noqa: A002
    conversation: str,
    digest: bytes,
    intent: str,
    entities: str,
    dies_with_message: bool,
    channel: str,
    ended_by: list[bytes],
    may_come: bool,
) -> Due:
    return Due(
        id=id,
        conversation=conversation,
        digest=digest,
        intent=loads(intent.encode()),
        entities=entities_of(loads(entities.encode())),
        dies_with_message=dies_with_message,
        channel=channel,
        ended_by=frozenset(ended_by),
        may_come=may_come,
    )
