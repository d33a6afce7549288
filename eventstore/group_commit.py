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

from eventstore.database import is_unavailable, reason_of
from eventstore.errors import (
    CheckpointMoved,
    EventRefused,
    EventStoreError,
    IdempotencyKeyReused,
    OpeningNeeded,
    QueueFull,
    StoreUnavailable,
    WrongExpectedVersion,
)
from eventstore.events import Append, Appended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore.database import Connection, Database

Origin = Literal["api", "turn", "import"]

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 1_000_000
MAX_WAITING: Final = 20_000
MAX_WAITING_BYTES: Final = 64_000_000

_APPEND: Final = (
    "SELECT results, last_position FROM @schema@.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
    " $12, $13, $14, $15, $16, $17, $18, $19, $20)"
)


# The data of some request is at fault.
_DATA_FAULTS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,  # the driver could not encode it
)


class _Pending(Struct):
    request: Append
    answer: asyncio.Future[Appended]
    size: int
    since: float


class GroupCommit:
    """Appends the requests of one process over one connection, one call at a time.

    There is no delay to gather requests: what arrives during a call makes the next one. A caller that goes away does
    not cancel what it handed in.
    """

    def __init__(self, database: Database, *, node: str, origin: Origin = "api") -> None:
        self._database = database
        self._statement = database.sql(_APPEND)
        self._node, self._origin = node, origin
        self._waiting: deque[_Pending] = deque()
        self._waiting_bytes = 0
        self._arrival = asyncio.Event()
        self._connection: Connection | None = None
        self._last_failure = ""
        self._task: asyncio.Task[None] | None = None
        self.head = 0  #: the last position of the last call, 0 before the first

    def start(self) -> None:
        """Begin to work, in a task of the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="group commit")

    async def close(self) -> None:
        """Stop. Requests that wait are refused with the outcome "not_written"."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail(self._waiting, StoreUnavailable("the service stops"))
        self._waiting.clear()
        if self._connection is not None:
            await self._connection.close()

    def append(self, request: Append) -> asyncio.Future[Appended]:
        """Queue a request; the future gives its result or raises what :mod:`eventstore.errors` names.

        Raises:
            QueueFull: too much waits already.
        """
        size = sum([len(event.body) for event in request.events]) + 200
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > max(MAX_WAITING_BYTES, size + 1):
            raise QueueFull(f"{len(self._waiting)} writes of {self._waiting_bytes} bytes wait already")
        loop = asyncio.get_running_loop()
        pending = _Pending(request, loop.create_future(), size, loop.time())
        self._waiting.append(pending)
        self._waiting_bytes += size
        self._arrival.set()
        return pending.answer

    async def _run(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._waiting:
                await self._commit(self._next_batch())

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        events = size = 0
        while self._waiting:
            pending = self._waiting[0]
            events += _event_count(pending.request)
            size += pending.size
            if batch and (events > MAX_EVENTS or size > MAX_BYTES):
                break
            batch.append(self._waiting.popleft())
            self._waiting_bytes -= pending.size
        return batch

    async def _commit(self, batch: list[_Pending]) -> None:
        try:
            results = await self._call(batch)
        except StoreUnavailable as error:
            self._fail(batch, error)
        except _DATA_FAULTS as error:
            await self._isolate(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, StoreUnavailable("the service stops", "unknown"))
            raise
        else:
            for pending, result in zip(batch, results, strict=True):
                _resolve(pending, result)

    async def _isolate(self, batch: list[_Pending], error: Exception) -> None:
        """Commit the halves on their own until the request with the bad data stands alone."""
        if len(batch) == 1:
            refusal = EventRefused(batch[0].request.conversation, reason_of(error))
            refusal.__cause__ = error
            self._fail(batch, refusal)
            return
        middle = len(batch) // 2
        await self._commit(batch[:middle])
        await self._commit(batch[middle:])

    async def _call(self, batch: list[_Pending]) -> list[tuple[int, int, int, int]]:
        """The same call with the same id, until it is answered or its time is over."""
        arguments = (_new_batch_id(), self._node, self._origin, *_columns([pending.request for pending in batch]))
        deadline = batch[0].since + self._database.patience
        sent, pause = False, 0.01
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._database.connect()
                    sent = True
                    row = await self._connection.fetchrow(self._statement, *arguments)
                return self._results(row)
            except _DATA_FAULTS as error:
                if not _has_no_partition(error):
                    raise
                await self._make_partitions()
                continue
            except Exception as error:
                if not is_unavailable(error):
                    raise
                self._give_up_connection(error)
            if asyncio.get_running_loop().time() + pause >= deadline:
                raise StoreUnavailable(self._last_failure, "unknown" if sent else "not_written")
            await asyncio.sleep(pause)  # nothing tells when a server is back: ask again, ever more slowly
            pause = min(2 * pause, 0.5)

    async def _make_partitions(self) -> None:
        assert self._connection is not None
        await self._connection.execute(self._database.sql("SELECT @schema@.make_partitions()"))

    def _results(self, row: asyncpg.Record | None) -> list[tuple[int, int, int, int]]:
        assert row is not None  # a function with OUT parameters always gives one row
        numbers, self.head = row
        return list(zip(numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4], strict=True))

    def _give_up_connection(self, error: Exception) -> None:
        self._last_failure = reason_of(error)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    @staticmethod
    def _fail(batch: Sequence[_Pending] | deque[_Pending], error: EventStoreError) -> None:
        for pending in batch:
            if not pending.answer.done():
                pending.answer.set_exception(error)


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


def _event_count(request: Append) -> int:
    return len(request.events) + len(request.opening or ())


def _columns(requests: list[Append]) -> tuple[Any, ...]:
    """The requests as the arrays that the function `append` takes, in its order."""
    index: dict[str, int] = {}
    conversation = [index.setdefault(request.conversation, len(index) + 1) for request in requests]
    moves = [request.checkpoint for request in requests]
    events = [event for request in requests for event in (*(request.opening or ()), *request.events)]
    counts = [_event_count(request) for request in requests]
    return (
        list(index),
        conversation,
        [request.expected for request in requests],
        [request.key for request in requests],
        [request.fingerprint for request in requests],
        [-1 if request.opening is None else len(request.opening) for request in requests],
        counts,
        [request.replaces for request in requests],
        [move and move.name for move in moves],
        [move and move.old for move in moves],
        [move and move.new for move in moves],
        [event.type for event in events],
        [event.timestamp for event in events],
        [event.schema_version for event in events],
        [event.body for event in events],
        [request.actor for request, count in zip(requests, counts, strict=True) for _ in range(count)],
        [request.request_id for request, count in zip(requests, counts, strict=True) for _ in range(count)],
    )


def _new_batch_id() -> UUID:
    """A UUID of version 7: later ones are greater, which keeps their index dense."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62))


def _has_no_partition(error: Exception) -> bool:
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None
