"""Read models folded from the log: trackers, and what the runner keeps up to date beside the traffic."""

from __future__ import annotations

from projections.documents import VERBOSITIES, Verbosity, session_begin, tracker_document
from projections.slots import Status, statuses
from projections.trackers import Trackers, Write, written
from projections.views import View, Window

__all__ = [
    "VERBOSITIES",
    "Status",
    "Trackers",
    "Verbosity",
    "View",
    "Window",
    "Write",
    "session_begin",
    "statuses",
    "tracker_document",
    "written",
]
