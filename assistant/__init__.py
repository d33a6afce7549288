"""The running assistant: models, understanding, actions, responses, and the turn of a conversation."""

from assistant.actions import UnknownAction
from assistant.assistant import Assistant, Message, Outcome, Understanding
from assistant.channels.output import COLLECTOR, Collector, Output
from assistant.draft import AlreadyDone, Ledger, Reading, Terms
from assistant.remote_loop import Told
from assistant.scene import Scene

__all__ = [
    "COLLECTOR",
    "AlreadyDone",
    "Assistant",
    "Collector",
    "Ledger",
    "Message",
    "Outcome",
    "Output",
    "Reading",
    "Scene",
    "Terms",
    "Told",
    "Understanding",
    "UnknownAction",
]
