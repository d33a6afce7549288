"""Which steps of the recordings wait for the assistant.

Without one, whatever must predict, run an action or understand a message answers 409, once the sender may do it at all.
What is recorded after such a step concerns a conversation that went on otherwise, and can't be compared yet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.contract.transcripts import Case

_CHANGES: Final = re.compile(r"POST (/conversations/.*/(execute|trigger_intent|messages)|/webhooks/.*/webhook)")
_ASKS: Final = re.compile(r"POST /conversations/.*/predict|(POST|PUT|DELETE) /model(/.*)?")
_REFUSALS: Final = (401, 403)


def needs_assistant(case: Case) -> bool:
    """Whether only an assistant can answer."""
    asks = _CHANGES.fullmatch(case.route) or _ASKS.fullmatch(case.route)
    return bool(asks) and case.step.status not in _REFUSALS


def follows_assistant(case: Case) -> bool:
    """Whether the assistant changed the conversation before this step."""
    changed = any(needs_assistant(step) and _changed(step) for step in case.earlier)
    return changed and not needs_assistant(case) and "/conversations/" in case.route


def _changed(case: Case) -> bool:
    return bool(_CHANGES.fullmatch(case.route)) and case.step.status == 200
