"""One round: sixteen clients post, readers follow, things are killed, and in the end everything is compared."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from eventstore import Database, Reader, embedded
from tests.faults import check
from tests.faults.brokers import KINDS as BROKER_KINDS
from tests.faults.brokers import Brokers, Got
from tests.faults.clients import Book, Client
from tests.faults.kills import KINDS, STORAGE_TIMEOUT, World
from tests.faults.readers import Follower, HttpReader, LogReader
from tests.service import Postgres, Service, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

CLIENTS: Final = 16
CONVERSATIONS: Final = 20  #: that clients share, beside one of each client's own
TOGETHER: Final = 0.25  #: of all faults come right after the one before
READ_SECONDS: Final = 30.0  #: until a reader must have seen everything


COUNTED: Final = (
    "rounds",
    "requests",
    "acknowledged",
    "not_written",
    "retried",
    "left_unknown",
    "duplicates",
    "lost",
    "resent",
)


class Load(Struct, frozen=True):
    """How much happens in one round."""

    events: int = 40  #: of each client
    kills: int = 3
    kinds: tuple[str, ...] = tuple(KINDS)


class Figures(Struct):
    """What came of one round, or of several."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    acknowledged: int = 0
    not_written: int = 0  #: answers and broken connections that certainly wrote nothing
    retried: int = 0  #: events whose outcome was unknown and that were sent again
    left_unknown: int = 0  #: events whose outcome was unknown and that were not
    duplicates: int = 0
    lost: int = 0
    resent: int = 0  #: messages that the consumer of RabbitMQ had applied before
    longest_outage: float = 0.0  #: seconds
    latencies: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take another round's figures in."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kills += other.kills
        self.longest_outage = max(self.longest_outage, other.longest_outage)
        self.latencies += other.latencies
        self.violations += other.violations


class Chaos:
    """Two services with one embedded Postgres, and what happened to them so far."""

    def __init__(
        self,
        services: Sequence[Service],
        database: Database,
        reader: Reader,
        seed: str,
        brokers: Brokers | None = None,
    ) -> None:
        self.services = services
        self.brokers = brokers
        self.ports = [service.port for service in services]
        self._database, self._reader, self._seed = database, reader, seed
        self._book = Book()  #: of all rounds

    async def round(self, number: int, load: Load) -> Figures:
        """Do one round."""
        dice = random.Random(f"{self._seed} {number}")
        world = World(self.services, random.Random(dice.random()), self.brokers)
        kinds, book = Counter[str](), Book()
        after = await self._reader.last_position()
        followers = (HttpReader(self.ports, after), LogReader(self._database, after))
        async with _reading(followers):
            async with asyncio.TaskGroup() as tasks:
                for client in _clients(number, self.ports, book, dice):
                    tasks.create_task(client.run(load.events, [f"{number}-{n}" for n in range(CONVERSATIONS)]))
                tasks.create_task(_kill(world, load, book, dice, kinds))
            await _caught_up(self._reader, after, followers)
        log, violations = await check.check_log(self._reader, after, book, followers)
        violations += await asyncio.to_thread(check.check_services, log, self.services)
        got = await self._published(log)
        self._book.told += book.told
        everything = [*book.violations, *world.violations, *violations, *got.violations, *_noticed(book, kinds)]
        return _figures(book, log, kinds, everything, got.resent)

    async def _published(self, log: check.Log) -> Got:
        if self.brokers is None:
            return Got([], 0)
        await asyncio.to_thread(self.brokers.wait_until_published, self.services[0])
        return await self.brokers.check(log)

    async def check_all(self) -> list[str]:
        """What is wrong with the whole log, over all rounds."""
        return (await check.check_log(self._reader, 0, self._book, ()))[1]


@contextlib.asynccontextmanager
async def chaos(
    folder: Path, seed: str, *, workers: int = 2, servers: tuple[RabbitMQ, Kafka] | None = None
) -> AsyncIterator[Chaos]:
    """The services of a run, the first with several workers; they end with the context."""
    database = Database(await asyncio.to_thread(_new_postgres, folder / "data"), patience=READ_SECONDS)
    reader = Reader(database)
    brokers = Brokers(*servers, database.dsn) if servers else None
    if brokers is not None:
        brokers.configure(folder)
    environment = {"TURNLOG_STORAGE_TIMEOUT": str(STORAGE_TIMEOUT)}
    first = Service(folder, environment=environment | {"SANIC_WORKERS": str(workers)})
    second = Service(folder, environment=environment)
    with _postgres_ends_after(folder / "data"), first, second:
        await asyncio.to_thread(World([first, second], random.Random()).wait_until_ready)
        await reader.open()
        try:
            yield Chaos((first, second), database, reader, seed, brokers)
        finally:
            await reader.close()


@contextlib.contextmanager
def _postgres_ends_after(data_dir: Path) -> Iterator[None]:
    """Wait until the server has noticed that its users have gone."""
    try:
        yield
    finally:
        wait_until(lambda: Postgres(data_dir).is_unattended, "the embedded Postgres has ended")


def _new_postgres(data_dir: Path) -> str:
    """Make the server of a data directory, let go of it, and give the DSN that it will have."""
    with contextlib.closing(embedded.start(data_dir)) as server:
        return server.dsn


def _clients(number: int, ports: Sequence[int], book: Book, dice: random.Random) -> list[Client]:
    return [Client(n, f"{number}-c{n}", ports, book, random.Random(dice.random())) for n in range(CLIENTS)]


async def _kill(world: World, load: Load, book: Book, dice: random.Random, kinds: Counter[str]) -> None:
    """Kill something whenever the load has come to a point drawn before; sometimes the next thing right afterwards."""
    for point in sorted(dice.random() for _ in range(load.kills)):
        begun = 0 if dice.random() < TOGETHER else int(point * CLIENTS * load.events)
        await book.has_begun(begun)
        await asyncio.sleep(dice.random() * 0.02)  # so that it meets any point of a commit
        kind = dice.choice(load.kinds)
        await asyncio.to_thread(world.kill, kind)
        kinds[kind] += 1
    await asyncio.to_thread(world.wait_until_ready)


@contextlib.asynccontextmanager
async def _reading(followers: Sequence[Follower]) -> AsyncIterator[None]:
    """Both follow the log for as long as the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(follower.run()) for follower in followers]
        yield
        for task in running:
            task.cancel()


async def _caught_up(reader: Reader, after: int, followers: Sequence[Follower]) -> None:
    """Wait until they have come to the log's end; one that does not has missed something, which the check finds."""
    end = await reader.last_position() - after
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            for follower in followers:
                await follower.has_seen(end)


def _noticed(book: Book, kinds: Counter[str]) -> list[str]:
    """What requests noticed of faults that only brokers and relays may notice."""
    if not kinds or kinds.keys() - BROKER_KINDS.keys():
        return []
    noticed = [told for told in book.told if told.unknown_tries or told.refused_tries]
    return [f"{told.label}: a request noticed that a broker or a relay was away" for told in noticed]


def _figures(book: Book, log: check.Log, kinds: Counter[str], violations: list[str], resent: int) -> Figures:
    unknown = [told for told in book.told if told.unknown_tries]
    return Figures(
        rounds=1,
        kills=kinds,
        requests=sum(told.tries for told in book.told),
        acknowledged=sum(told.outcome == "acknowledged" for told in book.told),
        not_written=sum(told.refused_tries for told in book.told),
        retried=sum(told.manner != "plain" for told in unknown),
        left_unknown=sum(told.manner == "plain" for told in unknown),
        duplicates=check.duplicates(log),
        lost=check.lost(log, book),
        resent=resent,
        violations=violations,
        longest_outage=book.longest_outage,
        latencies=book.latencies,
    )
