"""The service answers in the older protocol as rasa_core 0.9 did, but for the differences that are listed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.contract.older_differences import OLDER_DIFFERENCES
from tests.contract.older_transcripts import older_cases, older_scenarios
from tests.contract.replay import Kind, applied, kind_of, replay

if TYPE_CHECKING:
    from tests.contract.conftest import Port
    from tests.contract.transcripts import Scenario


@pytest.mark.parametrize("scenario", older_scenarios(), ids=lambda scenario: scenario.path)
def test_older_answers_are_as_recorded(scenario: Scenario, port: Port) -> None:
    """Every answer of a scenario is that of rasa_core, or the one that a listed difference says."""
    faults = list(replay(scenario, port(scenario.server), OLDER_DIFFERENCES))
    assert not faults, "\n".join(faults)


def test_every_older_difference_covers_something() -> None:
    """A difference that no recording shows is not one."""
    used = [applied(case, OLDER_DIFFERENCES)[1] for case in older_cases().values()]
    assert [difference.ours for difference in OLDER_DIFFERENCES if not any(difference in step for step in used)] == []


def test_how_many_older_steps_are_compared_how() -> None:
    """How much is deliberately different changes only when somebody means it."""
    assert Counter(kind_of(case, OLDER_DIFFERENCES) for case in older_cases().values()) == {
        Kind.EXACT: 563,
        Kind.DIFFERENT: 222,
    }
