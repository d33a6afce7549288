"""A stand-in for the network between a process and its database, which can fail in every way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database

# "PortalSuspended" and "ReadyForQuery, idle": so ends the answer to a statement of which one row was asked for, as an
# append is. Postgres sends it when the commit is done.
ANSWERED = b"s\x00\x00\x00\x04Z\x00\x00\x00\x05I"


class Proxy:
    """Passes bytes between clients and the server until it is told otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writers: list[asyncio.StreamWriter] = []
        self.drops_answer = False  #: the next answer to an append is dropped, with its connection
        self.swallows = False  #: nothing gets through, and nobody is told
        self.refuses = False  #: new connections are closed at once

    async def start(self) -> Database:
        """The database as it is seen through the proxy."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        parts = urlsplit(self._database.dsn)
        secret = f":{quote(parts.password, safe='')}" if parts.password else ""
        user = quote(parts.username or "", safe="")
        return replace(self._database, dsn=f"postgresql://{user}{secret}@127.0.0.1:{port}{parts.path}?sslmode=disable")

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def stop(self) -> None:
        """Break and close everything."""
        self._listener.close()
        self.cut()
        await self._listener.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        server_reader, server_writer = await self._connect()
        self._writers += [writer, server_writer]
        await asyncio.gather(self._pass_on(reader, server_writer), self._pass_back(server_reader, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._database.dsn)
        query = parse_qs(parts.query)
        port = int(query["port"][0]) if "port" in query else parts.port or 5432
        if "host" in query:
            return await asyncio.open_unix_connection(f"{query['host'][0]}/.s.PGSQL.{port}")
        return await asyncio.open_connection(parts.hostname, port)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await _read(reader):
            if not self.swallows:
                writer.write(data)
        writer.close()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await _read(reader):
            if self.drops_answer and ANSWERED in data:
                self.drops_answer = False
                writer.transport.abort()
            elif not self.swallows:
                writer.write(data)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""


@asynccontextmanager
async def proxied(database: Database) -> AsyncIterator[tuple[Proxy, Database]]:
    """A proxy, and the database as it is seen through it."""
    proxy = Proxy(database)
    try:
        yield proxy, await proxy.start()
    finally:
        await proxy.stop()
