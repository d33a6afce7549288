"""Messages as rasa_core 0.9 read them where there was no NLU: the text is the intent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialogue.json import InvalidJson, loads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assistant.assistant import Understanding

Json = dict[str, Any]

PREFIXES: Final = ("/", "_")  #: of texts that no NLU is asked for; the second was old then


class OlderMessages:
    """Understands texts by themselves. Those without a prefix are left to an NLU where there is one."""

    def __init__(self, nlu: Understanding | None) -> None:
        self._nlu = nlu

    async def parse(self, text: str, conversation: str) -> Json:
        """The parse data of a text."""
        if self._nlu is None or text.startswith(PREFIXES):
            return read(text)
        return await self._nlu.parse(text, conversation)


def read(text: str) -> Json:
    """Return the parse data of a text that is its own intent, with entities as JSON or as `[name=value, ...]` behind.

    What is no JSON object names no entities. A text that begins with entities has no intent, and none of them.
    """
    bracket, brace = text.find("["), text.find("{")
    is_listed = bracket >= 0 and (brace < 0 or bracket < brace)
    begin = bracket if is_listed else len(text) if brace < 0 else brace
    head = _without_prefix(text[:begin])
    named = {"name": (head.lower() if is_listed else head.strip()) if begin else None, "confidence": 1.0}
    entities = (_listed if is_listed else _spelled)(text, begin) if begin else ()
    return {"text": text, "intent": named, "intent_ranking": [named], "entities": [*entities]}


def _without_prefix(head: str) -> str:
    """The head as a name; a prefix alone is one."""
    return head[1:] if len(head) > 1 and head.startswith(PREFIXES) else head


def _spelled(text: str, begin: int) -> Iterator[Json]:
    """The entities of a JSON object, which is in one line: one for each value of a list."""
    line = text[begin:].partition("\n")[0]
    try:
        given = loads(line.encode())
    except (InvalidJson, UnicodeEncodeError):
        return
    for name, values in given.items() if isinstance(given, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            yield {"entity": name, "start": begin, "end": begin + len(line), "value": value}


def _listed(text: str, begin: int) -> Iterator[Json]:
    """The entities between brackets. As ever, places count as if each part stood first."""
    first = begin + 1
    inside, _, _ = text[first:].rpartition("]")
    for part in inside.split(","):
        name, _, value = part.rpartition("=")
        name, value = name.lstrip(), value.lstrip()
        if name and value:
            end = first + len(part)
            yield {"entity": name, "start": end - len(value), "end": end, "value": value}
