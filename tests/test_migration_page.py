"""The migration page: old command lines are accepted, files are read, and what is to be written now does what it shows.

Each section is typed by a reader in a folder that holds all files of the page, with these replacements: 5005 is the
port of the service, the hosts of ELSEWHERE are one server of ours, and DATABASE_URL names a database for the section.
What a command line names as its model is there: the project of the page, or the archive that was trained of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from api import credentials, endpoints, logs, serving
from api.command import turnlog
from assistant.archive import load_model
from eventstore import embedded
from tests.pages import PRINTED_PORT, Block, Terminal, blocks, blocks_of, sections, shows
from tests.s3 import S3
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.timeout(600)

PAGE: Final = Path(__file__).parent.parent / "docs" / "migration.md"
SECTIONS: Final = sections(PAGE)
PREPARATION: Final = "The project"  #: the section whose commands come before those of all others
AGES: Final = [heading for heading in SECTIONS if heading.startswith(("rasa_core ", "Rasa "))]
HISTORY: Final = "Conversations"

ELSEWHERE: Final = ("http://my-server.com", "http://nlu.example.com:5000", "http://localhost:5055")
ARCHIVE: Final = "20190506-100418.tar.gz"
SERVED: Final = "restaurants-7.tar.gz"  #: what the model server calls its archive
BUCKET: Final = "models"
VARIABLES: Final = {
    "DB_PASSWORD": "secret",
    "REDIS_PASSWORD": "secret",
    "BUCKET_NAME": BUCKET,
    "AZURE_CONTAINER": BUCKET,
    "AZURE_ACCOUNT_NAME": "restaurants",
    "AZURE_ACCOUNT_KEY": "c2VjcmV0",
}

ACTED: Final = {
    "events": [{"event": "slot", "name": "matches", "value": ["Papi's Pizza Place"]}],
    "responses": [{"text": "I found Papi's Pizza Place."}],
}
UNDERSTOOD: Final = {"text": "", "intent": {"name": "greet", "confidence": 0.9}, "entities": []}

_PROGRAM: Final = re.compile(r"^\| `(?P<then>[^`]+)` [^|]*\| `(?P<now>turnlog [^`]+)` \|$", re.MULTILINE)
_MODEL: Final = re.compile(r" (?:-d|--d|-m|--m|--model) (?P<path>\S+)")


# --- what the page holds ----------------------------------------------------------------------------------------------


def _files() -> dict[str, str]:
    """The files that the page shows, by the paths in their first lines."""
    shown = [block.text for block in blocks(PAGE) if block.language in ("yaml", "python")]
    files = {text.partition("\n")[0].removeprefix("# "): text for text in shown}
    assert len(files) == len(shown), "two files of one name"
    return files


FILES: Final = _files()


def _typed(prompts: Block) -> list[str]:
    return [line.removeprefix("$ ") for line in prompts.text.splitlines()]


def _old_commands() -> list[str]:
    typed = (_typed(block) for heading in AGES for block in blocks_of(SECTIONS[heading]) if block.language == "console")
    return sorted({line for lines in typed for line in lines})


def _today(command: str) -> str:
    """An old command line with `turnlog` in place of the program, as the table at the top of the page says."""
    programs = {match["then"]: match["now"] for match in _PROGRAM.finditer(SECTIONS["In short"])}
    program = max((program for program in programs if command.startswith(program)), key=len)
    return programs[program] + command.removeprefix(program)


# --- what is elsewhere ------------------------------------------------------------------------------------------------


class _Elsewhere(BaseHTTPRequestHandler):
    """Serves models, understands every message as a greeting, and runs every action."""

    server: Elsewhere
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if urlsplit(self.path).path.startswith("/models/"):
            self._answer(self.server.archive.read_bytes(), "application/gzip", {"ETag": '"1"', "filename": SERVED})
        else:
            self._answer(json.dumps(UNDERSTOOD).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(json.dumps(ACTED).encode())

    def _answer(self, body: bytes, kind: str = "application/json", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: Any) -> None:
        """Nothing: what came is no concern of the tests."""


class Elsewhere(ThreadingHTTPServer):
    """The servers that the page's files name, in one."""

    def __init__(self, archive: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Elsewhere)
        self.archive = archive

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.server_port}"


# --- who reads --------------------------------------------------------------------------------------------------------


class Reader(Terminal):
    """Somebody who types the commands of a section."""

    def __init__(self, folder: Path, dsn: str, s3: S3) -> None:
        self.schema = f"test_{token_hex(6)}"
        variables = {
            **VARIABLES,
            **s3.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DATABASE_URL": dsn,
            "POSTGRESQL_SCHEMA": self.schema,
        }
        super().__init__(folder, variables, {})

    def type(self, block: Block) -> None:
        """Do what a block says, and see that it shows what is printed below it."""
        if block.serves:
            self._serve(block)
        else:
            self.see(block)

    def _serve(self, block: Block) -> None:
        """Start the service of a block; return when it serves, with the model that it fetches, if it does."""
        self.start(block)
        scheme = "https" if "--ssl-certificate" in block.text else "http"
        wait_until(lambda: self._answers(f"{scheme}://localhost:{self.port}/readyz"), f"serves: {block.text}")
        if "my_endpoints" in block.text or "--remote-storage" in block.text:
            wait_until(lambda: self._answers(f"http://localhost:{self.port}/status"), f"has its model: {block.text}")

    def _answers(self, url: str) -> bool:
        """Whether a GET is answered with 200 by now."""
        self.expect_service()
        asked = ["curl", "--insecure", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "200"


def _is_preparation(block: Block) -> bool:
    return block.language == "sh" and not block.serves and PRINTED_PORT not in block.text


def _put_in_place(folder: Path, path: str, text: str, elsewhere: str) -> None:
    for host in ELSEWHERE:
        text = text.replace(host, elsewhere)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres for the services of all sections."""
    with contextlib.closing(embedded.start(tmp_path_factory.mktemp("postgres"))) as postgres:
        yield postgres.dsn


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """What `--remote-storage aws` asks."""
    s3 = S3.start(tmp_path_factory.mktemp("s3"))
    s3.make_bucket(BUCKET)
    yield s3
    s3.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dsn: str, s3: S3) -> Iterator[Path]:
    """The reader's folder, with the files of the page, and with what its preparations make."""
    folder = tmp_path_factory.mktemp("migration")
    with Elsewhere(folder / "models" / ARCHIVE) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        for path, text in FILES.items():
            _put_in_place(folder, path, text, elsewhere.url)
        reader = Reader(folder, dsn, s3)
        for block in blocks(PAGE):
            if _is_preparation(block):
                reader.run(block)
        (trained,) = (folder / "models").glob("*.tar.gz")
        shutil.copy(trained, folder / "models" / ARCHIVE)
        s3.put(BUCKET, ARCHIVE, trained.read_bytes())
        yield folder
        elsewhere.shutdown()


@pytest.fixture
def reader(folder: Path, dsn: str, s3: S3) -> Iterator[Reader]:
    """One who has prepared everything."""
    reader = Reader(folder, dsn, s3)
    yield reader
    reader.stop()


@pytest.mark.parametrize("age", AGES)
def test_what_is_written_now_does_what_is_printed_below_it(age: str, reader: Reader) -> None:
    typed = [block for block in blocks_of(SECTIONS[age]) if block.language == "sh" and not _is_preparation(block)]
    assert any(block.serves for block in typed)
    for block in typed:
        reader.type(block)


def test_the_history_of_an_old_server_comes_into_another_log(reader: Reader) -> None:
    serve, talk, *_ = (block for block in blocks_of(SECTIONS[AGES[0]]) if block.language == "sh")
    (read,) = (block for block in blocks_of(SECTIONS[HISTORY]) if block.language == "sh")
    for block in (serve, talk):
        reader.type(block)
    printed = reader.run(read, POSTGRESQL_SCHEMA=f"new_{reader.schema}")
    assert shows(read.output or "", printed), printed


def test_every_request_shows_its_answer() -> None:
    assert not [block.text for block in blocks(PAGE) if "curl " in block.text and not block.output]


# --- what was written then --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", _old_commands())
def test_an_old_command_line_is_accepted(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(serving, "serve", lambda settings: 0)
    monkeypatch.setattr(logs, "configure", lambda settings: None)
    for named in _MODEL.finditer(command):
        if not Path(named["path"]).exists():
            shutil.copytree("bot", named["path"])
    program, *arguments = shlex.split(_today(command))
    result = CliRunner().invoke(turnlog, arguments, env={"HOME": str(folder), **VARIABLES})
    assert (program, result.exit_code, result.stderr) == ("turnlog", 0, "")


@pytest.mark.parametrize("path", [path for path in FILES if "/" not in path and path.endswith((".yml", ".yaml"))])
def test_a_file_is_read_without_a_fault(path: str) -> None:
    if path == credentials.DEFAULT_FILE:
        credentials.parse(FILES[path], path, None, VARIABLES)
    else:
        endpoints.parse(FILES[path], path, VARIABLES)


def test_the_project_is_trained_without_a_fault(folder: Path) -> None:
    assert not load_model(folder / "bot").warnings
