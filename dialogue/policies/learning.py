"""What policies have learned from training data. Plain values: they are stored as JSON."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

LOOP_WAS_INTERRUPTED: Final = "loop_was_interrupted"
DO_NOT_PREDICT_LOOP: Final = "do_not_predict_loop_action"

DEFAULT_INTENT_SOURCE: Final = "predicting default action with intent "
LOOP_SOURCE: Final = "handling active loops and forms - "
LISTEN_IN_LOOP: Final = " - action_listen"


class RuleTable(Struct, frozen=True, kw_only=True, tag="rules"):
    """What a RulePolicy has learned.

    Attributes:
        rules: the action after the states of a key (see `states.key`), in the order of the training data.
        rule_only_slots: slots that only rules look at, sorted.
        rule_only_loops: loops that only rules look at, sorted.
        unhappy: by the key of one or two states inside a loop, LOOP_WAS_INTERRUPTED or DO_NOT_PREDICT_LOOP.
        rules_not_in_stories: what may decide without any story doing the same, sorted: keys of rules,
            DEFAULT_INTENT_SOURCE with an intent, LOOP_SOURCE with a loop and maybe LISTEN_IN_LOOP.
    """

    rules: dict[str, str]
    rule_only_slots: tuple[str, ...] = ()
    rule_only_loops: tuple[str, ...] = ()
    unhappy: dict[str, str] = {}
    rules_not_in_stories: tuple[str, ...] = ()


class StoryTable(Struct, frozen=True, tag="stories"):
    """What a MemoizationPolicy has learned: the action after the states of a key (see `states.story_key`)."""

    lookup: dict[str, str]
