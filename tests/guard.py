"""The guard of a server that tests start: the parent of it and of all that it leaves behind.

It runs as a program, by this file's path, and prints the server's pid. The tests hold the other end of its input, which
the kernel closes with them, even if they were killed; then everything dies. It needs Linux.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(command: Sequence[str]) -> int:
    """Run the server until it ends or the tests do, leave nothing of it behind, and return its status as a shell does.

    Its output goes where our errors go.
    """
    _adopt_orphans()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_die_with_parent)
    print(server.pid, flush=True)
    ended = os.pidfd_open(server.pid)
    readable, _, _ = select.select([sys.stdin, ended], [], [])
    if ended not in readable:
        server.kill()
    status = server.wait()
    _kill_children()
    return status if status >= 0 else 128 - status


def _adopt_orphans() -> None:
    """Be given the processes whose parent, one of ours, has died; a daemon would belong to nobody."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with_parent() -> None:
    """Let the server die should its guard be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _kill_children() -> None:
    """Kill and collect every child; the children of each become ours by its death."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(ChildProcessError):
        while True:
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
