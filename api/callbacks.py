"""Results that are posted to an address later, by requests that have been answered already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from api.errors import BadRequest
from assistant.endpoint import Endpoint
from assistant.http import CallFailed

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from assistant.http import Client

log = structlog.get_logger("turnlog.callback")

PAUSES: Final = (1.0, 4.0, 16.0)  #: in seconds, between attempts


class Callbacks:
    """What one process works at behind answered requests. When it stops, that has `grace` seconds to come to an end."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._end = 0.0  # on the loop's clock
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this, which raises nothing."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """The process begins to stop."""
        self._end = asyncio.get_running_loop().time() + self._grace

    async def close(self) -> None:
        """Wait until all is done, or its time is over; what is not done then is given up."""
        if not self._tasks:
            return
        left = self._end - asyncio.get_running_loop().time()
        _, late = await asyncio.wait(self._tasks, timeout=max(left, 0))
        if late:
            log.warning("callbacks given up, since the service stops", number=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def callback_address(url: str) -> Endpoint:
    """Return the endpoint for the `callback_url` of a request.

    Raises:
        BadRequest: it is not an address of HTTP.
    """
    if not _is_http(url):
        message = "'callback_url' must be an address that begins with http:// or https://."
        raise BadRequest(message, "callback_url", "query")
    return Endpoint(url=url)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def deliver(client: Client, to: Endpoint, body: bytes, headers: Mapping[str, str]) -> None:
    """Post a result; after a failure again, a few times. Whether it went well is in the log."""
    for pause in (*PAUSES, None):
        fault = await _fault(client, to, body, headers)
        if fault is None:
            log.info("callback delivered", url=to.public_url, bytes=len(body))
            return
        if pause is None:
            log.error("callback given up", url=to.public_url, fault=fault)
            return
        log.warning("callback failed", url=to.public_url, fault=fault, again_in_seconds=pause)
        await asyncio.sleep(pause)


async def _fault(client: Client, to: Endpoint, body: bytes, headers: Mapping[str, str]) -> str | None:
    try:
        answer = await client.post(to, body, headers=headers)
    except CallFailed as error:
        return error.reason
    return f"it answered with status {answer.status}" if answer.status >= 400 else None
