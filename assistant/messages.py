"""What the bot said, as the messages in which a client of the REST channel is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dialogue import BotUttered

Json = dict[str, Any]


def messages_of(event: BotUttered, recipient: str) -> list[Json]:
    """The messages that one event makes, in the order in which they are sent; none when it says nothing.

    Paragraphs of a text are messages of their own, unless there is something to choose below it.
    """
    return [
        {"recipient_id": recipient} | {key: value for key, value in part.items() if value is not None}
        for part in _parts(whole_message(event))
    ]


def whole_message(event: BotUttered) -> Json:
    """All that one event says, by the keys of a response; an image is not said again as an attachment."""
    data = event.data if isinstance(event.data, dict) else {}
    said = {**data, "text": event.text, **event.metadata}
    return said | {"attachment": None} if said.get("attachment") == said.get("image") else said


def _parts(said: Json) -> Iterator[Json]:
    yield from _text(said.get("text"), said.get("quick_replies") or said.get("buttons"))
    if custom := said.get("custom"):
        yield {"custom": custom}
    if image := said.get("image"):
        yield {"image": image}
    if attachment := said.get("attachment"):
        yield {"attachment": attachment}
    yield from _elements(said.get("elements"))


def _text(text: Any, choices: Any) -> Iterator[Json]:
    if choices:
        yield {"text": text, "buttons": choices}
    elif isinstance(text, str) and text:
        yield from ({"text": paragraph} for paragraph in text.strip().split("\n\n"))
    elif text:
        yield {"text": text}


def _elements(elements: Any) -> Iterator[Json]:
    for element in elements if isinstance(elements, list) else ():
        if isinstance(element, dict):
            text = f"{element.get('title', '')} : {element.get('subtitle', '')}"
            yield {"text": text, "buttons": element.get("buttons", [])}
