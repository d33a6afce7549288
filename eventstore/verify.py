"""Proves that the log is whole: positions, versions, digests, chain, generations and heads.

What no log can prove by itself is that it was not put back as a whole to an earlier state. Compare `Verified.chain`
with one that was kept elsewhere; checkpoints do that for their readers.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from msgspec import Struct

from eventstore.errors import CorruptLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from eventstore.reads import Reader

COMMITS_AT_ONCE: Final = 500
EVENTS_AT_ONCE: Final = 500
HEADS_AT_ONCE: Final = 5000

# $1 bigint: position before the first one asked for; $2 bigint: how many
COMMITS: Final = """
SELECT first_position, last_position, (extract(epoch FROM "time") * 1000000)::bigint AS microseconds, chain
FROM @schema@.commit WHERE last_position > $1 ORDER BY last_position LIMIT $2
"""
# The commit that ends before a position; $1 bigint
COMMIT_BEFORE: Final = """
SELECT first_position, last_position, (extract(epoch FROM "time") * 1000000)::bigint AS microseconds, chain
FROM @schema@.commit WHERE last_position < $1 ORDER BY last_position DESC LIMIT 1
"""
# $1, $2 bigint: first and last position
EVENTS: Final = """
SELECT e.position, e.conversation, e.version, e.type, e."timestamp", e.schema_version, e.body, e.digest, c.id, c.salt
FROM @schema@.event e LEFT JOIN @schema@.conversation c ON c.no = e.conversation
WHERE e.position >= $1 AND e.position <= $2 ORDER BY e.position
"""
LAST_EVENT: Final = "SELECT position FROM @schema@.event ORDER BY position DESC LIMIT 1"
# $1 bigint: number of the conversation before the first one asked for; $2 bigint: how many
HEADS: Final = """
SELECT no, id, version, generation, generation_version, generation_position, first_position, last_position
FROM @schema@.conversation WHERE no > $1 ORDER BY no LIMIT $2
"""
# The second and later generations, and what their first events say; $1 bigint[]: numbers of conversations
GENERATIONS: Final = """
SELECT g.conversation, g.generation, g.first_version, g.first_position, e.conversation = g.conversation, e.version
FROM @schema@.generation g LEFT JOIN @schema@.event e ON e.position = g.first_position
WHERE g.conversation = ANY ($1) ORDER BY g.conversation, g.generation
"""


class Verified(Struct, frozen=True, kw_only=True):
    """What was found whole."""

    log: UUID
    first: int  #: position of the first event; greater than `last` when there was none
    last: int  #: position of the last one
    commits: int
    conversations: int  #: with events in between
    chain: bytes  #: of the last commit; it stands for everything up to `last`


class _Seen(Struct):
    """What the events told of one conversation."""

    first_version: int
    first_position: int
    version: int
    last_position: int


class _Commit(Struct, frozen=True):
    first: int
    last: int
    microseconds: int  #: since 1970
    chain: bytes


class _Event(Struct, frozen=True):
    position: int
    number: int
    version: int
    type: str
    timestamp: float
    schema_version: int
    body: str
    digest: bytes
    conversation: str | None
    salt: bytes | None


class _Head(Struct, frozen=True):
    number: int
    conversation: str
    version: int
    generation: int
    generation_version: int
    generation_position: int
    first_position: int
    last_position: int


class _Span(Struct, frozen=True):
    """What is verified, and what its events told so far, by number of the conversation."""

    first: int
    last: int
    seen: dict[int, _Seen]


_BEGINNING: Final = _Commit(0, 0, -(2**63), b"")


def _tell_nobody(_position: int, _last: int) -> None: ...


async def verify(
    read: Reader, *, first: int = 1, last: int | None = None, progress: Callable[[int, int], None] = _tell_nobody
) -> Verified:
    """Read the log from `first` to `last` (its end, if that is left out) and prove that nothing in it was changed.

    Whole commits are read, so it may begin earlier and end later than asked for. The log may grow meanwhile. It takes
    memory for four numbers of each conversation that has events in between, and for a few hundred events.
    `progress` is called after each commit with the position that is done and the last one.

    Raises:
        CorruptLog: names the first place found.
        StoreUnavailable: no answer from the database.
    """
    previous = await _commit_before(read, first)
    span = _Span(previous.last + 1, await _end(read, last), {})
    events = _events(read, span)
    commits = 0
    async for commit in _commits(read, span):
        await _check_commit(commit, previous, events, span.seen)
        previous = commit
        commits += 1
        progress(commit.last, span.last)
    await _check_heads(read, span)
    log = (await read.identity()).id
    return Verified(
        log=log,
        first=span.first,
        last=span.last,
        commits=commits,
        conversations=len(span.seen),
        chain=previous.chain,
    )


async def _commit_before(read: Reader, position: int) -> _Commit:
    rows = await read.fetch(COMMIT_BEFORE, position)
    return _Commit(*rows[0]) if rows else _BEGINNING


async def _end(read: Reader, last: int | None) -> int:
    """The end of the commit that holds `last`."""
    stray = await read.fetch(LAST_EVENT)  # asked first: what is appended meanwhile has a commit
    head = await read.last_position()
    if stray and stray[0][0] > head:
        raise CorruptLog(f"there is an event at position {stray[0][0]}, and the last commit ends at {head}")
    if last is None:
        return head
    if last > head:
        raise CorruptLog(f"the log ends at position {head}, before {last}")
    commits = await read.commits(last, last)
    return commits[-1].last_position if commits else last


async def _commits(read: Reader, span: _Span) -> AsyncIterator[_Commit]:
    after = span.first - 1
    while after < span.last:
        rows = await read.fetch(COMMITS, after, COMMITS_AT_ONCE)
        if not rows:
            raise CorruptLog(f"no commit holds position {after + 1}")
        for row in rows:
            if row[0] > span.last:
                return
            yield _Commit(*row)
        after = rows[-1][1]


async def _events(read: Reader, span: _Span) -> AsyncIterator[_Event]:
    for start in range(span.first, span.last + 1, EVENTS_AT_ONCE):
        end = min(span.last, start + EVENTS_AT_ONCE - 1)
        rows = await read.fetch(EVENTS, start, end)
        for position, row in enumerate(rows, start):
            if row[0] != position:
                raise CorruptLog(f"there is no event at position {position}")
            yield _Event(*row)
        if len(rows) <= end - start:
            raise CorruptLog(f"there is no event at position {start + len(rows)}")


async def _check_commit(
    commit: _Commit, previous: _Commit, events: AsyncIterator[_Event], seen: dict[int, _Seen]
) -> None:
    name = f"the commit of positions {commit.first} to {commit.last}"
    if commit.first != previous.last + 1 or commit.last < commit.first:
        raise CorruptLog(f"{name} comes after position {previous.last}")
    if commit.microseconds <= previous.microseconds:
        raise CorruptLog(f"{name} is not later than the one before")
    chain = sha256(previous.chain + struct.pack("!qqq", commit.first, commit.last, commit.microseconds))
    for _ in range(commit.first, commit.last + 1):
        event = await anext(events)
        _check_event(event)
        _follow(event, seen)
        chain.update(event.digest)
    if chain.digest() != commit.chain:
        raise CorruptLog(f"the chain breaks at {name}")


def _check_event(event: _Event) -> None:
    if event.salt is None:
        raise CorruptLog(f"the event at position {event.position} belongs to no conversation")
    type_, body = event.type.encode(), event.body.encode()
    # What event_digest() in the database does: numbers have a fixed width, everything else its length in front.
    digest = sha256(
        struct.pack("!i", len(event.salt))
        + event.salt
        + struct.pack("!qi", event.version, len(type_))
        + type_
        + struct.pack("!hdi", event.schema_version, event.timestamp, len(body))
        + body
    ).digest()
    if digest != event.digest:
        raise CorruptLog(f"the event at position {event.position} was changed: its digest is another one")


def _follow(event: _Event, seen: dict[int, _Seen]) -> None:
    known = seen.get(event.number)
    if known is None:
        seen[event.number] = _Seen(event.version, event.position, event.version, event.position)
        return
    if event.version != known.version + 1:
        raise CorruptLog(
            f"the event at position {event.position} has version {event.version},"
            f" conversation {event.conversation!r} was at {known.version}"
        )
    known.version, known.last_position = event.version, event.position


async def _check_heads(read: Reader, span: _Span) -> None:
    number = 0
    while rows := await read.fetch(HEADS, number, HEADS_AT_ONCE):
        heads = [_Head(*row) for row in rows]
        generations = await _generations(read, heads)
        reached = await read.last_position()
        for head in heads:
            _check_head(head, span, reached)
            _check_generations(head, generations.get(head.number, []))
        number = heads[-1].number


async def _generations(read: Reader, heads: list[_Head]) -> dict[int, list[Any]]:
    rows = await read.fetch(GENERATIONS, [head.number for head in heads])
    return {number: list(group) for number, group in groupby(rows, itemgetter(0))}


def _check_head(head: _Head, span: _Span, reached: int) -> None:
    name = f"conversation {head.conversation!r}"
    if head.last_position > reached:
        raise CorruptLog(f"{name} has its last event at position {head.last_position}, the log ends at {reached}")
    seen = span.seen.get(head.number)
    if seen is None:
        if _overlap(head, span):
            raise CorruptLog(f"{name} has no events at positions {head.first_position} and {head.last_position}")
        return
    starts = (seen.first_version, seen.first_position)
    if span.first <= head.first_position and starts != (1, head.first_position):
        raise CorruptLog(f"{name} begins at position {head.first_position}, its events at {seen.first_position}")
    ends = (seen.version, seen.last_position)
    if head.last_position <= span.last and ends != (head.version, head.last_position):
        raise CorruptLog(f"{name} is at version {head.version}, its events end with {seen.version}")


def _overlap(head: _Head, span: _Span) -> bool:
    return any(span.first <= position <= span.last for position in (head.first_position, head.last_position))


def _check_generations(head: _Head, rows: Sequence[Any]) -> None:
    """A head that was read before the generations may not know the latest of them yet."""
    name = f"conversation {head.conversation!r}"
    known = (1, 0, head.first_position)
    for _, generation, version, position, is_its_own, real_version in rows[: head.generation - 1]:
        if generation != known[0] + 1 or version <= known[1] or not is_its_own or version != real_version:
            raise CorruptLog(f"generation {generation} of {name} does not begin at position {position}")
        known = (generation, version, position)
    if known != (head.generation, head.generation_version, head.generation_position):
        raise CorruptLog(f"{name} is in generation {head.generation}, its generations end with {known[0]}")
