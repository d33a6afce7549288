"""`turnlog import` as a process: killed, stopped, resumed, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.command_import import import_
from eventstore import EventStore
from tests.api.rasa_database import (
    by_sender,
    contents,
    history,
    line,
    post,
    rows,
    with_lines,
    write_lines,
    write_postgres,
    write_source,
    write_sqlite,
)
from tests.service import SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore import Database
    from tests.postgres import Server

PROGRAM: Final = "from api.command_import import import_; import_(prog_name='turnlog import')"
ENVIRONMENT: Final = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("TURNLOG", "DATABASE", "POSTGRESQL", "LOG_LEVEL"))
}


@pytest.fixture
async def rasa(server: Server) -> AsyncIterator[Database]:
    """An empty database beside that of the log."""
    async with server.database(migrated=False) as rasa:
        yield rasa


def command(database: Database, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `turnlog import` to its end."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**ENVIRONMENT, "DATABASE_URL": database.dsn},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        **more,
    )


def started(database: Database, *arguments: str | Path, **more: Any) -> subprocess.Popen[bytes]:
    """Start `turnlog import`."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**ENVIRONMENT, "DATABASE_URL": database.dsn},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


async def has_come_to(store: EventStore, position: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the log has a position, or the process has ended; whether it still runs."""
    while await store.read.last_position() < position and process.poll() is None:  # noqa: ASYNC110  the same
        await asyncio.sleep(0.005)
    return process.poll() is None


async def test_an_import_that_is_killed_anywhere_goes_on(store: EventStore, rasa: Database, tmp_path: Path) -> None:
    """Six times, from both kinds of tables, with conversations mixed."""
    dice = random.Random(7)
    events = list(history(8_000, at_once=12))
    for kind in ("sqlite", "postgres"):
        source = await write_source(kind, [(f"{kind}-{sender}", event) for sender, event in events], tmp_path, rasa)
        begin, killed = await store.read.last_position(), 0
        for part in range(3):
            process = started(store.database, source)
            position = begin + dice.randrange(2_000 * part + 1, 2_000 * (part + 1))
            if await has_come_to(store, position, process):
                process.kill()
                killed += 1
            process.communicate()
        assert killed == 3
        done = command(store.database, source)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert await contents(store) == by_sender(
        (f"{kind}-{who}", event) for kind in ("sqlite", "postgres") for who, event in events
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_in_order_and_the_same_command_goes_on(
    number: signal.Signals, store: EventStore, tmp_path: Path
) -> None:
    events = list(history(20_000, at_once=12))
    write_sqlite(tmp_path / "rasa.db", rows(events))
    process = started(store.database, "rasa.db", cwd=tmp_path)
    assert await has_come_to(store, 1_000, process)
    process.send_signal(number)
    said = process.communicate(timeout=SECONDS)[1].decode()
    position = await store.read.last_position()
    assert process.returncode == 128 + number
    assert said.splitlines()[0] == f"turnlog: stopped by {number.name}"
    assert re.search(f"turnlog: {position:,} events imported, [0-9,]+ conversations begun until then", said)
    assert said.splitlines()[-1] == "turnlog: it goes on by: turnlog import rasa.db"
    assert command(store.database, "rasa.db", cwd=tmp_path).returncode == 0
    assert await contents(store) == by_sender(events)


async def test_standard_input_is_waited_for_and_goes_on_under_its_name(store: EventStore, tmp_path: Path) -> None:
    events = list(history(1_500))
    write_lines(tmp_path / "x", events)
    lines = (tmp_path / "x").read_bytes()
    process = started(store.database, "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines.splitlines(keepends=True)[:1_000]))
    process.stdin.flush()
    assert await has_come_to(store, 900, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 143
    again = process.communicate()[1].decode().splitlines()[-1]
    found = re.fullmatch(r"turnlog: it goes on by: turnlog import (.*) \(with the same lines\)", again)
    assert found is not None, again
    done = command(store.database, *shlex.split(found[1]), input=lines.decode())
    assert done.returncode == 0, done.stderr
    assert await contents(store) == by_sender(events)


async def test_the_summary_says_what_was_imported(database: Database, tmp_path: Path) -> None:
    with_lines(tmp_path / "x", line("anna"), line("ben"), line("ben"))
    done = command(database, "x", cwd=tmp_path)
    assert re.fullmatch(r"3 events imported, 2 conversations begun, in \d+\.\d s \([\d,]+ events/s\)\n", done.stdout)
    again = command(database, "x", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, f"{tmp_path / 'x'}: everything is imported already, up to line 3\n")


async def test_what_was_left_out_is_said_and_reported(store: EventStore, tmp_path: Path) -> None:
    for number in range(7):
        await post(store, f"c{number}")
    bad = [line("ben", event="usr")] * 6
    with_lines(tmp_path / "x", *[line(f"c{number}") for number in (*range(7), 0)], *bad)
    done = command(store.database, "x", "--skip-invalid", "--report", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[1] == "left out 7 conversations, 8 records: they have other events in the log"
    assert said[2:8] == [*(f"  c{number}" for number in range(5)), "  and 2 more: --report FILE lists all"]
    assert said[8] == "left out 6 records that are no valid events"
    assert said[9].startswith("  line 9 of conversation 'ben': event: ")
    assert said[14:] == ["  and 1 more: --report FILE lists all"]
    report = [json.loads(each) for each in (tmp_path / "report").read_text().splitlines()]
    assert [entry.get("conversation") or entry["record"][:7].strip() for entry in report] == [
        *(f"c{number}" for number in range(7)),
        *("line 9", *(f"line {number}" for number in range(10, 15))),
    ]


async def test_an_invalid_record_ends_with_1_and_the_command_that_goes_on(database: Database, tmp_path: Path) -> None:
    with_lines(tmp_path / "my x", line("anna"), line("ben", event="usr"))
    done = command(database, "my x", "--name", "n", cwd=tmp_path)
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first.startswith("turnlog: line 2 of conversation 'ben' is no valid event: event: ")
    assert second == "turnlog: 1 events imported, 1 conversations begun until then"
    assert third == "turnlog: without such records it goes on by: turnlog import 'my x' --name n --skip-invalid"


async def test_a_dry_run_ends_with_1_if_the_import_would_stop(database: Database, tmp_path: Path) -> None:
    with_lines(tmp_path / "x", line("anna"), line("ben", event="usr"))
    done = command(database, "x", "--dry-run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("a dry run, nothing is written: 1 events imported, 1 conversations begun, ")
    assert "--skip-invalid leaves them out" in done.stderr
    assert command(database, "x", "--dry-run", "--skip-invalid", cwd=tmp_path).returncode == 0


async def test_a_source_that_can_not_be_read_ends_with_1_and_shows_no_password(
    database: Database, rasa: Database
) -> None:
    url = rasa.dsn.replace("postgresql://turnlog@", "postgresql://turnlog:s3cr3t@")
    done = command(database, url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no table `events`" in done.stderr
    await write_postgres(rasa.dsn, [(1, "anna", "x", 1.0, None, None, "{}")])
    done = command(database, url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "record 1 of conversation 'anna' is no valid event" in done.stderr
    assert "s3cr3t" not in done.stderr


async def test_a_log_that_is_not_there_yet_is_made(server: Server, tmp_path: Path) -> None:
    async with server.database(migrated=False) as empty:
        assert command(empty, with_lines(tmp_path / "x", line())).returncode == 0
        async with EventStore(empty) as store:
            assert await store.read.last_position() == 1


async def test_a_terminal_shows_a_bar(database: Database, tmp_path: Path) -> None:
    write_lines(tmp_path / "x", history(20_000, at_once=10))
    ours, theirs = pty.openpty()
    process = started(database, tmp_path / "x", stderr=theirs)
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal:  # noqa: ASYNC230, PTH123  a descriptor, which has no path
        while block := await asyncio.to_thread(_read, terminal):
            shown += block
    assert process.wait(SECONDS) == 0
    process.communicate()
    assert re.search(rb"[1-9]\d* %.* events .*[1-9]\d*/s", shown), shown


def _read(terminal: Any) -> bytes:
    try:
        block: bytes = terminal.read(65_536)
    except OSError:  # nobody writes to it any more
        return b""
    return block


def test_the_help_says_what_must_not_run_meanwhile(database: Database) -> None:
    said = " ".join(command(database, "--help").stdout.split())
    assert "Stop that Rasa first" in said


def test_the_page_for_users_has_every_flag() -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
    flags = [param.opts[0] for param in import_.params if param.opts[0].startswith("--")]
    assert "--append" in flags
    assert not [flag for flag in flags if f"`{flag}" not in page]
