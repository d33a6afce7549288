"""Both brokers are away for a while under load: appends go on, memory stays flat, and the backlog arrives in order."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from eventstore import Database, Reader
from tests.faults import check
from tests.faults.brokers import RELAYS, Brokers, Got
from tests.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

CLIENTS: Final = 8
CONVERSATIONS: Final = 50
LOOK: Final = 0.5  #: seconds between two looks at the metrics
_BODY: Final = b'{"event":"slot","name":"fault","value":"%d-%d"}'
_REQUEST: Final = b"POST %b?include_events=NONE HTTP/1.1\r\nHost: tests\r\nContent-Length: %d\r\n\r\n%b"


class Away(Struct):
    """What was seen.

    Attributes:
        rate_before, rate_away: appends a second.
        memory_before, memory_away, memory_after: resident bytes of the process that relays.
        lags: events that the brokers were behind, by `/metrics`, while they were away.
        drain_seconds: from their return until they had everything.
        got: what the consumers got.
    """

    rate_before: float
    rate_away: float
    memory_before: int
    memory_away: int
    memory_after: int
    lags: list[float]
    drain_seconds: float
    got: Got

    def __str__(self) -> str:
        memory = ", ".join(f"{size / 1e6:.0f}" for size in (self.memory_before, self.memory_away, self.memory_after))
        return (
            f"appends {self.rate_before:,.0f}/s before and {self.rate_away:,.0f}/s while the brokers were away; memory "
            f"of the relay's process before, in the end of that, and after: {memory} MB; behind by up to "
            f"{max(self.lags):,.0f} events, drained in {self.drain_seconds:.1f} s; "
            f"{len(self.got.violations)} violations, {self.got.resent} messages resent"
        )


async def away(folder: Path, servers: tuple[RabbitMQ, Kafka], dsn: str, seconds: float) -> Away:
    """Load a service for so many seconds with both brokers, and then without."""
    brokers = Brokers(*servers, dsn)
    brokers.configure(folder)
    with Service(folder, environment={"DATABASE_URL": dsn}) as service:
        await asyncio.to_thread(service.wait_until_ready)
        await _load(service, 1)  # so that all that is made once is made
        await asyncio.to_thread(brokers.wait_until_published, service)
        before = await _load(service, seconds)
        await asyncio.to_thread(brokers.wait_until_published, service)
        memory_before = _memory(service)
        lags: list[float] = []
        with servers[0].down(), servers[1].down():
            rate = (await asyncio.gather(_load(service, seconds), _watch(service, lags, seconds)))[0]
            memory_away = _memory(service)
        began = time.monotonic()
        await asyncio.to_thread(brokers.wait_until_published, service)
        drained = time.monotonic() - began
        memory = (memory_before, memory_away, _memory(service))
        return Away(before, rate, *memory, lags=lags, drain_seconds=drained, got=await _got(brokers, dsn))


async def _got(brokers: Brokers, dsn: str) -> Got:
    reader = Reader(Database(dsn))
    await reader.open()
    try:
        return await brokers.check(await check.Log.read(reader, 0))
    finally:
        await reader.close()


async def _load(service: Service, seconds: float) -> float:
    """Post over some connections, each as fast as it is answered; answers a second."""
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(_client(service.port, number, until) for number in range(CLIENTS)))
    return sum(counts) / seconds


async def _client(port: int, number: int, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.monotonic() < until:
        body = _BODY % (number, count)
        path = b"/conversations/c%d/tracker/events" % ((count * CLIENTS + number) % CONVERSATIONS)
        writer.write(_REQUEST % (path, len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        await reader.readexactly(int(length[1]))
        count += 1
    writer.close()
    return count


async def _watch(service: Service, lags: list[float], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lags.append(await asyncio.to_thread(_lag, service))
        await asyncio.sleep(LOOK)


def _lag(service: Service) -> float:
    """By how many events the broker is behind that is more so."""
    text = service.get("/metrics").body.decode()
    return max(float(_metric(text, "turnlog_relay_lag_events", name)) for name in RELAYS)


def _metric(text: str, name: str, broker: str) -> str:
    found = re.search(rf'^{name}{{broker="{broker}"}} (\S+)$', text, re.MULTILINE)
    assert found is not None, f"{name} of {broker} is not in the metrics"
    return found[1]


def _memory(service: Service) -> int:
    """Resident bytes of the background process."""
    with open(f"/proc/{service.pid_of('background')}/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096
