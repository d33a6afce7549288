"""Readers that follow the log by position while everything around them is killed."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import httpx
from msgspec import Struct

from eventstore import CorruptLog, Reader, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventstore import Database

LIMIT: Final = 500
_PAUSE: Final = 0.02  # between two looks at a log that has nothing new


class Seen(Struct, frozen=True):
    """An event as a reader saw it."""

    position: int
    conversation: str
    version: int
    body: str


class Follower(ABC):
    """Somebody who reads everything after a position, in the order of positions."""

    name: str

    def __init__(self, after: int) -> None:
        self.seen: list[Seen] = []
        self.faults: list[str] = []  #: what nobody should ever see
        self._first = after
        self._grown = asyncio.Event()

    @property
    def after(self) -> int:
        """The position that was read last."""
        return self._first + len(self.seen)

    @abstractmethod
    async def run(self) -> None:
        """Read until cancelled."""

    def add(self, events: Iterable[Seen]) -> None:
        """Put down what was read next."""
        self.seen += events
        self._grown.set()

    async def has_seen(self, count: int) -> None:
        """Return when it has seen so many events."""
        while len(self.seen) < count:
            self._grown.clear()
            await self._grown.wait()


class HttpReader(Follower):
    """Follows `/turnlog/v1/events` of any service that answers."""

    name = "the reader over HTTP"

    def __init__(self, ports: Sequence[int], after: int) -> None:
        super().__init__(after)
        self._ports = ports

    async def run(self) -> None:
        """Read until cancelled."""
        turn = 0
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            while True:
                try:
                    await self._read(http, self._ports[turn % len(self._ports)])
                except httpx.TransportError:
                    turn += 1
                await asyncio.sleep(_PAUSE)

    async def _read(self, http: httpx.AsyncClient, port: int) -> None:
        query = {"after": self.after, "limit": LIMIT}
        response = await http.get(f"http://127.0.0.1:{port}/turnlog/v1/events", params=query)
        if response.status_code != 200:
            if response.status_code != 503:
                self.faults.append(f"{self.name} got {response.status_code} {response.text[:300]}")
            return
        self.add(
            Seen(event["position"], event["conversation"], event["version"], json.dumps(event["event"]))
            for event in response.json()["events"]
        )


class LogReader(Follower):
    """Follows the log itself, over a connection of its own."""

    name = "the reader of the log"

    def __init__(self, database: Database, after: int) -> None:
        super().__init__(after)
        self._database = database

    async def run(self) -> None:
        """Read until cancelled."""
        reader = Reader(self._database, connections=1)
        await reader.open()
        try:
            while True:
                await self._read(reader)
                await asyncio.sleep(_PAUSE)
        finally:
            await reader.close()

    async def _read(self, reader: Reader) -> None:
        try:
            events = await reader.positions(self.after, LIMIT)
        except StoreUnavailable:
            return
        except CorruptLog as error:
            self.faults.append(f"{self.name} met a gap: {error}")
            return
        self.add(Seen(event.position, event.conversation, event.version, event.body) for event in events)
