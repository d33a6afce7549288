"""Where what the bot says goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from assistant.messages import messages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import BotUttered

COLLECTOR: Final = "collector"


class Output(Protocol):
    """One way to the user. Its name chooses among the variations of a response."""

    @property
    def name(self) -> str:
        """As it stands in the `channel` of responses."""

    async def send(self, conversation: str, said: Sequence[BotUttered]) -> None:
        """Let the user hear it. It is in the log by now: what can't be delivered is logged, and not raised."""


class Collector(Output):
    """Gathers what the bot says, for the answer to the request."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """The name by which no response is meant for one channel alone."""
        return COLLECTOR

    async def send(self, conversation: str, said: Sequence[BotUttered]) -> None:
        """Keep the messages."""
        for event in said:
            self.messages += messages_of(event, conversation)
