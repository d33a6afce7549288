"""The running assistant: models, understanding, actions, responses, and the turn of a conversation."""

from assistant.actions import UnknownAction
from assistant.assistant import Assistant, Message, Outcome, Understanding
from assistant.channels.output import COLLECTOR, Collector, Output
from assistant.draft import Ledger, Reading
from assistant.scene import Scene

__all__ = [
    "COLLECTOR",
    "Assistant",
    "Collector",
    "Ledger",
    "Message",
    "Outcome",
    "Output",
    "Reading",
    "Scene",
    "UnknownAction",
    "Understanding",
]
