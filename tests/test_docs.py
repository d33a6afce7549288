"""The documents: their commands are executed as printed, and nothing that a user can set, call or watch is left out."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import URLError

import pytest

from api.command_actions import HOW_TO
from api.database import from_tracker_store, from_url
from api.endpoints import parse
from api.flags import FLAGS, Flag
from api.requests import MAX_REQUEST_ID
from api.settings import Limits
from dialogue import MAX_DEPTH
from eventstore import conversation_id, database, embedded, group_commit, store
from eventstore.migrate import PARTITION_SIZE
from projections import conversations, trackers
from tests.contract.differences import DIFFERENCES
from tests.pages import Block, Terminal, blocks
from tests.rasa_sdk import RasaSdk
from tests.service import SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
QUICK_START: Final = ROOT / "docs" / "quick-start.md"
EXAMPLE: Final = ROOT / "examples" / "restaurant" / "README.md"
WALKS: Final = (README, QUICK_START, EXAMPLE)
CONFIGURATION: Final = ROOT / "docs" / "configuration.md"
HTTP: Final = ROOT / "docs" / "http.md"
OPERATIONS: Final = ROOT / "docs" / "operations.md"
PAGES: Final = (README, EXAMPLE, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))

PRINTED_ACTIONS: Final = "http://localhost:5055/webhook"
PRINTED_DSN: Final = "postgresql://turnlog:secret@localhost:5432/turnlog"
PRINTED_PASSWORD: Final = {"DB_PASSWORD": "secret"}

LIMITS: Final = {
    "bytes of a conversation's id": conversation_id.MAX_BYTES,
    "bytes of an idempotency key": store.MAX_KEY_BYTES,
    "characters of a request's id": MAX_REQUEST_ID,
    "bytes of a body": Limits().request_max_size,
    "events of a commit": group_commit.MAX_EVENTS,
    "bytes of a commit": group_commit.MAX_BYTES,
    "waiting writes": group_commit.MAX_WAITING,
    "bytes of waiting writes": group_commit.MAX_WAITING_BYTES,
    "levels of JSON": MAX_DEPTH,
    "digits of an integer": sys.int_info.default_max_str_digits,
    "entries of a page": conversations.MAX_LIMIT,
    "characters of a label": conversations.LABEL,
    "bytes of a schema's name": database.MAX_NAME_BYTES,
    "oldest Postgres": database.OLDEST_POSTGRES,
    "events of a partition": PARTITION_SIZE,
    "bytes of trackers in hand": trackers.MEMORY,
    "events between snapshots": trackers.SNAPSHOT_EVERY,
}

_VARIABLE: Final = re.compile(r'"((?:TURNLOG|SANIC|DATABASE|POSTGRESQL|LOG|FORCE|XDG|PROMETHEUS)_[A-Z_]+)"')
_LINK: Final = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<heading>[^)]*))?\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- what a reader types ----------------------------------------------------------------------------------------------


class Walk(Terminal):
    """A reader who types the commands of a page in a fresh checkout."""

    def __init__(self, folder: Path, dsn: str) -> None:
        super().__init__(folder, {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}, {PRINTED_DSN: dsn})
        self._dsn = dsn
        self._action_server: RasaSdk | None = None
        self._set_out()

    def _set_out(self) -> None:
        """The checkout: Makefile, examples, this environment as its .venv, and a `make` that builds nothing."""
        (self._folder / "Makefile").symlink_to(ROOT / "Makefile")
        ignored = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT / "examples", self._folder / "examples", ignore=ignored)
        (self._folder / ".venv").symlink_to(sys.prefix)
        make = self._folder / "bin" / "make"
        make.parent.mkdir()
        make.write_text(
            '#!/bin/sh\n[ "$1" = run ] || set -- --dry-run "$@"\n'
            'PATH=${PATH#*:}\nexec make -o .venv/installed -o .venv/installed-dev "$@"\n'
        )
        make.chmod(0o755)

    def write(self, block: Block) -> None:
        """Write the file that a block shows, with a database that is there."""
        path = self._folder / block.text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"tracker_store: {{type: SQL, dialect: postgresql, url: {json.dumps(self._dsn)}}}\n")

    def act(self, block: Block) -> None:
        """Start the action server of a block, from an environment that is there, and let the project know its port."""
        assert set(block.text.splitlines()[1:]) <= {line.strip() for line in HOW_TO.splitlines()}
        project = self._folder / block.text.splitlines()[0].removeprefix("cd ")
        self._action_server = RasaSdk.start(project / "actions", self._folder)
        endpoints = (project / "endpoints.yml").read_text()
        (project / "endpoints.yml").write_text(endpoints.replace(PRINTED_ACTIONS, self._action_server.url))

    def serve(self, block: Block) -> None:
        """Start the service of a block, and return when it is ready."""
        self.start(block)
        self.wait_for_read_models()

    def wait_for_read_models(self) -> None:
        """Return when the service is ready and its read models hold everything."""
        wait_until(self._is_current, "the service is ready and its read models hold everything")

    def _is_current(self) -> bool:
        self.expect_service()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=SECONDS) as answer:
                models = json.load(answer)["projections"]
        except (URLError, ConnectionError):
            return False
        return bool(models) and not any(model["lag_events"] for model in models)

    def end(self) -> None:
        """Stop whatever runs."""
        if self._action_server is not None:
            self._action_server.close()
        self.stop()


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A reader with an empty home folder, and with a Postgres beside the one that comes with the service."""
    with contextlib.closing(embedded.start(tmp_path / "postgres")) as postgres:
        walk = Walk(tmp_path, postgres.dsn)
        yield walk
        walk.end()


@pytest.mark.timeout(600)  # the environment of rasa-sdk may have to be made first
@pytest.mark.parametrize("page", WALKS, ids=_name)
def test_every_command_does_what_is_printed_below_it(page: Path, walk: Walk) -> None:
    for block in blocks(page):
        if block.language != "sh":
            walk.write(block)
        elif block.acts:
            walk.act(block)
        elif block.serves:
            walk.serve(block)
        else:
            walk.see(block)
            walk.wait_for_read_models()


@pytest.mark.parametrize("page", WALKS, ids=_name)
def test_every_request_shows_its_answer(page: Path) -> None:
    assert not [block.text for block in blocks(page) if "curl " in block.text and not block.output]


def test_the_log_can_be_verified_and_its_projections_rebuilt_as_operations_says(walk: Walk) -> None:
    (verify,) = (block for block in blocks(OPERATIONS) if block.text == "turnlog verify\n")
    (projections,) = (block for block in blocks(OPERATIONS) if "--rebuild" in block.text)
    walk.serve(Block("sh", f"DATABASE_URL='{PRINTED_DSN}' .venv/bin/turnlog run --enable-api", None))
    commands = projections.text.replace("turnlog ", ".venv/bin/turnlog ")
    lines = walk.run(Block("sh", f"export DATABASE_URL='{PRINTED_DSN}'\n{commands}", None)).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "conversation_index (slot 1, active)",
        "conversation_index (slot 1, active)",
        "conversation_index (slot 2, active)",
    ]
    command = f"DATABASE_URL='{PRINTED_DSN}' .venv/bin/{verify.text}"
    assert walk.run(Block("sh", command, None)).splitlines()[-1] == "ok"


def test_the_readmes_endpoints_file_names_the_database_of_its_url() -> None:
    (shown,) = (block.text for block in blocks(README) if "tracker_store" in block.text and block.language == "yaml")
    store = parse(shown, "endpoints.yml", PRINTED_PASSWORD).tracker_store
    assert store is not None
    assert from_tracker_store(store).dsn == from_url(PRINTED_DSN, "README.md").dsn


@pytest.mark.parametrize("program", ["bench", "tests.faults"])
def test_what_make_starts_is_a_program(program: str) -> None:
    assert f"-m {program}" in (ROOT / "Makefile").read_text()
    assert importlib.util.find_spec(f"{program}.__main__") is not None


# --- what a reader looks up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_configuration_has_a_row_for_every_flag(flag: Flag) -> None:
    (row,) = (line for line in CONFIGURATION.read_text().splitlines() if line.startswith(f"| `{flag.spelling}`"))
    spellings = {("-" if len(name) == 1 or name == "vv" else "--") + name for name in flag.spellings}
    variables = {flag.variable, *([f"{flag.variable}_FILE"] if flag.kind in ("secret", "secrets") else [])}
    assert {f"`{name}`" for name in spellings | variables} <= set(re.findall("`[^` ]+`", row))
    assert row.split("|")[3].strip() == flag.default


def test_configuration_has_every_variable_that_the_service_reads() -> None:
    read = {name for path in (ROOT / "api").glob("*.py") for name in _VARIABLE.findall(path.read_text())}
    assert {"DATABASE_URL", "SANIC_WORKERS", "LOG_LEVEL", "TURNLOG_STORAGE_TIMEOUT"} <= read
    text = CONFIGURATION.read_text()
    assert not [name for name in read if f"`{name}`" not in text]


def test_operations_has_every_metric_and_no_other() -> None:
    measured = set(re.findall(r'"(turnlog_[a-z_]+)"', (ROOT / "api" / "metrics.py").read_text()))
    assert set(re.findall(r"^\| `(turnlog_[a-z_]+)`", OPERATIONS.read_text(), re.MULTILINE)) == measured


def test_http_has_every_route() -> None:
    written = re.sub(r"[`*|]", "", HTTP.read_text()).replace("<id>", "<conversation_id:path>")
    lines = {" ".join(line.lstrip("# ").split()[:2]) for line in written.splitlines()}
    assert not _routes() - lines


def test_http_has_every_reason_of_an_error() -> None:
    text = (ROOT / "api" / "errors.py").read_text().partition('"""')[2].partition('"""')[0]
    reasons = set(re.findall(r" (\d{3})  (\w+(?: \w+)?)", text))
    assert len(reasons) > 10
    rows = HTTP.read_text()
    assert not [f"{status} {reason}" for status, reason in reasons if f"| {status} | `{reason}` |" not in rows]


def test_http_lists_the_differences_from_rasa_that_recordings_show() -> None:
    section = HTTP.read_text().partition("## Differences from Rasa")[2]
    listed = {match[1] for match in re.finditer(r"^\| ([^|]+?) \|", section, re.MULTILINE)} - {"#"}
    assert {name for name in listed if not name.endswith("°")} == {difference.number for difference in DIFFERENCES}


@pytest.mark.parametrize("limit", LIMITS)
def test_operations_names_every_limit(limit: str) -> None:
    assert re.search(rf"\b{LIMITS[limit]:,}\b", OPERATIONS.read_text())


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for match in _LINK.finditer(page.read_text()):
        target = page.parent / match["path"] if match["path"] else page
        assert target.exists(), match[0]
        assert not match["heading"] or match["heading"] in _headings(target), match[0]


def _routes() -> set[str]:
    """Method and path of every route, told by a process of its own: metrics want to know where they live."""
    program = (
        "from api.app import ALWAYS, GUARDED, PUBLIC, WITH_JWT\n"
        "for method, path, _ in ALWAYS + GUARDED + PUBLIC + WITH_JWT: print(method, path)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(told.stdout.splitlines())


def _headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    lines = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in lines}
