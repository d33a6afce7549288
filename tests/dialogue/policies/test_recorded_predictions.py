"""Real bots, with the tables that were learned of them: every prediction in their conversations is made again."""

from __future__ import annotations

import pytest

from tests.dialogue.policies.recordings import BOTS, Bot, facts


@pytest.mark.parametrize("name", BOTS)
def test_predictions_are_as_recorded(name: str) -> None:
    bot = Bot(name)
    expected, found = [], []
    for recorded in bot.predictions():
        prediction = bot.predict(recorded.before)
        shown = facts(prediction) | {"scores": bot.shown(prediction)}
        expected.append(recorded.facts)
        found.append({key: shown[key] for key in recorded.facts})
    assert found == expected


def test_there_are_many_of_them() -> None:
    assert sum(1 for name in BOTS for _ in Bot(name).predictions()) == 985
