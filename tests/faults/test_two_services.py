"""Two services on one database, with no sticky sessions: every request goes to whichever comes next."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

WRITERS = 16
INCREMENTS = 4


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Two services that share a data directory."""
    folder = tmp_path_factory.mktemp("two")
    with Service(folder) as first, Service(folder, data_dir=first.data_dir) as second:
        first.wait_until_ready()
        second.wait_until_ready()
        yield first, second


class Cluster:
    """Both services behind one name."""

    def __init__(self, http: httpx.AsyncClient, services: tuple[Service, Service]) -> None:
        self._http = http
        self._next = cycle([f"http://127.0.0.1:{service.port}" for service in services])

    async def post(self, conversation: str, value: object, **headers: str) -> httpx.Response:
        """Post a slot event to one of the services."""
        url = f"{next(self._next)}/conversations/{conversation}/tracker/events"
        return await self._http.post(url, json={"event": "slot", "name": "n", "value": value}, headers=headers)

    async def tracker(self, conversation: str) -> httpx.Response:
        """The conversation with all its events, as one of the services shows it."""
        return await self._http.get(f"{next(self._next)}/conversations/{conversation}/tracker?include_events=ALL")

    async def events(self, conversation: str) -> list[dict[str, Any]]:
        """Its events."""
        events: list[dict[str, Any]] = (await self.tracker(conversation)).json()["events"]
        return events


@pytest.fixture
async def cluster(services: tuple[Service, Service]) -> AsyncIterator[Cluster]:
    """A client of both."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        yield Cluster(http, services)


def values(events: list[dict[str, Any]]) -> list[Any]:
    return [event["value"] for event in events if event["event"] == "slot"]


async def test_first_requests_that_race_make_one_session_start(cluster: Cluster) -> None:
    answers = await asyncio.gather(*(cluster.post("first", n) for n in range(WRITERS)))
    assert {answer.status_code for answer in answers} == {200}
    events = await cluster.events("first")
    assert Counter(event["event"] for event in events) == {"action": 2, "session_started": 1, "slot": WRITERS}
    assert [event["event"] for event in events[:3]] == ["action", "session_started", "action"]
    assert sorted(values(events)) == list(range(WRITERS))


async def test_each_writer_is_told_a_version_of_its_own(cluster: Cluster) -> None:
    answers = await asyncio.gather(*(cluster.post("versions", n) for n in range(WRITERS)))
    versions = sorted(int(answer.headers["etag"].strip('"').partition("-")[0]) for answer in answers)
    assert versions == list(range(versions[0], versions[0] + WRITERS))


async def test_an_answer_shows_the_state_right_after_its_own_event(cluster: Cluster) -> None:
    answers = await asyncio.gather(*(cluster.post("own", n) for n in range(WRITERS)))
    assert [answer.json()["slots"]["n"] for answer in answers] == list(range(WRITERS))


async def test_writers_to_many_conversations_do_not_mix(cluster: Cluster) -> None:
    names = [f"many-{n}" for n in range(WRITERS)]
    await asyncio.gather(*(cluster.post(name, f"{name} {n}") for n in range(3) for name in names))
    for name in names:
        assert sorted(values(await cluster.events(name))) == [f"{name} {n}" for n in range(3)]


async def test_conditional_increments_lose_no_update(cluster: Cluster) -> None:
    await cluster.post("counter", 0)
    tries = await asyncio.gather(*(increment(cluster) for _ in range(WRITERS)))
    tracker = (await cluster.tracker("counter")).json()
    assert values(tracker["events"]) == list(range(WRITERS * INCREMENTS + 1))
    assert sum(tries) > WRITERS * INCREMENTS, "nobody ever met another writer"


async def increment(cluster: Cluster) -> int:
    """Add 1 several times, each time to what was read; how many tries that took."""
    done = tries = 0
    while done < INCREMENTS:
        before = await cluster.tracker("counter")
        answer = await cluster.post("counter", before.json()["slots"]["n"] + 1, **{"If-Match": before.headers["etag"]})
        assert answer.status_code in (200, 412), answer.text
        done += answer.status_code == 200
        tries += 1
    return tries


async def test_a_key_that_is_used_over_both_services_at_once_appends_once(cluster: Cluster) -> None:
    answers = await asyncio.gather(*(cluster.post("key", "x", **{"Idempotency-Key": "k"}) for _ in range(WRITERS)))
    assert {answer.headers["etag"] for answer in answers} == {answers[0].headers["etag"]}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert values(await cluster.events("key")) == ["x"]


async def test_both_services_show_the_same_bytes(cluster: Cluster) -> None:
    await asyncio.gather(*(cluster.post("same", n) for n in range(WRITERS)))
    texts = [(await cluster.tracker("same")).text for _ in range(2)]
    assert json.loads(texts[0])["slots"]["n"] in range(WRITERS)
    assert texts[0] == texts[1]
