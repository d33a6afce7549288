"""Which steps of the recordings wait for a later release: those that make, load or test models.

They answer 409, once the sender may do it at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.contract.transcripts import Case

_MODELS: Final = re.compile(r"(PUT|DELETE) /model|POST /model/(train|test/.*)")
_REFUSALS: Final = (401, 403, 404, 405)


def changes_models(case: Case) -> bool:
    """Whether the step makes, loads, unloads or tests a model."""
    return bool(_MODELS.fullmatch(case.route)) and case.step.status not in _REFUSALS
