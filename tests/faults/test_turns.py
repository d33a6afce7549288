"""Many conversations at once with a slow action server, and workers that die in the middle of their turns."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from msgspec import Struct

from tests.assistant.answering import CONFIG, DOMAIN, RULES
from tests.assistant.scripted import Request, reply, scripted
from tests.service import Service, send_signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONVERSATIONS: Final = 200
MESSAGES: Final = 2  #: of each conversation, at the same time
ACTION_SECONDS: Final = 0.3
GOES_ON_WITHIN: Final = 15.0  #: seconds: three times a lease, on a slow machine

Json = dict[str, Any]


class Actions:
    """An action server that takes its time, and notes which conversations are inside."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.most_of_one = self.most_of_all = 0
        self.calls: Counter[str] = Counter()

    async def __call__(self, request: Request) -> bytes:
        """Run `action_work`."""
        call = request.json()
        sender = call["sender_id"]
        self.calls[call["tracker"]["latest_message"]["text"] + sender] += 1
        self.inside[sender] += 1
        self.most_of_one = max(self.most_of_one, self.inside[sender])
        self.most_of_all = max(self.most_of_all, self.inside.total())
        await asyncio.sleep(ACTION_SECONDS)
        self.inside[sender] -= 1
        return reply({"events": [], "responses": [{"text": "worked"}]})


class World(Struct):
    """A service of two workers, its action server, and a client of both."""

    service: Service
    actions: Actions
    http: httpx.AsyncClient

    async def say(self, conversation: str, text: str) -> list[str] | None:
        """What the bot answers; None when the connection broke."""
        url = f"http://127.0.0.1:{self.service.port}/webhooks/rest/webhook"
        try:
            response = await self.http.post(url, json={"sender": conversation, "message": text})
        except httpx.TransportError:
            return None
        assert response.status_code == 200, response.text
        return [message["text"] for message in response.json()]

    async def events(self, conversation: str) -> list[Json]:
        """All its events."""
        url = f"http://127.0.0.1:{self.service.port}/conversations/{conversation}/tracker?include_events=ALL"
        events: list[Json] = (await self.http.get(url)).json()["events"]
        return events


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The bot at work."""
    bot = tmp_path / "bot"
    (bot / "data").mkdir(parents=True)
    (bot / "domain.yml").write_text(DOMAIN)
    (bot / "data" / "rules.yml").write_text(RULES)
    (bot / "config.yml").write_text(CONFIG)
    actions = Actions()
    async with scripted(actions) as server:
        (tmp_path / "endpoints.yml").write_text(f"action_endpoint:\n  url: {server.url}\n")
        flags = ("--enable-api", "-m", bot)
        limits = httpx.Limits(max_connections=2 * CONVERSATIONS * MESSAGES)
        async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
            with Service(tmp_path, flags, environment={"SANIC_WORKERS": "2"}) as service:
                await asyncio.to_thread(service.wait_until_ready)
                yield World(service, actions, http)


def turns(events: list[Json]) -> list[tuple[str, ...]]:
    """What stands behind each message: the names of actions and the texts of the bot."""
    found: list[list[str]] = []
    for event in events:
        if event["event"] == "user":
            found.append([event["text"]])
        elif event["event"] in ("action", "bot") and found:
            found[-1].append(event.get("name") or event["text"])
    return [tuple(turn) for turn in found]


async def test_turns_of_different_conversations_overlap_and_those_of_one_never_do(world: World) -> None:
    names = [f"c{number}" for number in range(CONVERSATIONS)]
    await asyncio.gather(*(world.say(name, f"/work@0.{n + 1}") for name in names for n in range(MESSAGES)))
    assert world.actions.most_of_one == 1
    assert world.actions.most_of_all >= CONVERSATIONS // 4
    assert set(world.actions.calls.values()) == {1}
    assert len(world.actions.calls) == CONVERSATIONS * MESSAGES
    for name in names:
        found = turns(await world.events(name))
        answered = ("action_work", "worked", "utter_not_paid", "not paid", "action_listen")
        assert sorted(found) == [(f"/work@0.{n + 1}", *answered) for n in range(MESSAGES)]


async def test_conversations_go_on_when_their_workers_die_in_the_middle_of_turns(world: World) -> None:
    names = [f"c{number}" for number in range(20)]
    messages = [asyncio.create_task(world.say(name, "/work")) for name in names]
    while world.actions.inside.total() < len(names) // 2:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    for worker in ("worker-1", "worker-2"):
        send_signal(world.service.pid_of(worker), signal.SIGKILL)
    first = await asyncio.gather(*messages)
    async with asyncio.timeout(GOES_ON_WITHIN):
        assert await asyncio.gather(*(said_at_last(world, name) for name in names)) == [["hello"]] * len(names)
    assert None in first
    for name, answer in zip(names, first, strict=True):
        check_once(turns(await world.events(name)), answer)


async def said_at_last(world: World, name: str) -> list[str]:
    """The answer to a second message; a connection to a dead worker is made again."""
    while (answer := await world.say(name, "/greet")) is None:  # noqa: ASYNC110 - nothing tells when it is back
        await asyncio.sleep(0.05)
    return answer


def check_once(found: list[tuple[str, ...]], answer: list[str] | None) -> None:
    """The second message is answered as always; the first stands there once, or never if nobody acknowledged it."""
    assert found[-1] == ("/greet", "utter_greet", "hello", "action_listen")
    assert len([turn for turn in found if turn[0] == "/work"]) == (1 if answer is not None else len(found) - 1)
    assert len(found) <= 2
    if answer is not None:
        assert found[0] == ("/work", "action_work", "worked", "utter_not_paid", "not paid", "action_listen")
