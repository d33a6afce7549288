"""`turnlog verify`: every check of the log and of what is kept beside it, one after the other. It changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from api.database import EmbeddedDatabase
from api.progress import progress
from api.settings import holds_model
from assistant.archive import load_model
from dialogue import Domain
from eventstore import Checkpoints, CorruptLog, DatabaseNotUsable, Reader
from eventstore.verify import verify_checkpoints, verify_events, verify_heads, verify_partitions
from projections.conversations import ConversationIndex
from projections.verify import NotComparable, count_snapshots, verify_snapshots, verify_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from api.settings import Settings
    from eventstore import Database
    from eventstore.verify import Ends, Verified
    from projections.slots import Projection

    Show = Callable[["Checked"], None]
    Outcome = tuple[str, Sequence[str]]  # what was found, and the faults

SHOW_EVERY: Final = 0.1  #: seconds; to draw a bar costs more than to verify an event


class Extent(Struct, frozen=True, kw_only=True):
    """What is verified: positions of the log (to its end, if `last` is left out), and whether nothing is folded."""

    first: int = 1
    last: int | None = None
    quick: bool = False

    @property
    def has_folds(self) -> bool:
        """Whether projections and snapshots are verified, which are folds of the whole log."""
        return not self.quick and self.first == 1 and self.last is None


class Checked(Struct, frozen=True):
    """What a check has looked at, in one line with figures, and what it found wrong.

    The line is empty when the check could not go on after its first fault.
    """

    name: str
    found: str
    faults: tuple[str, ...]


def verify(settings: Settings, extent: Extent, show: Show) -> None:
    """Carry out all checks; `show` gets the outcome of each when it is done.

    Raises:
        InvalidModel, InvalidDomain, InvalidYaml: the model, by which snapshots are folded, can't be read.
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    domain = _domain(settings) if extent.has_folds else None
    _refuse_to_make(settings)
    with open_database(settings) as database:
        asyncio.run(verify_database(database, domain, extent, show))


def _domain(settings: Settings) -> Domain:
    return load_model(settings.model).model.domain if holds_model(settings.model) else Domain.empty()


def _refuse_to_make(settings: Settings) -> None:
    """An embedded database that is not there would be made."""
    config = settings.database
    if isinstance(config, EmbeddedDatabase) and not (config.data_dir / "postgres").is_dir():
        raise DatabaseNotUsable(f"--data-dir: there is no log in {config.data_dir}")


async def verify_database(database: Database, domain: Domain | None, extent: Extent, show: Show) -> None:
    """Carry out all checks on a database, those of folds only with a domain. The log may grow meanwhile.

    Raises:
        StoreUnavailable: the database is away.
        DatabaseNotUsable: temporary tables can't be made in it.
    """
    async with _reader(database) as read:
        log = _Log(read, extent)
        index = ConversationIndex()
        await _check("partitions", _partitions(read), show)
        await _check("checkpoints", _checkpoints(read), show)
        await _check("events", log.events(), show)
        await _check("heads", log.heads(), show)
        if domain is not None:
            await _check(f"projection {index.name}", _table(database, read, index), show)
            await _check("snapshots", _snapshots(read, domain), show)


@contextlib.asynccontextmanager
async def _reader(database: Database) -> AsyncIterator[Reader]:
    read = Reader(database, connections=1)
    await read.open()
    try:
        yield read
    finally:
        await read.close()


async def _check(name: str, work: Awaitable[Outcome], show: Show) -> None:
    try:
        found, faults = await work
    except CorruptLog as error:
        found, faults = "", (str(error),)
    show(Checked(name, found, tuple(faults)))


@contextlib.contextmanager
def _shown(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show progress, but not each time that it is told."""
    last, drawn = (0, 0), time.monotonic()
    with progress(what, total) as drawing:

        def show(done: int, events: int) -> None:
            nonlocal last, drawn
            last, now = (done, events), time.monotonic()
            if now - drawn >= SHOW_EVERY:
                drawn = now
                drawing.show(done, events)

        yield show
        drawing.show(*last)


# ---- the checks ----


async def _partitions(read: Reader) -> Outcome:
    count, last = await verify_partitions(read)
    return f"{count:,} end to end, up to position {last:,}", ()


async def _checkpoints(read: Reader) -> Outcome:
    count, faults = await verify_checkpoints(read, Checkpoints(read))
    return f"{count:,} looked at: of this log, none ahead of it", list(map(str, faults))


class _Log:
    """The events, and the heads, which are compared with what the events told."""

    def __init__(self, read: Reader, extent: Extent) -> None:
        self._read, self._extent = read, extent
        self._told: tuple[Verified, Ends] | None = None

    async def events(self) -> Outcome:
        first, last = self._extent.first, self._extent.last
        end = last or await self._read.last_position()
        with _shown("events", end - first + 1) as shown:
            self._told = await verify_events(
                self._read,
                first=first,
                last=last,
                progress=lambda position, _: shown(position - first + 1, position - first + 1),
            )
        verified, _ = self._told
        return (
            f"positions {verified.first:,} to {verified.last:,} dense, versions of {verified.conversations:,}"
            f" conversations contiguous, digests of all events and chain of {verified.commits:,} commits right;"
            f" chain {verified.chain.hex()}",
            (),
        )

    async def heads(self) -> Outcome:
        if self._told is None:
            return "left out: they are compared with what the events tell", ()
        return f"{await verify_heads(self._read, *self._told):,} conversations end where their heads say", ()


async def _table(database: Database, read: Reader, projection: Projection) -> Outcome:
    with _shown(f"projection {projection.name}", await read.last_position()) as shown:
        try:
            compared = await verify_table(database, projection, lambda position, _: shown(position, position))
        except NotComparable as error:
            return f"left out: {error}", ()
    return (
        f"{compared.rows:,} rows of slot {compared.slot} equal a fold of positions 1 to {compared.position:,}",
        compared.faults,
    )


async def _snapshots(read: Reader, domain: Domain) -> Outcome:
    with _shown("snapshots", await count_snapshots(read)) as shown:
        compared = await verify_snapshots(read, domain, shown)
    return (
        f"{compared.equal:,} equal a fold of their events; {compared.foreign:,} of other models left out",
        compared.faults,
    )
