"""What one policy says of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from dialogue.policies.history import History


class Opinion(Struct, frozen=True, kw_only=True):
    """What a policy would do next.

    Attributes:
        policy: its class, as in `action` events.
        priority: with equal scores the policy with the greater one decides.
        scores: by action; an action that is not named has 0.
        ignores_user: whether the action is due whatever the user says; then only such opinions count.
        uses_text: whether the latest message counted by its text; then those by intent do not count.
        interrupts_loop: whether the active loop is told not to validate the input, whoever decides.
        hides_rule_turn: whether stories do not see the turn.
    """

    policy: str
    priority: int
    scores: dict[str, float]
    ignores_user: bool = False
    uses_text: bool = False
    interrupts_loop: bool = False
    hides_rule_turn: bool = False


class Policy(Protocol):
    """Predicts by what it has learned."""

    def opinion(self, past: History) -> Opinion:
        """Return what comes next in a conversation."""
