"""What people ask a shell for besides talking: commands that begin with a colon."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

import dialogue
from api.shell_events import as_json, value_of
from dialogue import UserUtteranceReverted, stamp
from eventstore import EventStoreError
from projections import Write, session_begin, tracker_document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.shell_conversation import Conversation
    from projections import View

STOP: Final = "/stop"
_WORD: Final = re.compile(r":([a-z]{2,})")  # `:p` is a message
_NOTHING: Final = "there is nothing in this conversation yet"


async def take(line: str, conversation: Conversation) -> bool:
    """Do what a line asks for; whether that went well."""
    text = line.strip()
    command = _WORD.fullmatch(text)
    if command is not None:
        return await _obey(command[1], conversation)
    text = _choice(line, conversation.view.choices) or text
    conversation.view.choices.clear()
    return await conversation.say(text) if text else True


def _choice(line: str, choices: list[str]) -> str | None:
    """What the button sends whose number was typed. With a blank before it a number is a message."""
    number = int(line) if line.isascii() and line.isdecimal() and len(line) < 4 else 0
    return choices[number - 1] if 1 <= number <= len(choices) else None


async def _obey(word: str, conversation: Conversation) -> bool:
    command = _COMMANDS.get(word)
    if command is None:
        conversation.view.warn(f"there is no command :{word}; :help shows those that there are")
        return False
    try:
        return await command[0](conversation)
    except EventStoreError as error:
        conversation.view.warn(str(error))
        return False


async def _current(conversation: Conversation) -> View | None:
    """The conversation now; None, and it is said, if it has not begun."""
    view = await (await conversation.process.now()).trackers.current(conversation.id)
    if view is None:
        conversation.view.say(_NOTHING)
    return view


async def _tracker(conversation: Conversation) -> bool:
    if (view := await _current(conversation)) is not None:
        service = await conversation.process.now()
        state = dialogue.loads((await tracker_document(service.trackers, view, "NONE")).encode())
        state.pop("events")
        conversation.view.say(as_json(state, indent=2))
    return True


async def _slots(conversation: Conversation) -> bool:
    if (view := await _current(conversation)) is not None:
        slots = view.tracker.slots
        width = max(map(len, slots), default=0)
        lines = (f"{name:<{width}} = {value_of(value)}" for name, value in slots.items())
        conversation.view.say("\n".join(lines) or "the domain has no slots")
    return True


async def _story(conversation: Conversation) -> bool:
    if (view := await _current(conversation)) is not None:
        after = session_begin(view.tracker)
        window = await (await conversation.process.now()).trackers.window(view, after)
        events = [event for _, event in window.events(after, view.version)]
        conversation.view.say(dialogue.story(conversation.id, events).rstrip("\n"))
    return True


async def _restart(conversation: Conversation) -> bool:
    return await conversation.say("/restart", {"intent": {"name": "restart", "confidence": 1.0}, "entities": []})


async def _undo(conversation: Conversation) -> bool:
    view = await _current(conversation)
    if view is None:
        return True
    text = view.tracker.latest_message.get("text")
    if text is None:
        conversation.view.say("there is no message to take back")
        return True
    service = await conversation.process.now()
    event = stamp(UserUtteranceReverted(timestamp=time.time(), metadata={}), service.marks)
    await service.trackers.append(Write(conversation=conversation.id, events=[event], expected=view.version))
    service.hint.send()
    await conversation.show()
    conversation.view.say(f"taken back: {text}")
    return True


async def _help(conversation: Conversation) -> bool:
    conversation.view.say("\n".join([_TALKING, *(f":{word:<8} {what}" for word, (_, what) in _COMMANDS.items())]))
    return True


_TALKING: Final = """\
Type a message, or /intent{"entity": "value"}; a number chooses a button.
/stop     ends, as Ctrl-D does; Ctrl-C drops the line that is being typed, or does not wait for an answer."""

_COMMANDS: Final[dict[str, tuple[Callable[[Conversation], Awaitable[bool]], str]]] = {
    "tracker": (_tracker, "shows the state as JSON."),
    "slots": (_slots, "shows the slots and their values."),
    "story": (_story, "shows this session as a test story."),
    "undo": (_undo, "takes the last message back, and all that followed it."),
    "restart": (_restart, "begins anew: the bot forgets the slots, and what was said."),
    "help": (_help, "shows this."),
}
