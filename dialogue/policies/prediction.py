"""What policies look at, and what they say."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dialogue.events import Event
from dialogue.tracker import Tracker


class Situation(Struct, frozen=True):
    """A conversation as policies look at it: its state, and its current session's events in the order of the log."""

    tracker: Tracker
    events: Sequence[Event]  #: at least all after `tracker.reset_version`; also those that were taken back
    counts_at_once: bool = False  #: whether stories see a message at once that came while the bot did not listen


class Prediction(Struct, frozen=True, kw_only=True):
    """The action that comes next.

    Attributes:
        action: an action's name; with `is_text`, the text that the bot says.
        policy: name of the class that decided, as it stands in `action` events.
        confidence: the greatest score.
        hides_rule_turn: whether stories do not see this turn (`hide_rule_turn` of the event).
        interrupts_loop: whether the active loop is told not to validate the input (`loop_interrupted`).
        uses_text: whether the latest message counts by its text (`user_featurization`); None adds no such event.
        scores: of every action of the domain, in its order.
    """

    action: str
    policy: str | None
    confidence: float
    is_text: bool = False
    hides_rule_turn: bool = False
    interrupts_loop: bool = False
    uses_text: bool | None = None
    scores: tuple[float, ...]
