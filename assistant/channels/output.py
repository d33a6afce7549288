"""Where what the bot says goes to."""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Struct

from assistant.messages import messages_of
from dialogue import BotUttered

COLLECTOR: Final = "collector"


class Said(Struct, frozen=True):
    """What the bot said in a conversation, which is in the log by now: after version `after`, up to `upto`."""

    conversation: str
    events: tuple[BotUttered, ...]
    after: int
    upto: int


class Output(Protocol):
    """One way to the user. Its name chooses among the variations of a response."""

    @property
    def name(self) -> str:
        """As it stands in the `channel` of responses."""

    @property
    def is_remote(self) -> bool:
        """Whether what it sends is seen outside, so that turns must not overlap while they send."""
        return False

    async def send(self, said: Said) -> None:
        """Let the user hear it. It is in the log by now: what can't be delivered is logged, and not raised."""


class Collector(Output):
    """Gathers what the bot says, for the answer to the request."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """The name by which no response is meant for one channel alone."""
        return COLLECTOR

    async def send(self, said: Said) -> None:
        """Keep the messages."""
        for event in said.events:
            self.messages += messages_of(event, said.conversation)


class Overheard(Collector):
    """Another output, and what goes there is gathered as well."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    @property
    def name(self) -> str:
        """The other output's."""
        return self._output.name

    @property
    def is_remote(self) -> bool:
        """As the other output."""
        return self._output.is_remote

    async def send(self, said: Said) -> None:
        """Keep the messages and pass them on."""
        await super().send(said)
        await self._output.send(said)
