"""What a shell shows: what was said, and beside it, or below it where there is no room, the events."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.shell_events import as_json, line_of
from api.shell_terminal import PROMPT, printable
from assistant.messages import messages_of
from dialogue import BotUttered, UserUttered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from api.shell_terminal import Terminal
    from dialogue import Event

WIDE: Final = 100  #: columns from which on events stand beside what was said
_LEAST: Final = 60  #: columns that events are given there
_INDENT: Final = "    "


class View:
    """Shows one conversation.

    Attributes:
        choices: what the buttons that were shown send, in their order; who answers clears them.
    """

    def __init__(self, terminal: Terminal, *, shows_events: bool) -> None:
        self.choices: list[str] = []
        self._terminal, self._shows_events = terminal, shows_events
        self._console = Console(highlight=False)

    def show(self, events: Sequence[tuple[int, Event]], own: set[str]) -> None:
        """Show events with their versions; what users said, too, unless the id of the message is among `own`."""
        said = "\n".join(line for _, event in events for line in self._said(event, own))
        lines = [line_of(*item) for item in events] if self._shows_events else []
        if self._terminal.is_interactive and self._console.width >= WIDE:
            self._print(_beside(said, lines, self._console.width) if lines else _text(said))
        else:
            self._print(*([_text(said)] if said else []), *map(_event, lines))

    def say(self, text: str) -> None:
        """Say something that belongs to no conversation."""
        self._print(_text(text))

    def warn(self, text: str) -> None:
        """Say what went wrong."""
        self._terminal.write(f"turnlog: {printable(text)}\n", sys.stderr)

    def _print(self, *parts: RenderableType) -> None:
        # Rich would end the thread where the reader of a pipe is gone; a write that fails can be dealt with.
        with self._console.capture() as captured:
            for part in parts:
                self._console.print(part, soft_wrap=not self._terminal.is_interactive)
        if printed := captured.get():
            self._terminal.write(printed)

    def _said(self, event: Event, own: set[str]) -> Iterator[str]:
        if isinstance(event, BotUttered):
            for message in messages_of(event, ""):
                yield from self._message(message)
        elif isinstance(event, UserUttered) and event.message_id not in own and event.text:
            yield PROMPT + event.text

    def _message(self, message: dict[str, Any]) -> Iterator[str]:
        if text := message.get("text"):
            yield text if isinstance(text, str) else as_json(text)
        for button in message.get("buttons") or ():
            yield self._button(button)
        if image := message.get("image"):
            yield f"[image] {image}"
        if attachment := message.get("attachment"):
            yield f"[attachment] {attachment if isinstance(attachment, str) else as_json(attachment)}"
        if custom := message.get("custom"):
            yield f"[custom] {as_json(custom)}"

    def _button(self, button: Any) -> str:
        button = button if isinstance(button, dict) else {"title": button}
        title = str(button.get("title") or "")
        sent = str(button.get("payload") or title)
        self.choices.append(sent)
        where = button.get("url") or (sent if sent != title else None)
        return f"  {len(self.choices)}: {title}" + (f" ({where})" if where else "")


def _text(text: str) -> Text:
    return Text(printable(text))


def _event(line: str) -> Text:
    return Text(printable(_INDENT + line), style="dim", no_wrap=True, overflow="ellipsis")


def _beside(said: str, lines: Sequence[str], width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    right = max(_LEAST, width // 2)
    table.add_column(width=width - right - 2)
    table.add_column(width=right, no_wrap=True, overflow="ellipsis", style="dim")
    table.add_row(_text(said), _text("\n".join(lines)))
    return table
