"""What Rasa 3.6.21 published to RabbitMQ while a scenario ran, step by step.

The recordings keep one list for a scenario: its first 30 messages, and of a large body only how it begins. What comes
from the first step on in which the assistant acts is one part of that list, as long as clients only append.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tests.contract.answers import shows_channel
from tests.contract.expected import recorded
from tests.contract.normal_form import Like
from tests.contract.transcripts import DATA, Case, Scenario, cases

if TYPE_CHECKING:
    from collections.abc import Sequence

Body = dict[str, Any] | Like

_SESSION_START: Final = "action_session_start"
_ACTS: Final = re.compile(r"POST (/conversations/.*/(execute|trigger_intent|messages)|/webhooks/.*/webhook)")

KEPT: Final = 30  #: messages of a scenario that were recorded at most


def shown(events: Sequence[dict[str, Any]]) -> list[Body]:
    """Events of an answer as they are published."""
    return [{"sender_id": "<CONV>"} | event for event in events]


def by_step(scenario: Scenario) -> list[tuple[Case, list[Body]]]:
    """What each step published. From the first one on that acts, all but a prediction's session is of that one."""
    steps, rest = played(scenario), _lists()[scenario.path]
    found: list[tuple[Case, list[Body]]] = []
    for case in steps:
        if acts(case):
            return [*found, *_by_assistant(steps[case.index :], rest)]
        count = _count(case, rest, is_new=not any(bodies for _, bodies in found))
        found.append((case, rest[:count]))
        rest = rest[count:]
    assert not rest or len(steps) < len(scenario.steps), f"{scenario.path}: no step published {rest}"
    return found


def _by_assistant(steps: Sequence[Case], bodies: list[Body]) -> list[tuple[Case, list[Body]]]:
    *_, last = (case for case in steps if acts(case) or case.is_write or is_prediction(case))
    size = len(bodies) - (_last_session(bodies) if is_prediction(last) else 0)
    return [(steps[0], bodies[:size]), *((case, bodies[size:] if case == last else []) for case in steps[1:])]


def _last_session(bodies: Sequence[Body]) -> int:
    """How many messages at the end are a session start, and nothing else."""
    starts = [at for at, body in enumerate(bodies) if isinstance(body, dict) and body.get("name") == _SESSION_START]
    last = bodies[starts[-1] :] if starts else []
    later = {body["event"] for body in last if isinstance(body, dict)}
    return len(last) if later <= {"action", "session_started", "slot"} else 0


def is_cut(scenario: Scenario) -> bool:
    """Whether Rasa may have published more than was recorded."""
    return len(_lists()[scenario.path]) == KEPT


def played(scenario: Scenario) -> list[Case]:
    """The steps that can be compared: all, or those before the assistant acts if what follows does more than append."""
    steps = [Case(scenario, index) for index in range(len(scenario.steps))]
    first = next((case.index for case in steps if acts(case)), None)
    return steps if first is None or all(map(_appends, steps[first:])) else steps[:first]


def acts(case: Case) -> bool:
    """Whether the assistant does something in the step, and writes it."""
    return bool(_ACTS.fullmatch(case.route)) and case.step.status == 200


def _appends(case: Case) -> bool:
    """Whether a step leaves alone what there is, and does in Rasa what it does here: in a conversation of its own."""
    if "/webhooks/" in case.route:
        return isinstance(case.request.get("json"), dict) and case.request["json"].get("sender") == "${conv}"
    return not (_is_put(case) or (case.is_write and case.step.status != 200) or shows_channel(case, recorded(case)))


def replacement(case: Case) -> list[Body]:
    """All events of a PUT as they would be published: from an answer to the same list that shows all of them."""
    return shown(_answers()[json.dumps(case.posted)])


@cache
def _answers() -> dict[str, list[dict[str, Any]]]:
    """The events of each list that was put, where the answer shows them all."""
    puts = [case for case in cases().values() if case.is_write and _is_put(case) and case.step.status == 200]
    answered = [(case.posted, case.step.body["events"] or []) for case in puts]
    return {json.dumps(posted): events for posted, events in answered if len(events) == len(posted)}


def _is_put(case: Case) -> bool:
    return case.route.startswith("PUT ")


def is_prediction(case: Case) -> bool:
    """Whether the step asks what would come next."""
    return case.route.endswith("/predict")


@cache
def _lists() -> dict[str, list[Body]]:
    """The recorded bodies of each scenario, by its path."""
    lines = [json.loads(line) for file in DATA.glob("transcripts/*.jsonl") for line in file.read_bytes().splitlines()]
    return {
        f"{line['group']}/{line['name']}": [_whole(message["body"]) for message in line.get("broker", ())]
        for line in lines
    }


def _whole(body: dict[str, Any]) -> Body:
    if "_truncated" not in body:
        return body
    beginning = body["_truncated"]
    return Like(f"a body that begins {beginning}", lambda found: json.dumps(found).startswith(beginning))


def _count(case: Case, rest: Sequence[Body], *, is_new: bool) -> int:
    """How many of the messages still to come a step published; `is_new` when the conversation had no event yet."""
    if is_prediction(case):
        return _session_start(rest)
    if not case.is_write or case.step.status != 200:
        return 0
    if _is_put(case):
        return len(case.posted) if is_new else _tail(replacement(case), rest)
    posted = case.request["generate"]["n"] if "generate" in case.request else len(case.posted)
    return posted + (_session_start(rest) if is_new else 0)


def _tail(events: Sequence[Body], rest: Sequence[Body]) -> int:
    """How many of a list's last events come next: that is what Rasa publishes of a PUT."""
    lengths = range(len(events), 0, -1)
    return next((length for length in lengths if list(events[-length:]) == list(rest[:length])), 0)


def _session_start(rest: Sequence[Body]) -> int:
    """How many messages come next that a session brings which begins by itself."""
    names = [body.get("name") for body in rest if isinstance(body, dict)]
    return names.index("action_listen") + 1 if names[:1] == [_SESSION_START] else 0
