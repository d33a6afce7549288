"""The database goes away, hangs, or loses the connection in the middle of a call."""

from __future__ import annotations

import asyncio
import signal
from contextlib import closing
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from eventstore import Database, embedded
from tests.eventstore.helpers import holding_lock, wait_for_backends
from tests.eventstore.proxy import Proxy, proxied
from tests.service import Answer, Postgres, Service, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

EVENT = {"event": "slot", "name": "n", "value": 1}
KEY = {"Idempotency-Key": "k"}

patient = pytest.mark.parametrize("service", [30], indirect=True)


class Network(Struct, frozen=True):
    """What lies between a service and its database."""

    proxy: Proxy
    direct: Database  #: past the proxy
    behind: Database  #: through it


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server that the tests start and stop."""
    return tmp_path_factory.mktemp("away")


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[Postgres]:
    """The server, which runs when the test begins, and which the service only knows by its URL."""
    with closing(embedded.start(data_dir)):
        yield Postgres(data_dir)
    wait_until(lambda: Postgres(data_dir).is_unattended, "the server has stopped")


@pytest.fixture
async def network(postgres: Postgres) -> AsyncIterator[Network]:
    """A network to that server which can be cut, and the log of the test's own at its other end."""
    with closing(embedded.start(postgres.data_dir)) as server:
        database = Database(server.dsn, schema=f"test_{token_hex(6)}")
    async with proxied(database) as (proxy, behind):
        yield Network(proxy, direct=database, behind=behind)


@pytest.fixture
async def service(network: Network, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """A service behind that network, which waits a second for it, or as long as the parameter says."""
    behind = network.behind
    environment = {
        "DATABASE_URL": behind.dsn,
        "POSTGRESQL_SCHEMA": behind.schema,
        "TURNLOG_STORAGE_TIMEOUT": str(getattr(request, "param", 1)),
    }
    service = Service(tmp_path, environment=environment)
    service.start()
    await asyncio.to_thread(service.wait_until_ready)
    yield service
    await asyncio.to_thread(service.close)


async def post(service: Service, headers: dict[str, str] | None = None) -> Answer:
    return await asyncio.to_thread(service.post, "a", EVENT, headers)


async def serves_again(service: Service) -> None:
    await asyncio.to_thread(wait_until, lambda: service.answers("/readyz"), "it serves again by itself")


async def slots(service: Service) -> list[Any]:
    """The values of all slot events of the conversation."""
    answer = await asyncio.to_thread(service.get, "/conversations/a/tracker?include_events=ALL")
    return [event["value"] for event in answer.json()["events"] if event["event"] == "slot"]


def refused(answer: Answer) -> str:
    """What a refusal says of the write."""
    body = answer.json()
    assert (answer.status, body["code"], body["status"]) == (503, 503, "failure")
    assert int(answer.headers["retry-after"]) >= 1
    return str(body["details"].get("outcome"))


async def test_a_database_that_is_down_is_a_503_that_wrote_nothing_until_it_is_back(
    service: Service, postgres: Postgres
) -> None:
    assert (await post(service)).status == 200
    for pid in [postgres.supervisor, *postgres.processes]:
        send_signal(pid, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: postgres.is_unattended, "the server is gone")
    refusals = [await post(service) for _ in range(2)]  # the first may meet a connection that has just broken
    assert refused(refusals[-1]) == "not_written"
    assert {answer.status for answer in refusals} == {503}
    assert refused(await asyncio.to_thread(service.get, "/conversations/a/tracker")) == "None"
    assert refused(await asyncio.to_thread(service.get, "/conversations/unknown/story")) == "None"
    with closing(await asyncio.to_thread(embedded.start, postgres.data_dir)):
        await serves_again(service)
        assert (await post(service)).status == 200


async def test_a_database_that_hangs_is_a_503_of_unknown_outcome_and_a_key_makes_its_retry_safe(
    service: Service, postgres: Postgres
) -> None:
    assert (await post(service)).status == 200
    processes = postgres.processes
    for pid in processes:
        send_signal(pid, signal.SIGSTOP)
    try:
        assert refused(await post(service, KEY)) == "unknown"
        assert refused(await asyncio.to_thread(service.get, "/conversations/a/tracker")) == "None"
        assert await asyncio.to_thread(service.answers, "/livez")
        assert await asyncio.to_thread(service.answers, "/readyz", 503)
    finally:
        for pid in processes:
            send_signal(pid, signal.SIGCONT)
    await serves_again(service)
    assert (await post(service, KEY)).status == 200
    assert await slots(service) == [1, 1]


async def test_an_immediate_shutdown_is_outlived(service: Service, postgres: Postgres) -> None:
    send_signal(postgres.postmaster, signal.SIGQUIT)
    answers = await asyncio.gather(*(post(service, {"Idempotency-Key": f"k{n}"}) for n in range(8)))
    await serves_again(service)
    retried = [await post(service, {"Idempotency-Key": f"k{n}"}) for n in range(8)]
    assert {answer.status for answer in answers} <= {200, 503}
    assert {answer.status for answer in retried} == {200}
    assert await slots(service) == [1] * 8


@patient
async def test_a_connection_that_is_lost_while_its_backend_waits_for_the_lock_appends_once(
    service: Service, network: Network
) -> None:
    """The backend commits although its client is gone; the service has sent the call again by then."""
    async with holding_lock(network.direct) as holder:
        under_way = asyncio.create_task(post(service))
        await wait_for_backends(holder, 1)
        network.proxy.cut()
        await wait_for_backends(holder, 2)
    assert (await under_way).status == 200
    assert await slots(service) == [1]


@patient
async def test_a_worker_that_is_killed_while_its_backend_waits_for_the_lock_appends_once_with_a_key(
    service: Service, network: Network
) -> None:
    async with holding_lock(network.direct) as holder:
        under_way = asyncio.create_task(post(service, KEY))
        await wait_for_backends(holder, 1)
        send_signal(service.pid_of("worker-1"), signal.SIGKILL)
        with pytest.raises(OSError, match=r"closed|reset"):
            await under_way
        again = asyncio.create_task(post(service, KEY))
        await wait_for_backends(holder, 2)
    assert (await again).status == 200
    assert await slots(service) == [1]
