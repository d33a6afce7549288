"""Channels of your own, with the names that Rasa gives to their parts.

A channel is a subclass of :class:`InputChannel` that credentials.yml names by its dotted path. A channel that was
written for Rasa needs another import line: `from assistant.channels.custom import ...` in place of
`from rasa.core.channels.channel import ...`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog

from assistant.channels.output import COLLECTOR, Output, Said
from assistant.messages import whole_message

if TYPE_CHECKING:
    from sanic import Blueprint, Request

Json = dict[str, Any]

log = structlog.get_logger("turnlog.channels")


class OutputChannel:
    """A way to the user. `send_text_message` is to be written; all other methods have a text to fall back to."""

    @classmethod
    def name(cls) -> str:
        """As it stands in the `channel` of responses, and in the query parameter `output_channel`."""
        return cls.__name__

    async def send_response(self, recipient_id: str, message: Json) -> None:
        """Send what the bot said at once: text with its choices, then everything else."""
        text = message.pop("text", None)
        if quick_replies := message.pop("quick_replies", None):
            await self.send_quick_replies(recipient_id, text, quick_replies, **message)
        elif buttons := message.pop("buttons", None):
            await self.send_text_with_buttons(recipient_id, text, buttons, **message)
        elif text:
            await self.send_text_message(recipient_id, text, **message)
        if custom := message.pop("custom", None):
            await self.send_custom_json(recipient_id, custom, **message)
        if image := message.pop("image", None):
            await self.send_image_url(recipient_id, image, **message)
        if attachment := message.pop("attachment", None):
            await self.send_attachment(recipient_id, attachment, **message)
        if elements := message.pop("elements", None):
            await self.send_elements(recipient_id, elements, **message)

    async def send_text_message(self, recipient_id: str, text: str, **kwargs: Any) -> None:
        """Send a text."""
        raise NotImplementedError(f"{type(self).__name__} must have a send_text_message")

    async def send_image_url(self, recipient_id: str, image: str, **kwargs: Any) -> None:
        """Send an image."""
        await self.send_text_message(recipient_id, f"Image: {image}")

    async def send_attachment(self, recipient_id: str, attachment: Any, **kwargs: Any) -> None:
        """Send an attachment."""
        await self.send_text_message(recipient_id, f"Attachment: {attachment}")

    async def send_text_with_buttons(self, recipient_id: str, text: str, buttons: list[Json], **kwargs: Any) -> None:
        """Send a text with something to choose below it."""
        await self.send_text_message(recipient_id, text)
        for number, button in enumerate(buttons, 1):
            await self.send_text_message(recipient_id, _button_text(number, button))

    async def send_quick_replies(self, recipient_id: str, text: str, quick_replies: list[Json], **kwargs: Any) -> None:
        """Send a text with replies to choose from."""
        await self.send_text_with_buttons(recipient_id, text, quick_replies)

    async def send_elements(self, recipient_id: str, elements: Iterable[Json], **kwargs: Any) -> None:
        """Send elements, each with a title, a subtitle and buttons."""
        for element in elements:
            text = f"{element.get('title', '')} : {element.get('subtitle', '')}"
            await self.send_text_with_buttons(recipient_id, text, element.get("buttons", []))

    async def send_custom_json(self, recipient_id: str, json_message: Json, **kwargs: Any) -> None:
        """Send a message of the bot's own form."""
        await self.send_text_message(recipient_id, json.dumps(json_message))


class CollectingOutputChannel(OutputChannel):
    """Gathers what the bot says in `messages`, for the answer to a request."""

    def __init__(self) -> None:
        self.messages: list[Json] = []

    @classmethod
    def name(cls) -> str:
        """The name by which no response is meant for one channel alone."""
        return COLLECTOR

    def latest_output(self) -> Json | None:
        """The last message."""
        return self.messages[-1] if self.messages else None

    async def send_text_message(self, recipient_id: str, text: str, **kwargs: Any) -> None:
        """Keep each paragraph."""
        for paragraph in text.strip().split("\n\n"):
            await self._keep(recipient_id, text=paragraph)

    async def send_image_url(self, recipient_id: str, image: str, **kwargs: Any) -> None:
        """Keep an image."""
        await self._keep(recipient_id, image=image)

    async def send_attachment(self, recipient_id: str, attachment: Any, **kwargs: Any) -> None:
        """Keep an attachment."""
        await self._keep(recipient_id, attachment=attachment)

    async def send_text_with_buttons(self, recipient_id: str, text: str, buttons: list[Json], **kwargs: Any) -> None:
        """Keep a text with its buttons."""
        await self._keep(recipient_id, text=text, buttons=buttons)

    async def send_custom_json(self, recipient_id: str, json_message: Json, **kwargs: Any) -> None:
        """Keep a message of the bot's own form."""
        await self._keep(recipient_id, custom=json_message)

    async def _keep(self, recipient_id: str, **parts: Any) -> None:
        present = {key: value for key, value in parts.items() if value is not None}
        self.messages.append({"recipient_id": recipient_id} | present)


class UserMessage:
    """What a user said, and the way back to them. Without `output_channel` the answers are gathered."""

    def __init__(
        self,
        text: str | None = None,
        output_channel: OutputChannel | None = None,
        sender_id: str | None = None,
        parse_data: Json | None = None,
        input_channel: str | None = None,
        message_id: str | None = None,
        metadata: Json | None = None,
        **kwargs: Any,
    ) -> None:
        self.text = text.strip() if text else text
        self.output_channel = output_channel or CollectingOutputChannel()
        self.sender_id = "default" if sender_id is None else str(sender_id)
        self.parse_data = parse_data
        self.input_channel = input_channel
        self.message_id = uuid.uuid4().hex if message_id is None else str(message_id)
        self.metadata = metadata
        self.headers = kwargs.get("headers")


OnNewMessage = Callable[[UserMessage], Awaitable[Any]]


class InputChannel:
    """Where messages come from: routes below `/webhooks/<url_prefix>`."""

    @classmethod
    def name(cls) -> str:
        """The channel's name: its part of the path, and the `output_channel` that leads to its output."""
        return cls.__name__

    @classmethod
    def from_credentials(cls, credentials: Json | None) -> InputChannel:
        """The channel by its section of credentials.yml, which may be empty."""
        return cls()

    @classmethod
    def raise_missing_credentials_exception(cls) -> None:
        """Refuse to start without credentials."""
        raise ValueError(f"the channel {cls.name()!r} needs credentials: write them below its name in credentials.yml")

    def url_prefix(self) -> str:
        """The part of the path that the channel's routes begin with."""
        return self.name()

    def blueprint(self, on_new_message: OnNewMessage) -> Blueprint:
        """The channel's routes. `on_new_message` answers a message: when it returns, all was sent."""
        raise NotImplementedError(f"{type(self).__name__} must have a blueprint")

    def get_metadata(self, request: Request) -> Json | None:
        """What a request says beside the message, for the channel's own use."""
        return None

    def get_output_channel(self) -> OutputChannel | None:
        """The way to users who are not waiting for an answer; None when there is none."""
        return None


class CustomOutput(Output):
    """An output channel as the assistant uses it. `failed` is called when it could not send."""

    def __init__(self, channel: OutputChannel, failed: Callable[[], None]) -> None:
        self._channel, self._failed = channel, failed

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._channel.name()

    @property
    def is_remote(self) -> bool:
        """Whether it does anything but gather messages."""
        return not isinstance(self._channel, CollectingOutputChannel)

    async def send(self, said: Said) -> None:
        """Send one event after the other."""
        for event in said.events:
            try:
                await self._channel.send_response(said.conversation, whole_message(event))
            except Exception as error:
                log.error(
                    "a message could not be delivered",
                    channel=self.name,
                    conversation=said.conversation,
                    reason=str(error),
                    exc_info=error,
                )
                self._failed()


def _button_text(number: int, button: Json) -> str:
    """`1: title (payload)`, and whatever else the button has."""
    rest = {key: value for key, value in button.items() if key not in ("title", "payload")}
    payload = f" ({button['payload']})" if "payload" in button else ""
    details = f" - {json.dumps(rest, sort_keys=True)}" if rest else ""
    return f"{number}: {button.get('title', '')}{payload}{details}"
