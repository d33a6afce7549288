"""Clients that post numbered events and remember what they were told of each."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
from msgspec import Struct

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Manner = Literal["key", "match", "plain"]
MANNERS: Final[tuple[Manner, ...]] = ("key", "match", "plain")
SLOT: Final = "fault"
PATIENCE: Final = 90.0  #: seconds until a service that does not come back by itself is a violation
_PAUSE: Final = 0.05  # between two tries while a service is away


class Told(Struct):
    """What a client knows of one numbered event."""

    label: str
    conversation: str
    manner: Manner
    outcome: Literal["acknowledged", "unknown"] = "unknown"
    version: int = 0  #: that the answer said, when acknowledged
    tries: int = 0
    unknown_tries: int = 0  #: whose outcome nobody told
    refused_tries: int = 0  #: that certainly wrote nothing


class Book:
    """What all clients of a round know. A violation is a sentence."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.violations: list[str] = []
        self.acknowledged_at: list[float] = []
        self.latencies: list[float] = []
        self._begun = asyncio.Event()

    async def has_begun(self, count: int) -> None:
        """Return when so many events were begun."""
        while len(self.told) < count:
            self._begun.clear()
            await self._begun.wait()

    def begin(self, told: Told) -> None:
        """Write down an event that is about to be sent."""
        self.told.append(told)
        self._begun.set()

    @property
    def longest_outage(self) -> float:
        """The longest time in seconds between two acknowledgements, of whatever clients."""
        times = self.acknowledged_at
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


class Client:
    """Posts events one after the other, each to a service that answers, until it knows what became of it.

    With the manner `key`, whatever is not answered is sent again with its Idempotency-Key, to the next service. With
    `match` it is sent again with its If-Match, to a conversation of the client's own. With `plain` it is sent again
    only when it certainly wrote nothing.
    """

    def __init__(self, number: int, name: str, ports: Sequence[int], book: Book, dice: random.Random) -> None:
        self.manner: Manner = MANNERS[number % len(MANNERS)]
        self._name, self._ports, self._book, self._dice = name, ports, book, dice
        self._turn = number
        self._expected = 0
        self._http = httpx.AsyncClient(timeout=30, trust_env=False, limits=httpx.Limits(keepalive_expiry=60))

    async def run(self, count: int, conversations: Sequence[str]) -> None:
        """Post `count` events, to conversations drawn from these and one of its own."""
        async with self._http:
            for number in range(count):
                own = self.manner == "match" or self._dice.random() < 0.3
                conversation = self._name if own else self._dice.choice(conversations)
                await self._post(Told(f"{self._name}-{number}", conversation, self.manner))

    async def _post(self, told: Told) -> None:
        self._book.begin(told)
        deadline = time.monotonic() + PATIENCE
        while not await self._try(told):
            if time.monotonic() > deadline:
                self._book.violations.append(f"{told.label}: no answer within {PATIENCE:.0f} s")
                return
            self._turn += 1
            await asyncio.sleep(_PAUSE)  # nothing tells when a service is back

    async def _try(self, told: Told) -> bool:
        """Send it once; True when it need not or must not be sent again."""
        told.tries += 1
        began = time.monotonic()
        try:
            response = await self._send(told)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            told.refused_tries += 1
            return False
        except httpx.TransportError:
            return self._unknown(told)
        if response.status_code == 200:
            self._acknowledge(told, _version(response), time.monotonic() - began)
            return True
        return self._refused(told, response)

    async def _send(self, told: Told) -> httpx.Response:
        port = self._ports[self._turn % len(self._ports)]
        headers = {"key": {"Idempotency-Key": told.label}, "match": {"If-Match": f'"{self._expected}"'}, "plain": {}}
        return await self._http.post(
            f"http://127.0.0.1:{port}/conversations/{told.conversation}/tracker/events",
            json={"event": "slot", "name": SLOT, "value": told.label},
            params={"include_events": "NONE"},
            headers=headers[told.manner],
        )

    def _refused(self, told: Told, response: httpx.Response) -> bool:
        if response.status_code == 412 and told.unknown_tries and _version(response) > self._expected:
            self._acknowledge(told, _version(response))  # nobody else writes there: an earlier try did it
            return True
        if response.status_code != 503 or "retry-after" not in response.headers:
            self._book.violations.append(f"{told.label}: answer {response.status_code} {response.text[:300]}")
            return True
        if outcome(response) == "unknown":
            return self._unknown(told)
        told.refused_tries += 1
        return False

    def _unknown(self, told: Told) -> bool:
        told.unknown_tries += 1
        return told.manner == "plain"

    def _acknowledge(self, told: Told, version: int, seconds: float | None = None) -> None:
        told.outcome, told.version = "acknowledged", version
        self._book.acknowledged_at.append(time.monotonic())
        if seconds is not None:
            self._book.latencies.append(seconds)
        if told.manner == "match":
            self._expected = version


def outcome(response: httpx.Response) -> Any:
    """What the envelope of a 503 says of the write."""
    return response.json()["details"].get("outcome")


def _version(response: httpx.Response) -> int:
    return int(response.headers["etag"].strip('"').partition("-")[0])
