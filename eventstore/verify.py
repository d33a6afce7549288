"""Proves that the log is whole: positions, versions, digests, chain, generations, heads, partitions and checkpoints.

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
from msgspec.structs import replace

from eventstore.errors import CorruptLog, ForeignLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from eventstore.checkpoints import Checkpoint, Checkpoints
    from eventstore.reads import Reader

COMMITS_AT_ONCE: Final = 500
EVENTS_AT_ONCE: Final = 2000
BYTES_AT_ONCE: Final = 8_000_000  #: of bodies; a larger one comes alone
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
# $1, $2 bigint: first and last position; $3 bigint: bytes of bodies
EVENTS: Final = """
SELECT e.position, e.conversation, e.version, e.type, e."timestamp", e.schema_version, e.body, e.digest, c.id, c.salt
FROM (
    SELECT e.*,
        sum(octet_length(e.body)) OVER (ORDER BY e.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM @schema@.event e WHERE e.position >= $1 AND e.position <= $2
) e LEFT JOIN @schema@.conversation c ON c.no = e.conversation
WHERE coalesce(e.before, 0) < $3 ORDER BY e.position
"""
LAST_EVENT: Final = "SELECT position FROM @schema@.event ORDER BY position DESC LIMIT 1"
LAST_CONVERSATION: Final = "SELECT no FROM @schema@.conversation ORDER BY no DESC LIMIT 1"
# $1, $2 bigint: number of the conversation before the first one asked for, and of the last one; $3 bigint: how many
HEADS: Final = """
SELECT no, id, version, generation, generation_version, generation_position, first_position, last_position
FROM @schema@.conversation WHERE no > $1 AND no <= $2 ORDER BY no LIMIT $3
"""
# The second and later generations, and what their first events say; $1 bigint[]: numbers of conversations
GENERATIONS: Final = """
SELECT g.conversation, g.generation, g.first_version, g.first_position, e.conversation = g.conversation, e.version
FROM @schema@.generation g LEFT JOIN @schema@.event e ON e.position = g.first_position
WHERE g.conversation = ANY ($1) ORDER BY g.conversation, g.generation
"""

CHECKPOINTS: Final = "SELECT name FROM @schema@.checkpoint ORDER BY name"
# Name, first position, position behind the last, and whether it has what make_partitions() gives it
PARTITIONS: Final = """
SELECT child.relname::text, substring(bound FROM $r$FROM \\('(\\d+)'\\)$r$)::bigint,
    substring(bound FROM $r$TO \\('(\\d+)'\\)$r$)::bigint,
    EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = child.oid
        AND pg_get_constraintdef(oid) = 'UNIQUE (conversation, version)'),
    EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = child.oid AND tgname = 'only_grows' AND tgenabled IN ('O', 'A'))
FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid,
    pg_get_expr(child.relpartbound, child.oid) bound
WHERE i.inhparent = $n$@schema@.event$n$::regclass ORDER BY 2 NULLS FIRST
"""


class Verified(Struct, frozen=True, kw_only=True):
    """What was found whole."""

    log: UUID
    first: int  #: position of the first event; greater than `last` when there was none
    last: int  #: position of the last one
    commits: int
    conversations: int  #: with events in between
    chain: bytes  #: of the last commit; it stands for everything up to `last`


class End(Struct, gc=False):
    """What the events told of one conversation."""

    first_version: int
    first_position: int
    version: int
    last_position: int


Ends = dict[int, End]  # by number of the conversation


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


_BEGINNING: Final = _Commit(0, 0, -(2**63), b"")


def _tell_nobody(_position: int, _last: int) -> None: ...


async def verify(
    read: Reader, *, first: int = 1, last: int | None = None, progress: Callable[[int, int], None] = _tell_nobody
) -> Verified:
    """Read the log from `first` to `last` (its end, if that is left out) and prove that nothing in it was changed.

    Whole commits are read, so it may begin earlier and end later than asked for. The log may grow meanwhile. It takes
    memory for four numbers of each conversation that has events in between, and for a few thousand events.
    `progress` is called after each commit with the position that is done and the last one.

    Raises:
        CorruptLog: names the first place found.
        StoreUnavailable: no answer from the database.
    """
    verified, ends = await verify_events(read, first=first, last=last, progress=progress)
    await verify_heads(read, verified, ends)
    return verified


async def verify_events(
    read: Reader, *, first: int = 1, last: int | None = None, progress: Callable[[int, int], None] = _tell_nobody
) -> tuple[Verified, Ends]:
    """The first half of :func:`verify`: positions, versions, digests and chain; raises what that raises."""
    previous = await _commit_before(read, first)
    begin, end = previous.last + 1, await _end(read, last)
    events = _events(read, begin, end)
    ends: Ends = {}
    commits = 0
    async for commit in _commits(read, begin, end):
        await _check_commit(commit, previous, events, ends)
        previous = commit
        commits += 1
        progress(commit.last, end)
    log = (await read.identity()).id
    found = Verified(log=log, first=begin, last=end, commits=commits, conversations=len(ends), chain=previous.chain)
    return found, ends


async def verify_heads(read: Reader, verified: Verified, ends: Ends) -> int:
    """The other half: heads and generations fit what the events told; returns how many conversations were looked at."""
    rows = await read.fetch(LAST_CONVERSATION)
    number, last, count = 0, rows[0][0] if rows else 0, 0
    while rows := await read.fetch(HEADS, number, last, HEADS_AT_ONCE):
        heads = [_Head(*row) for row in rows]
        generations = await _generations(read, heads)
        reached = await read.last_position()
        for head in heads:
            _check_head(head, verified, ends.get(head.number), reached)
            _check_generations(head, generations.get(head.number, []))
        number, count = heads[-1].number, count + len(heads)
    return count


async def verify_partitions(read: Reader) -> tuple[int, int]:
    """Partitions lie end to end from position 1 to beyond the head, each as it was made.

    Returns how many there are, and the last position that they can hold. Raises CorruptLog for the first that is wrong.
    """
    head = await read.last_position()
    end, rows = 0, await read.fetch(PARTITIONS)
    for name, first, behind, has_versions, refuses in rows:
        _check_partition(name, has_versions, refuses)
        if first != end + 1:
            raise CorruptLog(f"partition {name} of event begins at position {first}, the one before ends at {end}")
        end = behind - 1
    if end < head:
        raise CorruptLog(f"the partitions of event end at position {end}, before the head {head}")
    return len(rows), end


async def verify_checkpoints(read: Reader, checkpoints: Checkpoints) -> tuple[int, list[ForeignLog]]:
    """How many checkpoints there are, and what is wrong with those that are on another log or ahead of this one."""
    found = [await checkpoints.get(row[0]) for row in await read.fetch(CHECKPOINTS)]
    present = [checkpoint for checkpoint in found if checkpoint is not None]  # the others were removed meanwhile
    faults = [await _fault_of_checkpoint(checkpoints, checkpoint) for checkpoint in present]
    return len(present), [fault for fault in faults if fault is not None]


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


async def _commits(read: Reader, first: int, last: int) -> AsyncIterator[_Commit]:
    after = first - 1
    while after < last:
        rows = await read.fetch(COMMITS, after, COMMITS_AT_ONCE)
        if not rows:
            raise CorruptLog(f"no commit holds position {after + 1}")
        for row in rows:
            if row[0] > last:
                return
            yield _Commit(*row)
        after = rows[-1][1]


async def _events(read: Reader, first: int, last: int) -> AsyncIterator[_Event]:
    position = first
    while position <= last:
        rows = await read.fetch(EVENTS, position, min(last, position + EVENTS_AT_ONCE - 1), BYTES_AT_ONCE)
        if not rows:
            raise CorruptLog(f"there is no event at position {position}")
        for row in rows:
            if row[0] != position:
                raise CorruptLog(f"there is no event at position {position}")
            yield _Event(*row)
            position += 1


async def _check_commit(commit: _Commit, previous: _Commit, events: AsyncIterator[_Event], ends: Ends) -> None:
    name = f"the commit of positions {commit.first} to {commit.last}"
    if commit.first != previous.last + 1 or commit.last < commit.first:
        raise CorruptLog(f"{name} comes after position {previous.last}")
    if commit.microseconds <= previous.microseconds:
        raise CorruptLog(f"{name} is not later than the one before")
    chain = sha256(previous.chain + struct.pack("!qqq", commit.first, commit.last, commit.microseconds))
    for _ in range(commit.first, commit.last + 1):
        event = await anext(events)
        _check_event(event)
        _follow(event, ends)
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


def _follow(event: _Event, ends: Ends) -> None:
    known = ends.get(event.number)
    if known is None:
        ends[event.number] = End(event.version, event.position, event.version, event.position)
        return
    if event.version != known.version + 1:
        raise CorruptLog(
            f"the event at position {event.position} has version {event.version},"
            f" conversation {event.conversation!r} was at {known.version}"
        )
    known.version, known.last_position = event.version, event.position


async def _generations(read: Reader, heads: list[_Head]) -> dict[int, list[Any]]:
    rows = await read.fetch(GENERATIONS, [head.number for head in heads])
    return {number: list(group) for number, group in groupby(rows, itemgetter(0))}


def _check_head(head: _Head, verified: Verified, told: End | None, reached: int) -> None:
    name = f"conversation {head.conversation!r}"
    if head.last_position > reached:
        raise CorruptLog(f"{name} has its last event at position {head.last_position}, the log ends at {reached}")
    if told is None:
        if _overlap(head, verified):
            raise CorruptLog(f"{name} has no events at positions {head.first_position} and {head.last_position}")
        return
    starts = (told.first_version, told.first_position)
    if verified.first <= head.first_position and starts != (1, head.first_position):
        raise CorruptLog(f"{name} begins at position {head.first_position}, its events at {told.first_position}")
    ends = (told.version, told.last_position)
    if head.last_position <= verified.last and ends != (head.version, head.last_position):
        raise CorruptLog(f"{name} is at version {head.version}, its events end with {told.version}")


def _overlap(head: _Head, verified: Verified) -> bool:
    return any(verified.first <= position <= verified.last for position in (head.first_position, head.last_position))


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


def _check_partition(name: str, has_versions: bool, refuses: bool) -> None:
    if not has_versions:
        raise CorruptLog(f"partition {name} of event has no UNIQUE (conversation, version)")
    if not refuses:
        raise CorruptLog(f"partition {name} of event does not refuse changes: its trigger only_grows is off or missing")


async def _fault_of_checkpoint(checkpoints: Checkpoints, checkpoint: Checkpoint) -> ForeignLog | None:
    if checkpoint.epoch == 0:  # moved by appends: it counts something of an importer's own, and no positions
        checkpoint = replace(checkpoint, position=0)
    try:
        await checkpoints.verify(checkpoint)
    except ForeignLog as error:
        return error
    return None
