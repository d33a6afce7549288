"""The page of the older protocol: its commands print what is shown below them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from tests.pages import Terminal, blocks
from tests.service import wait_until

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "older-protocol.md"


def test_the_loop_prints_what_is_shown(tmp_path: Path) -> None:
    """Every block is typed as it stands, with this environment's program."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    terminal = Terminal(tmp_path, {"PATH": path, "XDG_DATA_HOME": str(tmp_path / "share")}, {})
    with contextlib.ExitStack() as ending:
        ending.callback(terminal.stop)
        for block in blocks(PAGE):
            if block.serves:
                terminal.start(block)
                wait_until(lambda: _serves(terminal), "the service serves")
            else:
                terminal.see(block)


def _serves(terminal: Terminal) -> bool:
    terminal.expect_service()
    return "serving on" in terminal.told
