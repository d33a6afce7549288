"""The service publishes what Rasa 3.6.21 did while the recordings were made, but for the differences that are listed.

Each scenario is played again, and read back from the file to which the service publishes its log. What comes after an
assistant did something can't be compared yet.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from msgspec import Struct

from tests.contract.answers import decoded, has_encoded_id, opened_with_first_event, shows_cancelled, shows_opening, with_cancelled
from tests.contract.client import Names, send
from tests.contract.expected import Expected
from tests.contract.normal_form import NormalForm, deviations
from tests.contract.published import KEPT, Body, by_step, is_cut, is_prediction, replacement, shown, steps_without_assistant
from tests.contract.replay import Kind, applied, kind_of
from tests.contract.transcripts import Case, Scenario, scenarios
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.contract.conftest import Service
    from tests.contract.service import Running

REPLACED: Final[Body] = {"sender_id": "<CONV>", "event": "tracker_replaced", "timestamp": "<TS>"}


class Difference(Struct, frozen=True, kw_only=True):
    """What Rasa publishes, what we publish, which steps that concerns, and what is expected of them instead."""

    number: str
    rasa: str
    ours: str
    covers: Callable[[Case, list[Body]], bool]
    bodies: Callable[[Case, list[Body]], list[Body]]


def _as_answer(bodies: list[Body]) -> Expected:
    """Bodies as if they stood in an answer, which `answers` knows how to change."""
    return Expected(status=200, content_type=None, body={"events": bodies})


def _changed_by(change: Callable[[Case, Expected], Expected]) -> Callable[[Case, list[Body]], list[Body]]:
    return lambda case, bodies: change(case, _as_answer(bodies)).body["events"]


def _covered_by(covers: Callable[[Case, Expected], bool]) -> Callable[[Case, list[Body]], bool]:
    return lambda case, bodies: covers(case, _as_answer(bodies))


def _is_accepted(case: Case) -> bool:
    """Whether we accept what the step writes."""
    return case.is_write and applied(case)[0].status == 200


def _is_replacement(case: Case) -> bool:
    return case.request["method"] == "PUT" and _is_accepted(case)


def _replaced(case: Case, bodies: list[Body]) -> list[Body]:
    if case.step.status != 200:
        return [REPLACED, *shown(applied(case)[0].body["events"])]
    return [REPLACED, *(bodies if len(bodies) == len(case.posted) else replacement(case))]


def _written(case: Case, _: list[Body]) -> list[Body]:
    """What the answer shows of the events that were posted, with the session start that they brought."""
    events = shown(applied(case)[0].body["events"])
    is_first = not any(_is_accepted(step) for step in case.earlier)
    return events if is_first else events[-len(case.posted) :]


DIFFERENCES: Final = [
    Difference(
        number="accepted",
        rasa="Nothing is published of a POST that is refused.",
        ours="Its events are accepted (O13, O14, O18 of the answers), and published.",
        covers=lambda case, _: case.request["method"] == "POST" and _is_accepted(case) and case.step.status != 200,
        bodies=_written,
    ),
    Difference(
        number="refused",
        rasa="What is no JSON or no text is accepted, and published.",
        ours="It is refused (O38, O39 and invalid ids of the answers).",
        covers=lambda case, bodies: bool(bodies) and case.is_write and not _is_accepted(case),
        bodies=lambda _case, _bodies: [],
    ),
    Difference(
        number="PUT",
        rasa="Of the events that replace a conversation only those are published by which it has more than before.",
        ours="All are, and before them `tracker_replaced`, which says that the earlier ones do not count any more.",
        covers=lambda case, _: _is_replacement(case),
        bodies=_replaced,
    ),
    Difference(
        number="O48",
        rasa="A prediction begins a new session if the last message is old, and publishes it.",
        ours="A prediction writes nothing, and publishes nothing.",
        covers=lambda case, bodies: bool(bodies) and is_prediction(case),
        bodies=lambda _case, _bodies: [],
    ),
    Difference(
        number="O1",
        rasa="The session start before a conversation's first event has the time of arrival, not the event's own.",
        ours="It has the time of the first event if that is earlier.",
        covers=_covered_by(shows_opening),
        bodies=_changed_by(opened_with_first_event),
    ),
    Difference(
        number="O16",
        rasa="`cancel_reminder` is published without the fields that it came with.",
        ours="They are kept and published.",
        covers=_covered_by(shows_cancelled),
        bodies=_changed_by(with_cancelled),
    ),
    Difference(
        number="O18",
        rasa="`sender_id` is the percent-encoded id of the path.",
        ours="It is the id.",
        covers=_covered_by(has_encoded_id),
        bodies=_changed_by(decoded),
    ),
]


def expected(scenario: Scenario, differences: Sequence[Difference] = DIFFERENCES) -> tuple[list[Body], list[Difference]]:
    """What should be published: what Rasa did, changed by each difference that covers a step; and which ones did."""
    found: list[Body] = []
    used: list[Difference] = []
    for case, bodies in by_step(scenario):
        for difference in differences:
            if difference.covers(case, bodies):
                bodies = difference.bodies(case, bodies)
                used += [] if difference in used else [difference]
        found += bodies
    return found, used
