"""The book of reservations. This one is in memory, and empty after each start; yours is a database."""

from __future__ import annotations

from itertools import count
from typing import Any

SEATS = {"inside": 30, "outside": 12}
"""That can be taken at one time."""

_reservations: dict[str, dict[str, Any]] = {}
_numbers = count(1)


def is_free(request: dict[str, Any]) -> bool:
    """Whether there are seats enough. Neither says it anything about the next moment, nor keeps it them."""
    taken = sum(other["people"] for other in _reservations.values() if _place(other) == _place(request))
    return taken + request["people"] <= SEATS[request["seating"]]


def take(request: dict[str, Any]) -> str | None:
    """Write a reservation down, and give its number; None when there are not seats enough."""
    if not is_free(request):
        return None
    number = f"R{next(_numbers)}"
    _reservations[number] = request
    return number


def give_back(number: str) -> None:
    """Cross a reservation out. One that is not there is none."""
    _reservations.pop(number, None)


def _place(request: dict[str, Any]) -> tuple[str, str, str]:
    return request["date"], request["time"], request["seating"]
