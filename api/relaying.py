"""Relays: those of the background process, `turnlog relay`, and what a person may tell a relay."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from api import collector
from brokers import Mark, Relay, RelayStatus, RelayStopped, Source, broker_of, forget, relays, title_of
from eventstore import EventStore, Lease, StoreUnavailable
from eventstore.hints import HintListener
from eventstore.leases import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.endpoints import EventBroker
    from api.settings import Settings
    from brokers import Broker
    from eventstore import Database

log = structlog.get_logger("turnlog.relay")

AGAIN: Final = 2.0  #: seconds until the next try to reach a database that is away at the start
LOOK: Final = 0.2  #: seconds between two looks at a lease that somebody holds


class Follower(Protocol):
    """What reads the log and wants to know when it has grown."""

    def notify(self) -> None:
        """Hear that the log may have grown."""

    async def run(self) -> None:
        """Work until cancelled."""


def notify(followers: Iterable[Follower]) -> None:
    """Tell all that the log may have grown."""
    for follower in followers:
        follower.notify()


def relays_to(store: EventStore, brokers: Sequence[EventBroker]) -> list[Relay]:
    """A relay for each broker that endpoints.yml describes."""
    return [Relay(store, _broker(section)) for section in brokers]


def run(settings: Settings) -> None:
    """Publish the log to the brokers, and nothing else, until a signal says stop.

    Raises:
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    with open_database(settings) as database:
        collector.spare()
        asyncio.run(_until_signal(settings, database))


def set_position(settings: Settings, name: str, position: int) -> None:
    """Say where the relay of a broker goes on, after it has stopped.

    Raises:
        RelayStopped: a process works for this broker at this moment, or the log does not reach the position.
        BrokerUnavailable: the mark is kept at the broker, and that can't be reached.
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    with open_database(settings) as database:
        asyncio.run(_set_position(database, broker_named(settings, name), position))


def statuses(settings: Settings, *, without: str | None = None) -> list[RelayStatus]:
    """How every relay is, after forgetting the broker `without`.

    Raises:
        RelayStopped: nothing is known of the broker that should be forgotten.
        EventStoreError, EmbeddedPostgresError: the database can't be used.
    """
    from api.serving import open_database

    with open_database(settings) as database:
        return asyncio.run(_statuses(database, without))


def broker_named(settings: Settings, name: str) -> Broker:
    """The broker that endpoints.yml describes under this name, which it must have."""
    return _broker(next(section for section in settings.endpoints.event_brokers if section.name == name))


def _broker(section: EventBroker) -> Broker:
    return broker_of(section.options, os.environ, section.place)


async def _until_signal(settings: Settings, database: Database) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = loop.create_task(_relay(settings, database))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        work.result()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    log.info("stopped")


async def _relay(settings: Settings, database: Database) -> None:
    await _migrate_patiently(settings, database)
    async with EventStore(database) as store, asyncio.TaskGroup() as tasks:
        followers = relays_to(store, settings.endpoints.event_brokers)
        for follower in followers:
            tasks.create_task(follower.run())
        tasks.create_task(HintListener(database, lambda: notify(followers)).run())
        log.info("relaying", brokers=[section.name for section in settings.endpoints.event_brokers])


async def _migrate_patiently(settings: Settings, database: Database) -> None:
    from api.serving import prepare

    while True:
        try:
            await prepare(settings, database)
        except StoreUnavailable as error:
            log.warning("waiting for the database", database=str(settings.database), reason=error.reason)
            await asyncio.sleep(AGAIN)  # nothing tells when a server is back
        else:
            return


async def _statuses(database: Database, without: str | None) -> list[RelayStatus]:
    async with EventStore(database) as store:
        if without is not None:
            await _forget(store, without)
        return await relays(store.read)


async def _forget(store: EventStore, name: str) -> None:
    lease = await _lease(store, name)
    try:
        if not await forget(store.read, name):
            raise RelayStopped(f"nothing is known of a broker named {name!r}")
    finally:
        await store.leases.release(lease)


async def _set_position(database: Database, broker: Broker, position: int) -> None:
    async with EventStore(database) as store:
        lease = await _lease(store, broker.name)
        try:
            await _mark(store, broker, position, lease)
        finally:
            await store.leases.release(lease)


async def _lease(store: EventStore, name: str) -> Lease:
    """The relay's lease; one that died holds it for a few seconds more."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SECONDS + 1
    while loop.time() < until:
        lease = await store.leases.acquire(title_of(name))
        if lease is not None:
            return lease
        await asyncio.sleep(LOOK)  # a lease that runs out tells nobody
    raise RelayStopped(
        f"the relay of {name!r} is at work: stop the processes that run it first, or send events again beside "
        f"it by `turnlog replay --to {name}`"
    )


async def _mark(store: EventStore, broker: Broker, position: int, lease: Lease) -> None:
    head = await store.read.last_position()
    if not 0 <= position <= head:
        raise RelayStopped(f"position {position} is not in this log, which ends at {head}")
    identity = (await store.read.identity()).id
    chain = (await store.read.commits(position, position))[-1].chain if position else b""
    publisher = broker.publisher()
    try:
        if publisher.keeps_mark:
            source = Source(identity, broker.name)
            await publisher.set_mark(source, Mark(identity, position, chain, lease.epoch))
    finally:
        await publisher.close()
    checkpoint = await store.checkpoints.get(broker.title)
    await store.checkpoints.move(broker.title, checkpoint.position if checkpoint else 0, position, lease)
