"""The relay that publishes the log to brokers. It reads the log by position, after the commit.

A broker of your own is a subclass of :class:`Publisher`, named by its dotted path as `type` in endpoints.yml.
"""

from brokers.errors import BrokerError, BrokerUnavailable, InvalidOptions, PublishFailed, RelayStopped
from brokers.publisher import Mark, Message, Publisher, Source, Window
from brokers.registry import Broker, broker_of, title_of
from brokers.relay import Relay
from brokers.status import RelayStatus, forget, relays

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerUnavailable",
    "InvalidOptions",
    "Mark",
    "Message",
    "PublishFailed",
    "Publisher",
    "Relay",
    "RelayStatus",
    "RelayStopped",
    "Source",
    "Window",
    "broker_of",
    "forget",
    "relays",
    "title_of",
]
