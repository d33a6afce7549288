"""The JSON document of a tracker, with as many events as the client asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import dialogue

if TYPE_CHECKING:
    from dialogue import Tracker
    from projections.trackers import Trackers
    from projections.views import View

Verbosity = Literal["NONE", "APPLIED", "AFTER_RESTART", "ALL"]
VERBOSITIES: tuple[Verbosity, ...] = get_args(Verbosity)


async def tracker_document(
    trackers: Trackers, view: View, verbosity: Verbosity = "AFTER_RESTART", after: int = 0
) -> str:
    """The state with its events as ASCII JSON text. Events go in as they are stored; they are not encoded again.

    NONE shows `null`; APPLIED the events that still count; AFTER_RESTART those after the last restart; ALL every event
    of the current generation; none of them a version up to `after`.
    """
    tracker = view.tracker
    if verbosity == "NONE":
        return dialogue.document(tracker, view.conversation, None)
    after = max(after, tracker.generation_version)
    if verbosity == "APPLIED":
        return await _with_applied(trackers, view, max(after, tracker.reset_version))
    if verbosity == "AFTER_RESTART":
        after = max(after, tracker.restart_version)
    window = await trackers.window(view, after)
    return dialogue.document(tracker, view.conversation, f"[{window.joined(after, view.version)}]")


def session_begin(tracker: Tracker) -> int:
    """The version after which the current session lies: before its `action_session_start`, or all of the generation."""
    return tracker.session_version - 1 if tracker.session_version else tracker.generation_version


async def _with_applied(trackers: Trackers, view: View, after: int) -> str:
    window = await trackers.window(view, after)
    versions = dialogue.applied(window.events(after, view.version), view.tracker.loop_names)
    texts = [window.texts[version - window.first] for version in versions]
    return dialogue.document(view.tracker, view.conversation, f"[{','.join(texts)}]")
