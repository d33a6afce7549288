"""Messages as the bytes that AMQP has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pika import BasicProperties, DeliveryMode, frame, spec

from brokers.rabbitmq_options import PLACEHOLDER, SHORT

if TYPE_CHECKING:
    from brokers.publisher import Message
    from brokers.rabbitmq_options import RabbitMQOptions

_ROOM: Final = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE  # bytes of a frame around its content


class Frames:
    """Makes the frames of messages for one channel: what pika's `basic_publish` would write, as bytes to be joined."""

    def __init__(self, options: RabbitMQOptions, channel: Any) -> None:
        """`channel` is pika's, and open."""
        self._number: int = channel.channel_number
        self._largest: int = channel.connection.params.frame_max - _ROOM
        self._exchange, self._pattern, self._app_id = options.exchange_name, options.routing_key, options.app_id
        self._constant = None if PLACEHOLDER.search(self._pattern) else self._publish(self._pattern)

    def of(self, message: Message) -> list[bytes]:
        """The frames of a message, in their order."""
        publish = self._constant or self._publish(routing_key(self._pattern, message))
        return [publish, self._header(message), *self._body(message.body)]

    def _publish(self, key: str) -> bytes:
        method = spec.Basic.Publish(exchange=self._exchange, routing_key=key, mandatory=True)
        return bytes(frame.Method(self._number, method).marshal())

    def _header(self, message: Message) -> bytes:
        properties = BasicProperties(
            headers=message.headers,
            delivery_mode=DeliveryMode.Persistent.value,
            message_id=message.id,
            app_id=self._app_id,
        )
        return bytes(frame.Header(self._number, len(message.body), properties).marshal())

    def _body(self, body: bytes) -> list[bytes]:
        return [
            frame.Body(self._number, body[start : start + self._largest]).marshal()
            for start in range(0, len(body), self._largest)
        ]


def routing_key(pattern: str, message: Message) -> str:
    """The pattern with a message's words put in, cut at the length that AMQP has for it."""
    key = PLACEHOLDER.sub(lambda found: message.type if found[1] == "type" else message.conversation, pattern)
    return key.encode()[:SHORT].decode(errors="ignore")
