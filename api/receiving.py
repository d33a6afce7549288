"""Requests whose bodies arrive in time: Sanic's own limit ends with their headers."""

from __future__ import annotations

import asyncio
from typing import Any

from sanic import Request
from sanic.exceptions import RequestTimeout


class TimedRequest(Request):
    """A request that is answered 408 when its body has not arrived whole within Sanic's `REQUEST_TIMEOUT`."""

    async def receive_body(self) -> None:
        """Read the body.

        Raises:
            RequestTimeout: the connection is closed after the answer, for the rest of the body may still come.
        """
        stream: Any = self.stream
        if 0 < stream.request_bytes_left <= len(stream.recv_buffer):  # all is there: nothing to wait for
            await super().receive_body()  # type: ignore[no-untyped-call]  # Sanic does not annotate it
            return
        try:
            async with asyncio.timeout(self.app.config.REQUEST_TIMEOUT):
                await super().receive_body()  # type: ignore[no-untyped-call]  # the same
        except TimeoutError:
            stream.keep_alive, stream.request_body = False, None
            raise RequestTimeout("Request Timeout") from None
