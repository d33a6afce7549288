"""Group commit: requests that arrive while a commit is under way travel together in the next one."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import asyncpg
from msgspec import Struct

from eventstore.database import DATA_FAULTS, is_unavailable, reason_of, was_rolled_back
from eventstore.errors import (
    AppendTooLarge,
    CheckpointMoved,
    EventRefused,
    EventStoreError,
    IdempotencyKeyReused,
    OpeningNeeded,
    Outcome,
    QueueFull,
    StoreUnavailable,
    WrongExpectedVersion,
)
from eventstore.events import Append, Appended

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventstore.database import Connection, Database

Origin = Literal["api", "turn", "import"]

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 1_000_000
MAX_WAITING: Final = 20_000
MAX_WAITING_BYTES: Final = 64_000_000
MAX_VERSION: Final = 2**63 - 1
_STOPPED: Final = "the service stops"
_OVERHEAD: Final = 100  # bytes of an event, or of a request, beside the bodies; about

# Arrays travel as text wherever they can: the driver takes many times longer to encode an array than a text.
_APPEND: Final = """
SELECT results, last_position FROM @schema@.append($1, $2, $3, $4,
    $5::text::int[], $6::text::bigint[], $7, $8, $9::text::int[], $10::text::int[], $11::text::boolean[], $12, $13, $14,
    string_to_array($15, E'\n'), $16::text::float8[], $17::text::smallint[], string_to_array($18, E'\n'),
    $19, string_to_array($20, E'\n', ''), $21)
"""
_MAKE_PARTITIONS: Final = "SELECT @schema@.make_partitions($1)"


class _Pending(Struct):
    request: Append
    answer: asyncio.Future[Appended]
    size: int
    since: float


class GroupCommit:
    """Appends the requests of one process over one connection, one call at a time.

    There is no delay to gather requests: what arrives during a call makes the next one. A caller that goes away does
    not cancel what it handed in.

    The same call is sent with the same id until it is answered, and the log executes it once however often and however
    late it arrives. A request that could not be sent within the database's patience is given up, and so is a call that
    is not answered in it.
    """

    def __init__(self, database: Database, *, node: str, origin: Origin = "api") -> None:
        self._database = database
        self._statement = database.sql(_APPEND)
        self._node, self._origin = node, origin
        self._waiting: deque[_Pending] = deque()
        self._waiting_bytes = 0
        self._arrival = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.head = 0  #: the last position that a call told, 0 before the first

    def start(self) -> None:
        """Begin to work, in a task of the running loop."""
        self._loop = asyncio.get_running_loop()  # asking each time costs a system call before Python 3.12
        self._task = self._loop.create_task(self._run(), name="group commit")
        self._task.add_done_callback(self._go_on)

    def _go_on(self, task: asyncio.Task[None]) -> None:
        """A fault of ours, which the loop reports, harms its own batch and nobody else."""
        if not self._closing and not task.cancelled():
            self.start()

    async def close(self) -> None:
        """Take nothing more, finish what was handed in, which the patience bounds, and stop."""
        self._closing = True
        self._arrival.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            _fail(self._waiting, _STOPPED, "not_written")
            self._drop_connection()

    def append(self, request: Append) -> asyncio.Future[Appended]:
        """Queue a request; the future gives its result or raises what :mod:`eventstore.errors` names.

        Raises:
            AppendTooLarge: the request is larger than all that may wait.
            QueueFull: too much waits already.
            StoreUnavailable: closed.
        """
        size = _size(request)
        if size > MAX_WAITING_BYTES:
            raise AppendTooLarge(size, MAX_WAITING_BYTES)
        if self._waiting_bytes + size > MAX_WAITING_BYTES or len(self._waiting) >= MAX_WAITING:
            raise QueueFull(f"{len(self._waiting)} writes of {self._waiting_bytes} bytes wait already")
        if self._closing:
            raise StoreUnavailable(_STOPPED)
        pending = _Pending(request, self._loop.create_future(), size, self._loop.time())
        self._waiting.append(pending)
        self._waiting_bytes += size
        self._arrival.set()
        return pending.answer

    async def _run(self) -> None:
        while True:
            while self._waiting:
                await self._commit(self._next_batch())
            if self._closing:
                return
            self._arrival.clear()
            await self._arrival.wait()

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        events = size = 0
        overdue = self._loop.time() - self._database.patience
        while self._waiting:
            pending = self._waiting[0]
            if pending.since < overdue:
                _fail([self._take()], "it waited too long behind other writes", "not_written")
                continue
            events += _event_count(pending.request)
            size += pending.size
            if batch and (events > MAX_EVENTS or size > MAX_BYTES):
                break
            batch.append(self._take())
        return batch

    def _take(self) -> _Pending:
        pending = self._waiting.popleft()
        self._waiting_bytes -= pending.size
        return pending

    async def _commit(self, batch: list[_Pending]) -> None:
        if not batch:
            return
        try:
            results = await self._call(batch)
        except StoreUnavailable as error:
            _fail(batch, error.reason, error.outcome)
        except DATA_FAULTS as error:
            await self._isolate(batch, error)
        except BaseException:  # a fault of ours, or cancelled
            _fail(batch, _STOPPED, "unknown")
            raise
        else:
            for pending, result in zip(batch, results, strict=True):
                _resolve(pending, result)

    async def _isolate(self, batch: list[_Pending], error: Exception) -> None:
        """Commit the halves on their own until the request with the bad data stands alone."""
        if len(batch) > 1:
            middle = len(batch) // 2
            try:
                await self._commit(batch[:middle])
                await self._commit(batch[middle:])
            finally:
                _fail(batch, _STOPPED, "unknown")
        elif not batch[0].answer.done():
            refusal = EventRefused(batch[0].request.conversation, reason_of(error))
            refusal.__cause__ = error
            batch[0].answer.set_exception(refusal)

    async def _call(self, batch: list[_Pending]) -> list[tuple[int, int, int, int]]:
        """The same call with the same id, until it is answered or its time is over."""
        columns = _columns([pending.request for pending in batch])
        arguments = (_new_batch_id(), self._node, self._origin, *columns)
        room = sum([_event_count(pending.request) for pending in batch])
        clock = self._loop.time
        # One that waited long behind others gets time for an answer, or a slow database would be cut off ever again.
        deadline = max(batch[0].since + self._database.patience, clock() + self._database.patience / 2)
        lost = False  # whether some sending may have been executed, or may be yet
        pause, reason = 0.01, ""
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await self._connected()
                    return self._results(await self._send(connection, (*arguments, lost), room))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                sent = self._connection is not None
                lost = lost or (sent and not was_rolled_back(error))
                reason = reason if reason and isinstance(error, TimeoutError) else reason_of(error)
                self._drop_connection()
            if clock() + pause >= deadline:
                raise StoreUnavailable(reason, "unknown" if lost else "not_written")
            await asyncio.sleep(pause)  # nothing tells when a server is back: ask again, ever more slowly
            pause = min(2 * pause, 0.5)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._drop_connection()
            self._connection = await self._database.connect()
        return self._connection

    async def _send(self, connection: Connection, arguments: tuple[Any, ...], room: int) -> asyncpg.Record:
        while True:
            try:
                row = await connection.fetchrow(self._statement, *arguments)
            except asyncpg.CheckViolationError as error:
                if error.constraint_name is not None:
                    raise
                # There is no partition for the positions; maintenance is late.
                await connection.execute(self._database.sql(_MAKE_PARTITIONS), room)
            else:
                assert row is not None  # a function with OUT parameters always gives one row
                return row

    def _results(self, row: asyncpg.Record) -> list[tuple[int, int, int, int]]:
        numbers, head = row
        self.head = max(self.head, head)
        return list(zip(numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4], strict=True))

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _fail(batch: Iterable[_Pending], reason: str, outcome: Outcome) -> None:
    """Give every request of the batch that has no answer yet an error of its own."""
    for pending in batch:
        if not pending.answer.done():
            pending.answer.set_exception(StoreUnavailable(reason, outcome))


def _resolve(pending: _Pending, result: tuple[int, int, int, int]) -> None:
    if pending.answer.done():  # its caller went away
        return
    status, base, version, generation = result
    if status > 1:
        pending.answer.set_exception(_refusal(pending.request, status, version))
        return
    repeated = status == 1
    opened = not repeated and version - base > len(pending.request.events)
    pending.answer.set_result(Appended(base, version, generation, opened, repeated))


def _refusal(request: Append, status: int, version: int) -> EventStoreError:
    if status == 2:
        return WrongExpectedVersion(request.conversation, request.expected or 0, version)
    if status == 3:
        return IdempotencyKeyReused(request.conversation, request.key or "")
    if status == 4:
        return OpeningNeeded(request.conversation, version)
    assert request.checkpoint is not None
    return CheckpointMoved(request.checkpoint.name, request.checkpoint.old)


def _size(request: Append) -> int:
    size = _OVERHEAD
    for event in request.events:
        size += len(event.body) + _OVERHEAD
    for event in request.opening or ():
        size += len(event.body) + _OVERHEAD
    return size


def _event_count(request: Append) -> int:
    return len(request.events) + len(request.opening or ())


def _columns(requests: list[Append]) -> tuple[Any, ...]:
    """The requests as `_APPEND` takes them; arrays that few requests use are left out where nothing is in them."""
    index: dict[str, int] = {}
    conversations = [index.setdefault(request.conversation, len(index) + 1) for request in requests]
    groups = [(*request.opening, *request.events) if request.opening else request.events for request in requests]
    counts = [len(group) for group in groups]
    events = [event for group in groups for event in group]
    owners = [request for request, count in zip(requests, counts, strict=True) for _ in range(count)]
    moves = [request.checkpoint for request in requests]
    return (
        list(index),
        _array(conversations),
        _array(["NULL" if r.expected is None else min(r.expected, MAX_VERSION) for r in requests]),
        _unless_unused([request.key for request in requests]),
        _unless_unused([request.fingerprint for request in requests]),
        _array([-1 if request.opening is None else len(request.opening) for request in requests]),
        _array(counts),
        _array([request.replaces for request in requests]),
        _unless_unused([move and move.name for move in moves]),
        _unless_unused([move and move.old for move in moves]),
        _unless_unused([move and move.new for move in moves]),
        "\n".join([event.type for event in events]),
        _array([event.timestamp for event in events]),
        _array([event.schema_version for event in events]),
        "\n".join([event.body for event in events]),
        _unless_unused([request.actor for request in owners]),
        "\n".join([request.request_id or "" for request in owners]),
    )


def _array(values: list[Any]) -> str:
    """Numbers and truths as the text of a Postgres array."""
    return f"{{{str(values)[1:-1]}}}".replace("'", "")


def _unless_unused(column: list[Any]) -> list[Any] | None:
    return None if column.count(None) == len(column) else column


def _new_batch_id() -> UUID:
    """A UUID of version 7: later ones are greater, which keeps their index dense."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62))
