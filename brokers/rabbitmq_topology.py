"""The exchange and the queues that events go to, declared as Rasa declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pika.exceptions import ChannelClosedByBroker

from brokers import rabbitmq_faults as faults
from brokers.rabbitmq_connection import Channel

if TYPE_CHECKING:
    from brokers.rabbitmq_connection import Connection
    from brokers.rabbitmq_options import RabbitMQOptions

log = structlog.get_logger("turnlog.relay")


class Topology:
    """Declares all of it on one connection. What is there already, but in another way, is used as it is."""

    def __init__(self, connection: Connection, options: RabbitMQOptions) -> None:
        self._connection, self._options = connection, options

    async def declare(self) -> Channel:
        """Declare exchange, queues and bindings, and return a channel to publish on.

        Raises:
            BrokerUnavailable: the broker refuses, or the connection failed.
        """
        try:
            return await self._declare()
        except ChannelClosedByBroker as refusal:
            raise faults.channel_closed(self._options, refusal) from refusal

    async def _declare(self) -> Channel:
        options = self._options
        channel = await Channel.open(self._connection)
        channel = await self._declare_one(
            channel,
            "exchange",
            options.exchange_name,
            "exchange_type and exchange_durable",
            exchange_type=options.exchange_type,
            durable=options.exchange_durable,
        )
        arguments = {"x-queue-type": "quorum"} if options.queue_type == "quorum" else None
        for queue in options.queues:
            channel = await self._declare_one(channel, "queue", queue, "queue_type", durable=True, arguments=arguments)
            await channel.ask(
                "queue_bind", queue=queue, exchange=options.exchange_name, routing_key=options.binding_key
            )
        return channel

    async def _declare_one(self, channel: Channel, kind: str, name: str, settings: str, **how: Any) -> Channel:
        """Declare an exchange or a queue, and return the channel to go on with: a refusal takes one."""
        try:
            await channel.ask(f"{kind}_declare", **{kind: name}, **how)
        except ChannelClosedByBroker as refusal:
            if refusal.reply_code != faults.PRECONDITION_FAILED:
                raise
            channel = await Channel.open(self._connection)
            await channel.ask(f"{kind}_declare", **{kind: name}, passive=True)
            log.warning(
                f"the {kind} was declared in another way, and is used as it is",
                name=name,
                reason=refusal.reply_text,
                advice=f"set {settings} to what it is, or delete it",
            )
        return channel
