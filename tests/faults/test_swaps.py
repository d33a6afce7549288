"""A short run of `python -m tests.faults.swaps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.swaps import Load, swapping

if TYPE_CHECKING:
    from pathlib import Path

SWAPS = 10


async def test_no_turn_fails_or_is_of_two_models_while_the_model_is_swapped(tmp_path: Path) -> None:
    async with swapping(tmp_path, Load(swaps=SWAPS, seconds=0.3, turns=100), "make test") as run:
        figures = await run()
    assert figures.violations == []
    assert len(figures.swaps) == SWAPS + 1
    assert figures.across > 0
