"""Histories to import: the table `events` of a Rasa tracker store in Postgres or SQLite, and JSON lines.

A source numbers its records, and gives them in the order of their numbers, in chunks, so that memory does not grow with
its size. Nothing is ever written to it.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import select
import sqlite3
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
import msgspec
import structlog

from api.database import InvalidDatabase, from_url
from assistant.secret import public_url
from dialogue import InvalidJson, loads
from dialogue.text import storable
from eventstore import check_conversation_id
from eventstore.database import is_unavailable, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from typing import BinaryIO

    from api.database import PostgresDatabase

log = structlog.get_logger("turnlog.import")

T = TypeVar("T")

STDIN: Final = "-"
CHUNK: Final = 1_000  #: records that are read at once, at most
CHUNK_BYTES: Final = 4_000_000  #: of JSON that are read at once; a larger record comes alone
MAX_LINE: Final = 64_000_000  #: bytes; no append may be larger
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 120.0  #: until a chunk has come from a database
TRIES: Final = 10  #: to read a chunk from a database that is away, a pause apart
PAUSE: Final = 2.0  #: seconds

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_STDIN_LOOK: Final = 0.2  # seconds after which a reader that waits for a line looks whether it shall end

# $1 text: schema. What `events` is, and whether the schema is a log of ours: its view `events` has the same shape.
POSTGRES_TABLE: Final = """
SELECT c.relname, EXISTS (
    SELECT FROM pg_catalog.pg_class l JOIN pg_catalog.pg_attribute a ON a.attrelid = l.oid
    WHERE l.relnamespace = n.oid AND l.relname = 'log' AND a.attname = 'partition_size'
)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = 'events' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# $1 bigint: id; $2 bigint: how many rows; $3 bigint: bytes
POSTGRES_CHUNK: Final = """
SELECT id, sender_id, data FROM (
    SELECT id, sender_id, data,
        sum(octet_length(data)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (SELECT id, sender_id, data FROM @schema@.events WHERE id > $1 ORDER BY id LIMIT $2) r
) r WHERE coalesce(before, 0) < $3 ORDER BY id
"""
POSTGRES_SPAN: Final = "SELECT min(id), max(id) FROM @schema@.events"
SQLITE_TABLE: Final = "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name = 'events'"
SQLITE_CHUNK: Final = "SELECT id, sender_id, data FROM events WHERE id > ? ORDER BY id LIMIT ?"
SQLITE_SPAN: Final = "SELECT min(id), max(id) FROM events"


class SourceUnusable(Exception):
    """A source can't be read; the message names it, without its password, and says what to do."""


class Record(msgspec.Struct, frozen=True):
    """An event of a history, unread."""

    number: int  #: its id, or its line: 1 or greater, and greater than that of the record before it
    conversation: str  #: empty where `fault` says why
    data: bytes  #: the event's JSON
    fault: str = ""  #: why this can be no event, whatever its JSON is


class Source(Protocol):
    """A history.

    Attributes:
        title: what it is called when nobody gives it a name: where it is, without user and password.
        unit: what a record is called in messages; its number follows.
    """

    title: str
    unit: str

    async def open(self) -> None:
        """Make sure that it can be read.

        Raises:
            SourceUnusable: it can't.
        """

    def after(self, number: int) -> AsyncGenerator[Sequence[Record], None]:
        """The records behind this number, in chunks, some of which may be empty. To be called once.

        Raises:
            SourceUnusable: it can't be read any more, or ends before `number`, so that it is another one.
        """

    @property
    def progress(self) -> tuple[int, int | None]:
        """How much was read and how much there is, in a unit of its own; None where nobody knows."""

    async def close(self) -> None:
        """Let go of it; also while a chunk is waited for."""


def source_of(text: str, schema: str = "public") -> Source:
    """The source that a command line names: a URL, a file or `-`. `schema` is that of a Postgres source.

    Raises:
        SourceUnusable: nothing can be read there.
    """
    if text == STDIN:
        return JsonLines(None)
    scheme, is_url, rest = text.partition("://")
    if is_url and scheme.partition("+")[0] != "sqlite":
        return PostgresTable(_postgres(scheme, text), schema)
    path = Path(rest.removeprefix("/") if is_url else text)
    if not path.is_file():
        raise SourceUnusable(f"{path}: " + ("not a file" if path.exists() else "no such file"))
    return SqliteTable(path) if is_url or _is_sqlite(path) else JsonLines(path)


def _postgres(scheme: str, url: str) -> PostgresDatabase:
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise SourceUnusable(
            f"{scheme}:// can't be read: a source is a postgresql:// or sqlite:/// URL, an SQLite file, or a file of "
            "JSON lines, which `rasa export` writes for every other tracker store"
        )
    try:
        return from_url(url, "SOURCE")
    except InvalidDatabase as error:
        raise SourceUnusable(str(error)) from error


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError as error:
        raise SourceUnusable(f"{path}: {error.strerror}") from error


def _record(number: int, conversation: str | None, data: bytes | None) -> Record:
    if conversation is None or data is None:
        return Record(number, "", b"", "it has no sender_id" if conversation is None else "it has no data")
    try:
        check_conversation_id(conversation)
    except ValueError as error:
        return Record(number, "", b"", str(error))
    return Record(number, conversation, data)


class _Thread:
    """A thread that does what would keep the loop waiting, one thing after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "source")

    async def do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def end(self) -> None:
        self._executor.shutdown(wait=False)


# ---- tables ----


class _Table(ABC):
    """What the two kinds of tables share. A chunk begins behind a number, so no cursor is kept open between chunks."""

    unit = "record"

    def __init__(self, title: str) -> None:
        self.title = title
        self._first, self._last, self._read = 1, 0, 0

    @property
    def progress(self) -> tuple[int, int | None]:
        """In ids, which may have gaps."""
        return max(0, self._read - self._first + 1), self._last - self._first + 1

    async def after(self, number: int) -> AsyncGenerator[Sequence[Record], None]:
        """The records behind this id."""
        if number > self._last:
            raise _other(self.title, f"its last id is {self._last}", number)
        self._read = number
        while records := await self._chunk(self._read):
            self._read = records[-1].number
            yield records

    @abstractmethod
    async def _chunk(self, after: int) -> list[Record]:
        """The next records behind an id, at least one if there is one."""

    def _span(self, first: int | None, last: int | None) -> None:
        if first is not None and first < 1:
            raise SourceUnusable(f"{self.title}: the table `events` has the id {first}; ids begin at 1")
        self._first, self._last = first or 1, last or 0


class PostgresTable(_Table):
    """The table of a tracker store in Postgres. A server that goes away for a moment is waited for."""

    def __init__(self, database: PostgresDatabase, schema: str) -> None:
        super().__init__(_title(database.dsn.value, schema))
        self._dsn, self._schema = database.dsn.value, schema
        self._connection: Any = None

    async def open(self) -> None:
        """Connect, and look at the table."""
        try:
            await self._look(await self._connected())
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, ValueError):  # a parameter of the URL is wrong
                raise
            raise SourceUnusable(f"{self.title}: {reason_of(error)}") from error

    async def _look(self, connection: Any) -> None:
        table = await connection.fetchrow(POSTGRES_TABLE, self._schema)
        if table is None:
            raise SourceUnusable(
                f"{self.title}: schema {self._schema!r} has no table `events`; --source-schema names another one"
            )
        if table[1]:
            raise SourceUnusable(
                f"{self.title}: schema {self._schema!r} holds a log of Turnlog, which is not imported into itself; to "
                "import another log, send its events with `turnlog replay`"
            )
        self._span(*await connection.fetchrow(self._sql(POSTGRES_SPAN)))
        await connection.fetch(self._sql(POSTGRES_CHUNK), self._last, 1, 1)

    async def _chunk(self, after: int) -> list[Record]:
        for _ in range(TRIES):
            try:
                rows = await self._fetch(after)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                self._drop_connection()
                reason = reason_of(error)
                log.warning("waiting for the source", source=self.title, reason=reason)
                await asyncio.sleep(PAUSE)  # nothing tells when a server is back
            else:
                return [_record(row[0], row[1], None if row[2] is None else row[2].encode()) for row in rows]
        raise SourceUnusable(f"{self.title}: {reason}")

    async def _fetch(self, after: int) -> list[Any]:
        connection = await self._connected()
        rows: list[Any] = await connection.fetch(self._sql(POSTGRES_CHUNK), after, CHUNK, CHUNK_BYTES)
        return rows

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=ANSWER_SECONDS,
                server_settings={"application_name": "turnlog import"},
            )
        return self._connection

    def _sql(self, statement: str) -> str:
        return statement.replace("@schema@", '"' + self._schema.replace('"', '""') + '"')

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection."""
        self._drop_connection()


class SqliteTable(_Table):
    """The table of a tracker store in an SQLite file."""

    def __init__(self, path: Path) -> None:
        super().__init__(storable(str(path.absolute())))
        self._path = path
        self._thread = _Thread()
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, and look at the table."""
        await self._do(self._open)

    async def _chunk(self, after: int) -> list[Record]:
        return await self._do(lambda: self._rows(after))

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            await self._thread.do(self._connection.close)
        self._thread.end()

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await self._thread.do(work)
        except sqlite3.Error as error:
            raise SourceUnusable(f"{self.title}: {error}") from error

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._path.absolute().as_uri() + "?mode=ro", uri=True)
        self._connection.text_factory = bytes
        if not self._connection.execute(SQLITE_TABLE).fetchone()[0]:
            raise SourceUnusable(f"{self.title}: this SQLite file has no table `events`")
        self._span(*self._connection.execute(SQLITE_SPAN).fetchone())
        self._connection.execute(SQLITE_CHUNK, (self._last, 1)).close()

    def _rows(self, after: int) -> list[Record]:
        assert self._connection is not None
        records: list[Record] = []
        size = 0
        with closing(self._connection.execute(SQLITE_CHUNK, (after, CHUNK))) as rows:
            for number, conversation, data in rows:
                records.append(_record(number, _text(conversation), data if isinstance(data, bytes) else None))
                size += len(records[-1].data)
                if size >= CHUNK_BYTES:
                    break
        return records


def _text(value: Any) -> str | None:
    """A column of SQLite, which holds any bytes: those that are not UTF-8 become what no conversation's id may have."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else None


def _title(dsn: str, schema: str) -> str:
    """Where a table is. A host may stand in the query; two servers must not have one title."""
    query = parse_qsl(urlsplit(dsn).query)
    where = {name: text for name, text in query if name in ("host", "port", "database", "dbname")}
    title = public_url(dsn) + (f"?{urlencode(where, safe='/')}" if where else "")
    return title if schema == "public" else f"{title} schema {schema}"


def _other(title: str, end: str, number: int) -> SourceUnusable:
    return SourceUnusable(
        f"{title}: {end}, but an import of this name has come to {number}: this is not the same history; give it "
        "another --name"
    )


# ---- JSON lines ----


class _Line(msgspec.Struct):
    sender_id: str


_LINE: Final = msgspec.json.Decoder(_Line)


class JsonLines:
    """A file with an event a line, whose `sender_id` names the conversation; None is standard input.

    Standard input gets a title of its own each time: nobody knows whether the same lines will come again.
    """

    unit = "line"

    def __init__(self, path: Path | None) -> None:
        self.title = f"stdin {secrets.token_hex(4)}" if path is None else storable(str(path.absolute()))
        self._path = path
        self._thread = _Thread()
        self._file: BinaryIO | None = None
        self._number = self._bytes = 0
        self._size: int | None = None
        self._closed = Event()

    @property
    def progress(self) -> tuple[int, int | None]:
        """In bytes."""
        return self._bytes, self._size

    async def open(self) -> None:
        """Open the file."""
        await self._thread.do(self._open)

    async def after(self, number: int) -> AsyncGenerator[Sequence[Record], None]:
        """The lines behind this one."""
        while lines := await self._thread.do(self._lines):
            yield [_line(at, line) for at, line in lines if at > number and not line.isspace()]
        if self._number < number:
            raise _other(self.title, f"it has {self._number} lines", number)

    async def close(self) -> None:
        """Close the file, whatever is waited for."""
        self._closed.set()
        if self._file is not None:
            await self._thread.do(self._file.close)
        self._thread.end()

    def _open(self) -> None:
        if self._path is None:
            self._file = cast("BinaryIO", io.BufferedReader(_Stdin(self._closed), CHUNK_BYTES))
            return
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise SourceUnusable(f"{self._path}: {error.strerror}") from error
        self._size = os.fstat(self._file.fileno()).st_size

    def _lines(self) -> list[tuple[int, bytes]]:
        assert self._file is not None
        lines: list[tuple[int, bytes]] = []
        end = self._bytes + CHUNK_BYTES
        while len(lines) < CHUNK and self._bytes < end and (line := self._next(self._file)):
            self._number += 1
            lines.append((self._number, line))
        return lines

    def _next(self, file: BinaryIO) -> bytes:
        """The next line; of one that is longer than all that may be, the beginning."""
        try:
            line = file.readline(MAX_LINE + 1)
            rest = line
            while rest and not rest.endswith(b"\n") and len(line) > MAX_LINE:
                self._bytes += len(rest)
                rest = file.readline(MAX_LINE + 1)
        except OSError as error:
            raise SourceUnusable(f"{self.title}: {error.strerror}") from error
        self._bytes += len(rest)
        return line


class _Stdin(io.RawIOBase):
    """Standard input that a reader who waits for it can be called away from; it has then ended."""

    def __init__(self, closed: Event) -> None:
        self._closed_by_us = closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._closed_by_us.is_set():
            if select.select([0], [], [], _STDIN_LOOK)[0]:
                return os.readv(0, [buffer])
        return 0


def _line(number: int, line: bytes) -> Record:
    if len(line) > MAX_LINE:
        return Record(number, "", b"", f"it is longer than {MAX_LINE:,} bytes")
    try:
        return _record(number, _LINE.decode(line).sender_id, line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _odd_line(number, line)


def _odd_line(number: int, line: bytes) -> Record:
    """A line that msgspec refuses, which also refuses some JSON."""
    try:
        value = loads(line)
    except InvalidJson as error:
        return Record(number, "", b"", str(error))
    if not isinstance(value, dict):
        return Record(number, "", b"", "it is no JSON object")
    conversation = value.get("sender_id")
    return _record(number, conversation if isinstance(conversation, str) else None, line)
