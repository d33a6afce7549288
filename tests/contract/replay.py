"""Sends a scenario to the running service and says where its answers are not what they should be."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.contract.client import Answer, Names, send
from tests.contract.differences import DIFFERENCES, Difference
from tests.contract.expected import Expected, recorded
from tests.contract.normal_form import NormalForm, deviations
from tests.contract.transcripts import Case, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Kind(StrEnum):
    """How a step is compared."""

    EXACT = "as recorded"
    DIFFERENT = "deliberately different"


def kind_of(case: Case, differences: Sequence[Difference] = DIFFERENCES) -> Kind:
    """How this step is compared."""
    return Kind.DIFFERENT if applied(case, differences)[1] else Kind.EXACT


def replay(scenario: Scenario, port: int, differences: Sequence[Difference] = DIFFERENCES) -> Iterator[str]:
    """Send the scenario's requests; one line for each fault."""
    steps = [Case(scenario, index) for index in range(len(scenario.steps))]
    names, begin = Names.draw(scenario.conv), time.time()
    answers = [send(port, case.request, names) for case in steps]
    form = NormalForm(names, begin, time.time())
    for case, answer in zip(steps, answers, strict=True):
        for fault in _faults(case, answer, form, differences):
            yield f"{case.path} {case.route}: {fault}"


def _faults(case: Case, answer: Answer, form: NormalForm, differences: Sequence[Difference]) -> Iterator[str]:
    expected, used = applied(case, differences)
    yield from _compared(expected, answer, form)
    for difference in used:
        without, _ = applied(case, [other for other in used if other is not difference])
        if not any(_compared(without, answer, form)):
            yield f"{difference.number} covers it, but the answer is the same without"


def applied(case: Case, differences: Sequence[Difference] = DIFFERENCES) -> tuple[Expected, list[Difference]]:
    """What should be answered: what was recorded, changed by each difference that covers it; and which ones did."""
    used: list[Difference] = []
    expected = recorded(case)
    for difference in differences:
        if difference.covers(case, expected):
            expected = difference.answer(case, expected)
            used.append(difference)
    return expected, used


def _compared(expected: Expected, answer: Answer, form: NormalForm) -> Iterator[str]:
    content_type = answer.headers.get("content-type", "").partition(";")[0] or None
    if (answer.status, content_type) != (expected.status, expected.content_type):
        yield f"{answer.status} {content_type}, not {expected.status} {expected.content_type}"
    yield from deviations(expected.headers, _looked_at(answer, expected), "headers")
    yield from deviations(expected.body, form.of(answer.raw))


def _looked_at(answer: Answer, expected: Expected) -> dict[str, str]:
    """The expected headers, in that order, and any of CORS that nobody expected."""
    found = {name: answer.headers[name] for name in expected.headers if name in answer.headers}
    return found | {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
