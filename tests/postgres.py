"""Postgres servers for tests: the embedded one, and the oldest that is installed beside it.

``DATABASE_URL`` names another server, whose user may create databases; then only that one is used.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from eventstore import Database, embedded, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore.embedded import EmbeddedPostgres


OLDEST = 14


def installed() -> list[Path]:
    """The `bin` folders of the Postgres versions that Debian's packages installed here, oldest first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted((path for path in found if int(path.parent.name) >= OLDEST), key=lambda path: int(path.parent.name))


class Server:
    """A server, and a migrated template on it from which each test gets a database of its own in milliseconds."""

    def __init__(self, dsn: str, embedded_server: EmbeddedPostgres | None) -> None:
        self.dsn = dsn
        self._embedded = embedded_server  # it would stop without anybody who holds it
        self._template: str | None = None

    @classmethod
    def start(cls, data_dir: Path, bin_dir: Path | None = None) -> Server:
        """Start an embedded server in `data_dir`, or use the one that DATABASE_URL names."""
        if named := os.environ.get("DATABASE_URL"):
            return cls(named, None)
        server = embedded.start(data_dir, bin_dir=bin_dir)
        return cls(server.dsn, server)

    def dsn_of(self, name: str) -> str:
        """The DSN of another database on this server."""
        return urlunsplit(urlsplit(self.dsn)._replace(path="/" + name))

    async def execute(self, statement: str) -> None:
        """Run one statement outside of every test's database."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def template(self) -> str:
        """The name of a database with the current schema and no events."""
        if self._template is None:
            name = f"turnlog_template_{secrets.token_hex(4)}"
            await self.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
            await migrate(Database(self.dsn_of(name)))
            self._template = name
        return self._template

    @contextlib.asynccontextmanager
    async def database(self, *, migrated: bool = True, patience: float = 10) -> AsyncIterator[Database]:
        """A database for one test, dropped afterwards."""
        name = f"turnlog_test_{secrets.token_hex(6)}"
        source = await self.template() if migrated else "template0"
        await self.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {source}")
        try:
            yield Database(self.dsn_of(name), patience=patience)
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def close(self) -> None:
        """Leave no database of ours on a server that others use; stop the embedded one."""
        if self._template is not None:
            await self.execute(f"DROP DATABASE {self._template} WITH (FORCE)")
        if self._embedded is not None:
            self._embedded.close()
