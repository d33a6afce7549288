"""A model server: where the newest model is to be had over HTTP, and whether it is a new one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from assistant.fetching.fetched import MAX_BYTES, Fetched, ModelUnavailable, too_large, write
from assistant.http import CallFailed

if TYPE_CHECKING:
    from pathlib import Path

    from assistant.endpoint import Endpoint
    from assistant.http import Client, Download

_NOTHING_NEW: Final = (204, 304)


async def from_server(
    client: Client, server: Endpoint, known: str | None, folder: Path, most: int = MAX_BYTES
) -> Fetched | None:
    """The server's model, as a new file in `folder`; None if it is the `known` one, of which this is the `etag`.

    A server that gives no ETag is asked for the whole model each time, and its content tells whether it is known.

    Raises:
        ModelUnavailable: it gives none of at most `most` bytes.
    """
    if not (server.url or "").startswith(("http://", "https://")):
        raise ModelUnavailable(f"{server.public_url or 'the model server'}: write its `url` as http://host:port/path")
    try:
        # Before there is a model, Rasa asks for one that no server has.
        async with client.download(server, {"If-None-Match": known or secrets.token_hex(16)}) as answer:
            return await _taken(answer, server, known, folder, most)
    except CallFailed as error:
        raise ModelUnavailable(str(error)) from error


async def _taken(answer: Download, server: Endpoint, known: str | None, folder: Path, most: int) -> Fetched | None:
    etag = _etag(answer)
    if known is not None and (answer.status in _NOTHING_NEW or (answer.status == 200 and etag == known)):
        return None
    if answer.status != 200:
        raise ModelUnavailable(f"{server.public_url}: {_why_none(answer)}")
    if int(answer.headers.get("content-length", 0)) > most:
        raise too_large(str(server.public_url), most)
    written = await write(answer.body, folder, str(server.public_url), most)
    if written.etag == known:
        written.path.unlink()
        return None
    return Fetched(written.path, written.shown_as(answer.headers.get("filename")), etag or written.etag)


def _etag(answer: Download) -> str | None:
    """The server's own, if it gives one that can be sent back: a header of ours holds no other bytes than UTF-8."""
    etag = answer.headers.get("etag", "")
    return etag if etag and etag.isprintable() else None


def _why_none(answer: Download) -> str:
    if answer.status in _NOTHING_NEW:
        return f"it has no model yet (status {answer.status})"
    return f"it answers with status {answer.status} where a model should come"
