"""A line for each figure: ours, the limit, their ratio, and what is wanted."""

from __future__ import annotations

import statistics
from typing import Final

_WIDTH: Final = 40


class Report:
    """Prints figures as they come. Of several pairs of runs the median of the ratios counts."""

    def __init__(self) -> None:
        self._missed: list[str] = []

    def rate(
        self, name: str, ours: list[float], limits: list[float], limit: str, *, least: float, aim: float | None = None
    ) -> None:
        """A rate as a share of its limit; at least `least` is wanted."""
        ratio = statistics.median(a / b for a, b in zip(ours, limits, strict=True))
        wanted = f"at least {least:.2f}" + (f", aim {aim:.2f}" if aim else "")
        figures = f"{statistics.median(ours):>9,.0f}/s of {statistics.median(limits):,.0f}/s ({limit})"
        self._line(name, figures, f"{ratio:.2f}", wanted, missed=ratio < least)

    def time(self, name: str, ours: list[float], limits: list[float], limit: str, *, most: float) -> None:
        """A time in seconds as a multiple of its limit; at most `most` is wanted."""
        ratio = statistics.median(a / b for a, b in zip(ours, limits, strict=True))
        figures = f"{statistics.median(ours) * 1e6:>9,.0f} us to {statistics.median(limits) * 1e6:,.0f} us ({limit})"
        self._line(name, figures, f"{ratio:.2f}", f"at most {most:.2f}", missed=ratio > most)

    def absolute(self, name: str, value: float, unit: str, *, least: float = 0, most: float = float("inf")) -> None:
        """A figure with no limit beside it."""
        wanted = f"at least {least:,.0f}" if least else f"at most {most:,.0f}"
        self._line(name, f"{value:>9,.2f} {unit}", "", wanted, missed=not least <= value <= most)

    def summary(self) -> None:
        """Say what was missed."""
        print(f"missed: {', '.join(self._missed)}" if self._missed else "all limits are kept")

    def _line(self, name: str, figures: str, ratio: str, wanted: str, *, missed: bool) -> None:
        if missed:
            self._missed.append(name)
        mark = "MISSED" if missed else "ok"
        print(f"{name:<{_WIDTH}} {figures:<58} {ratio:>6}  {wanted:<24} {mark}", flush=True)
