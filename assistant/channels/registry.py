"""Which channels a service has, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assistant.channels.output import Output


class Channels:
    """The channels that a message can be sent to when nobody waits for it in a request."""

    def __init__(self, outputs: Iterable[Output]) -> None:
        self._outputs = {output.name: output for output in outputs}

    def output(self, name: str | None) -> Output | None:
        """The way to the user that a channel of this name offers; None for one that has none, as `rest`."""
        return self._outputs.get(name) if name else None
