"""`turnlog verify`: a good log passes while it is written, every kind of damage is named, and nothing is changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import pytest
from msgspec.structs import replace

from api.verifying import Checked, Extent, verify_database
from dialogue import Domain
from eventstore import CheckpointMove, Database, DatabaseNotUsable, EventStore, migrate
from projections import Trackers
from projections.conversations import NAME, ConversationIndex
from tests.eventstore.helpers import append, session
from tests.projections.keeping import caught_up, kept
from tests.projections.logged import post, put, slot, snapshots_written
from tests.service import SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore.database import Connection
    from tests.postgres import Server

PROGRAM: Final = "from api.command_verify import verify; verify(prog_name='turnlog verify')"
ENVIRONMENT: Final = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("TURNLOG", "DATABASE", "POSTGRESQL", "LOG_LEVEL"))
}
EMPTY: Final = Domain.empty()
CHECKS: Final = ["partitions", "checkpoints", "events", "heads", f"projection {NAME}", "snapshots"]


@pytest.fixture
async def filled(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> EventStore:
    """Positions 1 to 16: conversations a and b with a snapshot each, r replaced; an index, and two checkpoints more."""
    monkeypatch.setattr("projections.trackers.SNAPSHOT_EVERY", 4)
    trackers = Trackers(store, EMPTY)
    await post(trackers, "a", slot(1), slot(2))
    await post(trackers, "b", slot(1))
    await post(trackers, "a", slot(3))
    await put(trackers, "r", slot(1))
    await put(trackers, "r", slot(2))
    await snapshots_written()
    await trackers.close()
    await store.append(append("i", '{"event":"slot"}', '{"event":"slot"}', checkpoint=CheckpointMove("import", 0, 77)))
    lease = await store.leases.acquire("relay x")
    assert lease is not None
    await store.checkpoints.move("relay x", 0, 11, lease)
    async with kept(store, ConversationIndex()):
        await caught_up(store, NAME)
    return store


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A session that no trigger keeps from changing the log."""
    async with session(database) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


async def checked(database: Database, extent: Extent = Extent(), domain: Domain | None = EMPTY) -> list[Checked]:  # noqa: B008
    """What each check came to."""
    found: list[Checked] = []
    await verify_database(database, domain, extent, found.append)
    return found


def faults(found: list[Checked]) -> list[str]:
    """All faults, each behind the name of its check."""
    return [f"{check.name}: {fault}" for check in found for fault in check.faults]


# ---- good logs ----


async def test_every_check_says_what_it_has_looked_at(filled: EventStore) -> None:
    found = await checked(filled.database)
    [last] = await filled.read.commits(16, 16)
    assert [check.name for check in found] == CHECKS
    assert [check.found for check in found] == [
        "2 end to end, up to position 20,000,000",
        "3 looked at: of this log, none ahead of it",
        "positions 1 to 16 dense, versions of 4 conversations contiguous, digests of all events and chain of 6 commits"
        f" right; chain {last.chain.hex()}",
        "4 conversations end where their heads say",
        "4 rows of slot 1 equal a fold of positions 1 to 16",
        "3 equal a fold of their events; 0 of other models left out",
    ]
    assert faults(found) == []


async def test_an_empty_log_is_whole(database: Database) -> None:
    found = await checked(database)
    assert faults(found) == []
    assert found[4].found == "left out: it is not built yet"


async def test_a_log_is_verified_while_it_is_written(filled: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.runner.POLL", 0.01)
    trackers = Trackers(filled, EMPTY)
    stop = asyncio.Event()
    verified: list[list[Checked]] = []
    async with kept(filled, ConversationIndex()), asyncio.TaskGroup() as tasks:
        for writer in range(4):
            tasks.create_task(write(trackers, writer, stop))
        tasks.create_task(relay(filled, stop))
        for _ in range(5):
            verified.append(await checked(filled.database))
            await filled.append(append("grows"))
        stop.set()
    await trackers.close()
    assert [faults(found) for found in verified] == [[]] * 5
    assert len({found[2].found for found in verified}) == 5


async def write(trackers: Trackers, writer: int, stop: asyncio.Event) -> None:
    """Append to some conversations, and replace one now and then."""
    number = 0
    while not stop.is_set():
        number += 1
        await (put if number % 7 == 0 else post)(trackers, f"w{writer}-{number % 5}", slot(number))


async def relay(store: EventStore, stop: asyncio.Event) -> None:
    """Move a checkpoint with the head, as a relay does."""
    lease = await store.leases.acquire("relay y")
    assert lease is not None
    position = 0
    while not stop.is_set():
        head = await store.read.last_position()
        await store.leases.renew(lease)
        await store.checkpoints.move("relay y", position, head, lease)
        position = head


async def test_large_events_are_read_one_by_one(filled: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("eventstore.verify"), "BYTES_AT_ONCE", 1)
    assert faults(await checked(filled.database)) == []


async def test_a_part_of_the_log_is_verified_without_folds(filled: EventStore) -> None:
    found = await checked(filled.database, Extent(first=6, last=10), None)
    assert [check.name for check in found] == CHECKS[:4]
    assert found[2].found.startswith("positions 6 to 10 dense, versions of 2 conversations")


@pytest.mark.parametrize(
    ("extent", "folds"),
    [(Extent(), True), (Extent(quick=True), False), (Extent(first=2), False), (Extent(last=2), False)],
)
def test_only_all_of_the_log_is_folded(extent: Extent, folds: bool) -> None:
    assert extent.has_folds is folds


@pytest.fixture
async def auditor(filled: EventStore, connection: Connection) -> AsyncIterator[Database]:
    """The database as a role sees it that may only read it."""
    role = f"turnlog_auditor_{os.getpid()}"
    parts = urlsplit(filled.database.dsn)
    await connection.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'sample'; GRANT USAGE ON SCHEMA turnlog TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA turnlog TO {role}"
    )
    dsn = urlunsplit(parts._replace(netloc=f"{role}:sample@{parts.netloc.rpartition('@')[2]}"))
    yield replace(filled.database, dsn=dsn)
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_that_may_only_read_verifies_the_log(auditor: Database) -> None:
    assert faults(await checked(auditor)) == []


async def test_a_role_without_temporary_tables_is_told_what_it_needs(auditor: Database, connection: Connection) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    with pytest.raises(DatabaseNotUsable, match="give the role the right TEMPORARY"):
        await checked(auditor)
    assert faults(await checked(auditor, Extent(quick=True), None)) == []


# ---- damage ----


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE turnlog.event SET body = '{}' WHERE position = 5", "events: the event at position 5 was changed"),
        ("DELETE FROM turnlog.event WHERE position = 5", "events: there is no event at position 5"),
        ("UPDATE turnlog.commit SET chain = 'x' WHERE last_position = 9", "events: the chain breaks at .* 6 to 9"),
        (
            "UPDATE turnlog.event e SET version = 9, digest = turnlog.event_digest(c.salt, 9, type, schema_version,"
            " timestamp, body) FROM turnlog.conversation c WHERE c.no = e.conversation AND position = 10",
            "events: the event at position 10 has version 9, conversation 'a' was at 5",
        ),
        (
            "UPDATE turnlog.conversation SET version = 7 WHERE id = 'a'",
            "heads: conversation 'a' is at version 7, its events end with 6",
        ),
        (
            f"UPDATE turnlog.{NAME}_1 SET events = 3 WHERE conversation = 1",
            f"projection {NAME}: the row of conversation 'a' at position 10 has events 3, not 6",
        ),
        (
            "UPDATE turnlog.snapshot SET state = replace(state, 'false', 'true') WHERE version = 5",
            "snapshots: the snapshot of conversation 'a' at version 5 is not what its events make",
        ),
        (
            "UPDATE turnlog.checkpoint SET position = 17 WHERE name = 'relay x'",
            "checkpoints: checkpoint 'relay x' .* position 17, which this log does not reach",
        ),
        (
            "UPDATE turnlog.checkpoint SET position = 3 WHERE name = 'relay x'",
            "checkpoints: checkpoint 'relay x' .* the history up to position 3 is another one",
        ),
        (
            "UPDATE turnlog.checkpoint SET log = gen_random_uuid() WHERE name = 'relay x'",
            "checkpoints: checkpoint 'relay x' .* it was made on log",
        ),
        (
            "UPDATE turnlog.checkpoint SET log = gen_random_uuid() WHERE name = 'import'",
            "checkpoints: checkpoint 'import' .* it was made on log",
        ),
        (
            "ALTER TABLE turnlog.event_0 DISABLE TRIGGER only_grows",
            "partitions: partition event_0 of event does not refuse changes",
        ),
        (
            "ALTER TABLE turnlog.event_0 DROP CONSTRAINT event_0_version_unique",
            "partitions: partition event_0 of event has no UNIQUE",
        ),
    ],
)
async def test_damage_is_named(filled: EventStore, connection: Connection, change: str, fault: str) -> None:
    await connection.execute(change)
    found = faults(await checked(filled.database))
    assert re.search(fault, "\n".join(found))


async def test_every_fault_of_every_check_is_told(filled: EventStore, connection: Connection) -> None:
    await connection.execute(
        "UPDATE turnlog.checkpoint SET position = 17 WHERE name LIKE 'relay %';"
        "UPDATE turnlog.checkpoint SET log = gen_random_uuid() WHERE name = 'import';"
        "UPDATE turnlog.commit SET chain = 'x' WHERE last_position = 10;"
        "DELETE FROM turnlog.snapshot WHERE version > 4;"
        "UPDATE turnlog.snapshot SET state = '{}';"
        f"UPDATE turnlog.{NAME}_1 SET events = 99"
    )
    found = await checked(filled.database)
    assert [len(check.faults) for check in found] == [0, 2, 1, 0, 4, 2]


async def test_heads_are_left_out_when_the_events_are_not_whole(filled: EventStore, connection: Connection) -> None:
    await connection.execute("DELETE FROM turnlog.event WHERE position = 5")
    found = await checked(filled.database, Extent(quick=True), None)
    assert [(check.found, len(check.faults)) for check in found[2:]] == [
        ("", 1),
        ("left out: they are compared with what the events tell", 0),
    ]


async def test_a_partition_that_is_missing_is_named(server: Server) -> None:
    async with server.database(migrated=False) as database, session(database) as connection:
        await migrate(database, partition_size=5)
        async with EventStore(database) as store:
            await store.append(append("a", *range(14)))
        await connection.execute("ALTER TABLE turnlog.event DETACH PARTITION turnlog.event_1")
        found = await checked(database, Extent(quick=True), None)
        assert found[0].faults == ("partition event_2 of event begins at position 11, the one before ends at 5",)
        await connection.execute("ALTER TABLE turnlog.event DETACH PARTITION turnlog.event_2")
        for table in ("event_3", "event_4"):
            await connection.execute(f"DROP TABLE IF EXISTS turnlog.{table}")
        found = await checked(database, Extent(quick=True), None)
        assert found[0].faults == ("the partitions of event end at position 5, before the head 14",)


# ---- the command ----


def command(database: Database | None, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `turnlog verify` to its end."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**ENVIRONMENT, **({} if database is None else {"DATABASE_URL": database.dsn})},
        text=True,
        check=False,
        timeout=SECONDS,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


async def test_a_whole_log_ends_with_ok_and_0(filled: EventStore, tmp_path: Path) -> None:
    done = command(filled.database, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*CHECKS, "ok"]
    assert (done.returncode, done.stderr) == (0, "")


async def test_damage_ends_with_the_faults_and_1(filled: EventStore, connection: Connection, tmp_path: Path) -> None:
    await connection.execute("UPDATE turnlog.conversation SET version = version + 1 WHERE id = 'a'")
    await connection.execute("UPDATE turnlog.checkpoint SET position = 17 WHERE name LIKE '%x%'")
    done = command(filled.database, "--quick", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert [line for line in lines if "fault" in line] == [
        "checkpoints: 2 faults",
        "heads: 1 fault",
        *(f"fault: {line}" for line in faults(await checked(filled.database, Extent(quick=True), None))),
    ]
    assert (done.returncode, done.stderr) == (1, "")


async def test_positions_limit_it(filled: EventStore, tmp_path: Path) -> None:
    done = command(filled.database, "--from-position", "3", "--to-position", "9", cwd=tmp_path)
    assert "events: positions 1 to 9 dense" in done.stdout
    assert "snapshots" not in done.stdout
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ok")


async def test_an_end_that_the_log_does_not_reach_is_a_fault(filled: EventStore, tmp_path: Path) -> None:
    done = command(filled.database, "--to-position", "17", cwd=tmp_path)
    assert done.stdout.endswith("fault: events: the log ends at position 16, before 17\n")
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments", [["--none"], ["--from-position", "0"], ["--from-position", "9", "--to-position", "8"], ["extra"]]
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    done = command(None, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


async def test_a_database_that_is_away_ends_with_1(database: Database, tmp_path: Path) -> None:
    away = replace(database, dsn="postgresql://127.0.0.1:1/none")
    done = command(away, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("turnlog: the database is not available: ")


def test_an_embedded_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = command(None, "--data-dir", tmp_path / "none", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"turnlog: --data-dir: there is no log in {tmp_path / 'none'}\n")
    assert list(tmp_path.iterdir()) == []


async def test_a_model_that_can_not_be_read_ends_with_1(filled: EventStore, tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text("slots: 7\n")
    done = command(filled.database, "--model", "domain.yml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("turnlog: domain.yml")
    assert command(filled.database, "--model", "domain.yml", "--quick", cwd=tmp_path).returncode == 0


async def test_snapshots_are_folded_with_the_models_domain(filled: EventStore, tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text(
        'version: "3.1"\nslots:\n  city: {type: any, influence_conversation: false, mappings: [{type: custom}]}\n'
    )
    done = command(filled.database, "--model", "domain.yml", cwd=tmp_path)
    assert "snapshots: 0 equal a fold of their events; 3 of other models left out" in done.stdout


async def test_a_terminal_shows_a_bar_and_the_result_goes_elsewhere(filled: EventStore, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    reading = asyncio.create_task(asyncio.to_thread(everything_shown, ours))
    done = await asyncio.to_thread(command, filled.database, cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    shown = await reading
    assert done.stdout.endswith("\nok\n")
    assert "\x1b" not in done.stdout
    for what in ("events", f"projection {NAME}", "snapshots", "16 events"):
        assert what in shown


def everything_shown(terminal: int) -> str:
    """What is written to a terminal until it is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # so its end is told
        while part := os.read(terminal, 10_000):
            shown += part
    os.close(terminal)
    return shown.decode()
