"""Python's garbage collector in a process that lives for long."""

from __future__ import annotations

import gc


def spare() -> None:
    """Let it look at what is loaded by now never again, and at the rest less often. Called once, before the work."""
    gc.freeze()  # the modules stay for ever
    gc.set_threshold(20_000, 20, 20)
