"""Faults that meet an embedded Postgres while it recovers from another one."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg

from eventstore import embedded
from tests.service import Postgres, is_alive, send_signal, wait_until

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_supervisor_that_is_killed_while_the_server_recovers_takes_it_along(tmp_path: Path) -> None:
    """Told to shut down in good order at this moment, Postgres 18 waits for ever and holds its data directory."""
    postgres = Postgres(tmp_path)
    with closing(embedded.start(tmp_path)) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE work AS SELECT generate_series(1, 200000)")
        send_signal(postgres.backends[0], signal.SIGKILL)
        wait_until(lambda: "was interrupted" in (tmp_path / "postgres.log").read_text(), "the server recovers")
        postmaster = postgres.postmaster
        send_signal(postgres.supervisor, signal.SIGKILL)
        wait_until(lambda: not is_alive(postmaster), "the server has ended")
        connection.terminate()
    with closing(embedded.start(tmp_path)) as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SELECT count(*) FROM work") == 200_000
        await connection.close()
