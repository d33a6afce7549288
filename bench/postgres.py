"""The limit for the database side: one row, one commit, over one connection."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Final

import asyncpg

from eventstore import embedded

if TYPE_CHECKING:
    from pathlib import Path

COMMITS: Final = 3000


async def commit_seconds(data_dir: Path) -> float:
    """Median seconds of an insert of one row of an event's size, committed on its own."""
    server = await asyncio.to_thread(embedded.start, data_dir)
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS raw (id bigserial PRIMARY KEY, body text)")
        statement = await connection.prepare("INSERT INTO raw (body) VALUES ($1) RETURNING id")
        return statistics.median([await _timed(statement) for _ in range(COMMITS)])
    finally:
        await connection.close()
        server.close()


async def _timed(statement: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]) -> float:
    began = time.perf_counter()
    await statement.fetchval("x" * 120)
    return time.perf_counter() - began
