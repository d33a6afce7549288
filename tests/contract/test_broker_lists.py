"""The service publishes what Rasa 3.6.21 did while the recordings were made, but for the differences that are listed.

Each scenario is played again, and read back from the file to which the service publishes its log.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest
from msgspec import Struct

from tests.contract.answers import (
    decoded,
    has_encoded_id,
    opened_with_first_event,
    shows_cancelled,
    shows_opening,
    with_cancelled,
)
from tests.contract.client import Names, send
from tests.contract.expected import Expected, recorded, recorded_on_sql
from tests.contract.normal_form import NormalForm, deviations
from tests.contract.published import (
    KEPT,
    Body,
    acts,
    by_step,
    is_cut,
    is_prediction,
    played,
    replacement,
    shown,
)
from tests.contract.replay import applied
from tests.contract.transcripts import Case, Scenario, cases, scenarios
from tests.service import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.contract.conftest import Service
    from tests.contract.service import Running

SESSION_START: Final = 3  #: events
TURN: Final = 6  #: events: a message, what comes of it, and a slot that is posted behind
REMINDED: Final = 6  #: events of a turn that a reminder begins
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


def _of_answer(path: str, count: int) -> list[Body]:
    """The last so many events that another step's answer shows."""
    return shown(recorded(cases()[path]).body["events"])[-count:]


def _with_session(bodies: list[Body]) -> list[Body]:
    """The messages of a turn, and before them those of the session that it begins."""
    events = recorded_on_sql(cases()["live_session/live_restart/6"]).body["events"]
    return shown(events)[-len(bodies) - SESSION_START :]


def _covers_steps(pattern: str) -> Callable[[Case, list[Body]], bool]:
    return lambda case, _: re.fullmatch(pattern, case.path) is not None


def _last(case: Case) -> Case:
    return Case(case.scenario, len(case.scenario.steps) - 1)


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
        number="O1",
        rasa="A slot or a reminder with which a conversation began does not count in a later turn, with the SQL store.",
        ours="It counts: the bot says the slot's value, and the reminder is run.",
        covers=_covers_steps("execute/execute_utter_weather/1|side_effects/side_effects_reminder_fires/2"),
        bodies=lambda case, bodies: _of_answer(f"{case.scenario.path}/2", len(bodies) or REMINDED),
    ),
    Difference(
        number="O37",
        rasa="In the SQL store an id has 255 characters at most. What can't be written is published twice.",
        ours="An id may be longer, and each event is published once.",
        covers=_covers_steps("conversation_ids/id_long_1000/4"),
        bodies=lambda case, _bodies: _of_answer(f"{case.scenario.path}/6", TURN),
    ),
    Difference(
        number="O48",
        rasa="A message after a prediction for a restarted conversation does not begin a session: the prediction did.",
        ours="The message begins it.",
        covers=_covers_steps("live_session/live_restart/5"),
        bodies=lambda _case, bodies: _with_session(bodies),
    ),
    Difference(
        number="O16",
        rasa="`cancel_reminder` is published without the fields that it came with.",
        ours="They are kept and published.",
        covers=lambda case, bodies: shows_cancelled(_last(case), _as_answer(bodies)),
        bodies=lambda case, bodies: with_cancelled(_last(case), _as_answer(bodies)).body["events"],
    ),
    Difference(
        number="O18",
        rasa="`sender_id` is the percent-encoded id of the path.",
        ours="It is the id.",
        covers=_covered_by(has_encoded_id),
        bodies=_changed_by(decoded),
    ),
]


def expected(
    scenario: Scenario, differences: Sequence[Difference] = DIFFERENCES
) -> tuple[list[Body], list[Difference]]:
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


def faults(scenario: Scenario, published: list[Body]) -> Iterator[str]:
    """Where the list is not what it should be."""
    bodies, used = expected(scenario)
    yield from compared(scenario, bodies, published)
    for difference in used:
        without, _ = expected(scenario, [other for other in used if other is not difference])
        if not any(compared(scenario, without, published)):
            yield f"{difference.number} covers a step, but the list is the same without"


def compared(scenario: Scenario, bodies: list[Body], published: list[Body]) -> Iterator[str]:
    """Where two lists differ, as far as Rasa's is known."""
    known = KEPT if is_cut(scenario) else None
    return deviations(bodies[:known], published[:known])


def play(scenario: Scenario, running: Running) -> list[Body]:
    """Send the scenario, as far as it can be compared, and give the normal form of all that was published of it."""
    names, begin = Names.draw(scenario.conv), time.time()
    with running.published.open("rb") as lines:
        lines.seek(0, os.SEEK_END)
        for case in played(scenario):
            send(running.port, case.request, names)
        wait_until(lambda: is_published(running.port, names), "everything is published")
        form = NormalForm(names, begin, time.time())
        return [body for body in map(form.of, lines) if "<" in body["sender_id"]]


def is_published(port: int, names: Names) -> bool:
    """Whether the relay has reached the end of the log."""
    ready = json.loads(send(port, {"method": "GET", "path": "/readyz"}, names).raw)
    return [relay["position"] for relay in ready["relays"]] == [ready["position"]]


WRITING: Final = [scenario for scenario in scenarios() if any(case.is_write or acts(case) for case in played(scenario))]


@pytest.mark.parametrize("scenario", WRITING, ids=lambda scenario: scenario.path)
def test_events_are_published_as_recorded(scenario: Scenario, service: Service) -> None:
    """Whatever a scenario publishes is what Rasa published, or what a listed difference says."""
    running = service(scenario.server)
    wait_until(running.published.exists, "the relay has begun")
    found = list(faults(scenario, play(scenario, running)))
    assert not found, "\n".join(found)


def test_every_difference_covers_something() -> None:
    """A difference that no recording shows is not one."""
    used = [difference for scenario in WRITING for difference in expected(scenario)[1]]
    assert [difference.number for difference in DIFFERENCES if difference not in used] == []


def test_how_many_scenarios_are_compared_how() -> None:
    """What is not compared yet, and how much is deliberately different, changes only when somebody means it."""
    assert Counter(map(kind_of, WRITING)) == {
        "as recorded": 113,
        "deliberately different": 147,
        "deliberately different, up to the assistant": 19,
        "nothing is published": 49,
    }


def kind_of(scenario: Scenario) -> str:
    """How a scenario is compared."""
    bodies, used = expected(scenario)
    kind = "deliberately different" if used else "as recorded" if bodies else "nothing is published"
    is_whole = len(played(scenario)) == len(scenario.steps)
    return kind if is_whole else f"{kind}, up to the assistant"
