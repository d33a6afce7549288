"""The index of conversations: one row for each, most recently active first, by channel and by intent."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from dialogue.text import storable
from projections.slots import ACTIVE, table_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from eventstore import EventStore
    from projections.slots import LoggedEvent

NAME: Final = "conversation_index"
MAX_LIMIT: Final = 1000
LABEL: Final = 255  #: characters kept of an intent, an action or a channel: more may not fit into a Postgres index

CREATE: Final = """
CREATE TABLE {table} (
    conversation bigint PRIMARY KEY,  -- conversation.no
    position bigint NOT NULL,         -- of its last event, as are all columns: the row never mixes two moments
    version bigint NOT NULL,
    generation bigint NOT NULL,
    -- of the current generation, without the event that began it
    events bigint NOT NULL,
    user_events bigint NOT NULL,
    bot_events bigint NOT NULL,
    action_events bigint NOT NULL,
    intent text COLLATE "C",          -- of the last user event
    channel text COLLATE "C",         -- of the last user event
    action text                       -- name of the last action event
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)
"""
FINISH: Final = """
CREATE INDEX ON {table} (position);
CREATE INDEX ON {table} (channel, position);
CREATE INDEX ON {table} (intent, position);
ANALYZE {table}
"""
# $1 to $8 bigint[], $9 to $11 text[]: the columns. A generation above 1 says that a replacement was among the events.
UPSERT: Final = """
INSERT INTO {table} AS k
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::text[], $10::text[], $11::text[])
ON CONFLICT (conversation) DO UPDATE SET
    position = excluded.position,
    version = excluded.version,
    generation = k.generation + excluded.generation - 1,
    events = excluded.events + CASE WHEN excluded.generation > 1 THEN 0 ELSE k.events END,
    user_events = excluded.user_events + CASE WHEN excluded.generation > 1 THEN 0 ELSE k.user_events END,
    bot_events = excluded.bot_events + CASE WHEN excluded.generation > 1 THEN 0 ELSE k.bot_events END,
    action_events = excluded.action_events + CASE WHEN excluded.generation > 1 THEN 0 ELSE k.action_events END,
    intent = CASE WHEN excluded.generation > 1 OR excluded.user_events > 0 THEN excluded.intent ELSE k.intent END,
    channel = CASE WHEN excluded.generation > 1 OR excluded.user_events > 0 THEN excluded.channel ELSE k.channel END,
    action = CASE WHEN excluded.generation > 1 OR excluded.action_events > 0 THEN excluded.action ELSE k.action END
"""
# $1 int: limit; the values of the conditions follow. The limit inside keeps the look-ups of ids and times to the rows
# that are shown.
PAGE: Final = """
SELECT c.id, i.version, i.generation, i.position, first."time", last."time", i.events, i.user_events, i.bot_events,
    i.action_events, i.intent, i.channel, i.action
FROM (SELECT * FROM {table} WHERE {conditions} ORDER BY {order} DESC LIMIT $1) i
JOIN @schema@.conversation c ON c.no = i.conversation
CROSS JOIN LATERAL (
    SELECT m."time" FROM @schema@.commit m WHERE m.last_position >= c.first_position ORDER BY m.last_position LIMIT 1
) first
CROSS JOIN LATERAL (
    SELECT m."time" FROM @schema@.commit m WHERE m.last_position >= i.position ORDER BY m.last_position LIMIT 1
) last
ORDER BY {order} DESC
"""
# Times of commits grow with positions, so a time is a position, and the index needs no column for it.
SINCE: Final = """
position > coalesce((
    SELECT m.last_position FROM @schema@.commit m WHERE m."time" < {0}
    ORDER BY m."time" DESC, m.last_position DESC LIMIT 1
), 0)
"""


class Conversation(Struct, frozen=True, kw_only=True):
    """What the index knows of a conversation. Counts and names are those of its current generation."""

    id: str
    version: int
    generation: int
    position: int  #: of its last event
    first_seen: datetime  #: when its first event was committed, of all generations
    last_activity: datetime  #: when its last event was committed
    events: int
    user_events: int
    bot_events: int
    action_events: int
    intent: str | None  #: of the last user message, as the event said
    channel: str | None  #: of the last user message
    action: str | None  #: name of the last action; None for one that is only a text


class Page(Struct, frozen=True):
    """Some conversations, and the cursor after which the next ones come; None when there are no more."""

    conversations: list[Conversation]
    after: str | None


class NotBuilt(Exception):
    """The index was never filled on this database: the process that keeps it has not run, or is still filling it."""


class InvalidQuery(ValueError):
    """A cursor, limit or time that can't be used; the message is a sentence that names it."""


class ConversationIndex:
    """The projection. Its code version changes whenever the table or the meaning of a column does."""

    name: Final = NAME
    version: Final = 1
    bodies: Final = ("user", "action")

    async def create(self, connection: Any, table: str) -> None:
        """Make the empty table."""
        await connection.execute(CREATE.format(table=table))

    async def apply(self, connection: Any, table: str, events: Sequence[LoggedEvent]) -> None:
        """Add the events to the rows of their conversations, in one statement."""
        rows = [_row(change) for change in _fold(events)]
        await connection.execute(UPSERT.format(table=table), *zip(*rows, strict=True))

    async def finish(self, connection: Any, table: str) -> None:
        """Make the indexes by which :func:`page` reads."""
        await connection.execute(FINISH.format(table=table))


async def page(
    store: EventStore,
    *,
    active_since: datetime | None = None,
    channel: str | None = None,
    intent: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """At most `limit` conversations, most recently active first, that match every filter given.

    The order is that of the positions of last events. While somebody turns pages no conversation appears twice; one
    that becomes active meanwhile moves to the front, so a walk that had not reached it yet misses it. To see all:
    walk to the end, then ask again for what was active since the walk began.

    `active_since` is compared with the time of the last commit, by the database's clock. A cursor stays good while the
    index is rebuilt.

    Raises:
        InvalidQuery: the cursor is none of ours, the limit is not in 1 to 1,000, or the time has no time zone.
        NotBuilt: there is no index yet.
        StoreUnavailable: the database is away.
    """
    _check(active_since, limit)
    statement, values = query(active_since=active_since, channel=channel, intent=intent, after=after)
    rows = await read_active(store, statement, limit + 1, *values)
    shown = [Conversation(**dict(zip(Conversation.__struct_fields__, row, strict=True))) for row in rows[:limit]]
    return Page(shown, _cursor(shown[-1].position) if len(rows) > limit else None)


def query(
    *, active_since: datetime | None, channel: str | None, intent: str | None, after: str | None
) -> tuple[str, list[Any]]:
    """The statement of a page, whose $1 is the limit, and its other values.

    A name is looked for as a range of one, and ordered by: then only its own index gives the order. With a plain
    comparison the planner may walk through all conversations in the hope to find some of that name soon.
    """
    leading = "intent" if intent is not None else "channel" if channel is not None else None
    filters = {
        "position < {0}": None if after is None else _position_of(after),
        "channel BETWEEN {0} AND {0}": _label(channel),
        "intent BETWEEN {0} AND {0}": _label(intent),
        SINCE: active_since,
    }
    given = {condition: value for condition, value in filters.items() if value is not None}
    conditions = [condition.format(f"${number}") for number, condition in enumerate(given, start=2)]
    statement = PAGE.replace("{conditions}", " AND ".join(conditions) or "true")
    return statement.replace("{order}", f"{leading} DESC, position" if leading else "position"), list(given.values())


async def read_active(store: EventStore, statement: str, *arguments: Any) -> Any:
    """Rows of the table that readers have; asked again if it is dropped between the two statements."""

    async def work() -> Any:
        async with store.read.acquire() as connection:
            slot = await connection.fetchval(store.read.sql(ACTIVE), NAME)
            if slot is None:
                raise NotBuilt("the index of conversations is not built yet")
            table = table_of(NAME, slot)
            return await connection.fetch(store.read.sql(statement.replace("{table}", table)), *arguments)

    return await store.database.patiently(work)


def _check(active_since: datetime | None, limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit is {limit}: it must lie between 1 and {MAX_LIMIT}")
    if active_since is not None and active_since.tzinfo is None:
        raise InvalidQuery(f"active_since is {active_since.isoformat()}: it needs a time zone, such as Z or +02:00")


def _cursor(position: int) -> str:
    """The position in eight bytes, signed as Postgres has it, after one for the format."""
    return base64.urlsafe_b64encode(b"\x01" + position.to_bytes(8, "big", signed=True)).decode()


def _position_of(cursor: str) -> int:
    try:
        position = int.from_bytes(base64.urlsafe_b64decode(cursor)[1:], "big")
        if _cursor(position) == cursor:
            return position
    except (ValueError, OverflowError):  # not base64, not ASCII, or too long
        pass
    raise InvalidQuery(f"after is {cursor[:40]!r}: that is no cursor which an earlier page gave")


# ---- folding ----


class _Change(Struct, gc=False):
    """What a batch of events does to one conversation. Bodies are read at the end: only the last ones count."""

    conversation: int
    generation: int = 1  # and one more with each replacement in the batch
    position: int = 0
    version: int = 0
    events: int = 0
    user_events: int = 0
    bot_events: int = 0
    action_events: int = 0
    user: str | None = None
    action: str | None = None


def _fold(events: Sequence[LoggedEvent]) -> Collection[_Change]:
    changes: dict[int, _Change] = {}
    for position, conversation, version, kind, body in events:
        change = changes.get(conversation)
        if change is None:
            change = changes[conversation] = _Change(conversation)
        if kind == "tracker_replaced":
            change = changes[conversation] = _Change(conversation, change.generation + 1)
        else:
            change.events += 1
        if kind == "user":
            change.user_events += 1
            change.user = body
        elif kind == "action":
            change.action_events += 1
            change.action = body
        elif kind == "bot":
            change.bot_events += 1
        change.position = position
        change.version = version
    return changes.values()


def _row(change: _Change) -> tuple[int | str | None, ...]:
    intent, channel = _user_labels(change.user) if change.user is not None else (None, None)
    return (
        change.conversation,
        change.position,
        change.version,
        change.generation,
        change.events,
        change.user_events,
        change.bot_events,
        change.action_events,
        intent,
        channel,
        _action_label(change.action) if change.action is not None else None,
    )


class _Intent(Struct, gc=False):
    name: str | None = None


class _ParseData(Struct, gc=False):
    intent: _Intent | None = None


class _User(Struct, gc=False):
    parse_data: _ParseData | None = None
    input_channel: str | None = None


class _Action(Struct, gc=False):
    name: str | None = None


_USER: Final = msgspec.json.Decoder(_User)
_ACTION: Final = msgspec.json.Decoder(_Action)
# Lone surrogates, values of another type and deep nesting: the standard library reads them.
_NOT_FOR_MSGSPEC: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _user_labels(body: str) -> tuple[str | None, str | None]:
    """Intent and channel of a user event."""
    try:
        user = _USER.decode(body)
    except _NOT_FOR_MSGSPEC:
        event = json.loads(body)
        return _label(_at(event, "parse_data", "intent", "name")), _label(_at(event, "input_channel"))
    intent = user.parse_data.intent if user.parse_data else None
    return _label(intent.name if intent else None), _label(user.input_channel)


def _action_label(body: str) -> str | None:
    try:
        return _label(_ACTION.decode(body).name)
    except _NOT_FOR_MSGSPEC:
        return _label(_at(json.loads(body), "name"))


def _at(value: Any, *path: str) -> Any:
    """What lies at a path in JSON; None if there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _label(value: Any) -> str | None:
    """A name as columns hold it; None for what is no text."""
    return storable(value)[:LABEL] if isinstance(value, str) else None
