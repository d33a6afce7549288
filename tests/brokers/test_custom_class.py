"""The class of a reader's own, as the documents print it, publishes to a server of this test."""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from brokers import broker_of
from tests.brokers.scripted import published, relaying
from tests.projections.keeping import append

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventstore import EventStore

PAGE = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()
CLASS = re.search(r"^```python\n(# my_brokers\.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECTION = re.search(r"^```yaml\n(event_broker:\n  type: my_brokers\..*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class LineServer(socketserver.ThreadingTCPServer):
    """Answers `ok` to each window."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Windows)
        self.lines: list[Any] = []


class Windows(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        assert isinstance(self.server, LineServer)
        for line in self.rfile:
            if line == b"end\n":
                self.wfile.write(b"ok\n")
            else:
                self.server.lines.append(json.loads(line))


@pytest.fixture
def lines() -> Iterator[LineServer]:
    with LineServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_the_example_of_the_documents_publishes(
    store: EventStore, lines: LineServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CLASS is not None
    assert SECTION is not None
    (tmp_path / "my_brokers.py").write_text(CLASS[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    section = yaml.safe_load(SECTION[1])["event_broker"] | {"port": lines.server_address[1]}
    await append(store, "c", "slot", "bot")
    async with relaying(store, broker_of(section, {})):
        await published(store, "lines")
    assert [line["event"] for line in lines.lines] == ["slot", "bot"]
