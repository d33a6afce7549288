"""What the bot said, as the chat widgets of Socket.IO are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.messages import whole_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dialogue import BotUttered

Json = dict[str, Any]


def socket_messages(event: BotUttered) -> Iterator[Any]:
    """The messages that one event makes, in the order in which they are sent.

    A custom message that has `data` is sent as what that holds.
    """
    said = whole_message(event)
    yield from _texts(said.get("text"), said.get("quick_replies") or said.get("buttons"))
    if custom := said.get("custom"):
        yield custom["data"] if isinstance(custom, dict) and "data" in custom else custom
    if image := said.get("image"):
        yield {"attachment": {"type": "image", "payload": {"src": image}}}
    if attachment := said.get("attachment"):
        yield {"attachment": attachment}
    for element in said.get("elements") or ():
        yield {"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": element}}}


def _texts(text: Any, choices: Any) -> Iterator[Json]:
    """One message for each paragraph; what there is to choose stands below the last one."""
    paragraphs = str(text or "").strip().split("\n\n")
    if choices:
        yield from ({"text": paragraph, "quick_replies": []} for paragraph in paragraphs[:-1])
        yield {"text": paragraphs[-1], "quick_replies": [_reply(choice) for choice in choices]}
    elif text:
        yield from ({"text": paragraph} for paragraph in paragraphs)


def _reply(choice: Any) -> Json:
    title = choice.get("title", "") if isinstance(choice, dict) else str(choice)
    return {"content_type": "text", "title": title, "payload": _payload(choice, title)}


def _payload(choice: Any, title: str) -> Any:
    return choice.get("payload", title) if isinstance(choice, dict) else title
