"""Figures as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from tests.faults.rounds import Figures

BOUNDS: Final = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Milliseconds that separate the columns of a distribution."""


def round_line(number: int, figures: Figures, seconds: float) -> str:
    """One round in one line."""
    parts = (
        _kills(figures.kills),
        f"{figures.requests} requests, {figures.acknowledged} acknowledged",
        f"unknown {figures.retried} retried and {figures.left_unknown} left, {figures.not_written} not written",
        f"duplicates {figures.duplicates}, lost {figures.lost}, longest outage {figures.longest_outage:.2f} s",
        f"{seconds:.1f} s in all",
    )
    return f"round {number:3}: " + "; ".join(parts) + "".join(f"\n    VIOLATION {text}" for text in figures.violations)


def summary(figures: Figures) -> str:
    """All rounds together."""
    rows = (
        ("rounds", figures.rounds),
        ("kills", f"{figures.kills.total()} ({_kills(figures.kills)})"),
        ("requests", figures.requests),
        ("acknowledged", figures.acknowledged),
        ("unknown outcomes retried", figures.retried),
        ("unknown outcomes left", figures.left_unknown),
        ("certainly not written", figures.not_written),
        ("duplicates", figures.duplicates),
        ("lost", figures.lost),
        ("resent to RabbitMQ", figures.resent),
        ("longest outage", f"{figures.longest_outage:.2f} s"),
        ("violations", len(figures.violations)),
    )
    return "\n".join(f"{name:25} {value}" for name, value in rows)


def distribution(latencies: Sequence[float]) -> str:
    """Quantiles, and how many lie between each two bounds: a wait by polling would show as a lonely peak."""
    ordered = sorted(1000 * seconds for seconds in latencies)
    quantiles = ", ".join(f"{name} {ordered[int(share * (len(ordered) - 1))]:.1f} ms" for name, share in _QUANTILES)
    counts = [sum(low <= value < high for value in ordered) for low, high in zip((0, *BOUNDS), _UPPER, strict=True)]
    columns = ", ".join(f"{_span(high)} {count}" for high, count in zip(_UPPER, counts, strict=True) if count)
    return f"{len(ordered)} answers: {quantiles}; {columns}"


_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0))
_UPPER: Final = (*BOUNDS, float("inf"))


def _span(high: float) -> str:
    return f"below {high} ms:" if high < float("inf") else "longer:"


def _kills(kills: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kills.items())) or "no kills"
