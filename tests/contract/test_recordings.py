"""The service answers as Rasa 3.6.21 did, but for the differences that are listed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.contract.differences import DIFFERENCES
from tests.contract.replay import Kind, applied, kind_of, replay
from tests.contract.transcripts import Scenario, cases, scenarios

if TYPE_CHECKING:
    from tests.contract.conftest import Port


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.path)
def test_answers_are_as_recorded(scenario: Scenario, port: Port) -> None:
    """Every answer of a scenario is Rasa's, or the one that a listed difference says."""
    faults = list(replay(scenario, port(scenario.server)))
    assert not faults, "\n".join(faults)


def test_every_difference_covers_something() -> None:
    """A difference that no recording shows is not one."""
    used = [applied(case)[1] for case in cases().values() if kind_of(case) is Kind.DIFFERENT]
    assert [difference.ours for difference in DIFFERENCES if not any(difference in step for step in used)] == []


def test_how_many_steps_are_compared_how() -> None:
    """How much is deliberately different changes only when somebody means it."""
    assert Counter(kind_of(case) for case in cases().values()) == {
        Kind.EXACT: 1138,
        Kind.DIFFERENT: 479,
    }
