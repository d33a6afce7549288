"""The recordings: what a real Rasa 3.6.21 answered to some 1,600 requests, in scenarios of one conversation each.

`data/transcripts/<group>.jsonl` has one scenario in each line. `server` names the variant of the service that it ran
on, `conv` is the template of the conversation's id. Volatile values of the answers were replaced by placeholders:
see `normal_form`. Where Rasa's answer depends on its tracker store, `body` is from its SQL store and `body_memory` from
its default one.
"""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

if TYPE_CHECKING:
    from collections.abc import Iterable

DATA: Final = Path(__file__).parent / "data"


class Step(Struct, frozen=True, kw_only=True):
    """A request, and what was answered.

    `status` is None where the connection broke. `sha256` stands for a body that was too large to keep: the hash of its
    normal form. `headers` are those that the recorder looked at.
    """

    request: dict[str, Any]
    status: int | None
    content_type: str | None = None
    body: Any = None
    body_memory: Any | UnsetType = UNSET
    status_memory: int | None = None
    sha256: str | None = None
    headers: dict[str, str] = {}


class Scenario(Struct, frozen=True, kw_only=True):
    """Requests that belong together. They are sent in order."""

    name: str
    group: str
    server: str
    conv: str
    steps: list[Step]

    @property
    def path(self) -> str:
        """`group/name`."""
        return f"{self.group}/{self.name}"


class Case(Struct, frozen=True):
    """One step of a scenario."""

    scenario: Scenario
    index: int

    @property
    def path(self) -> str:
        """`group/name/index`."""
        return f"{self.scenario.path}/{self.index}"

    @property
    def step(self) -> Step:
        """What was recorded."""
        return self.scenario.steps[self.index]

    @property
    def request(self) -> dict[str, Any]:
        """The request, as its template."""
        return self.step.request

    @property
    def route(self) -> str:
        """The request's method and path, with templates."""
        return f"{self.request['method']} {self.request['path']}"

    @property
    def is_write(self) -> bool:
        """Whether it appends events or replaces a conversation."""
        return self.route.endswith("/tracker/events") and self.request["method"] in ("POST", "PUT")

    @property
    def posted(self) -> list[dict[str, Any]]:
        """The events in the request; a single one as a list of one."""
        events = self.request["json"] if "json" in self.request else json.loads(self.request["body"])
        return deepcopy(events if isinstance(events, list) else [events])

    @property
    def earlier(self) -> list[Case]:
        """The steps before it."""
        return [Case(self.scenario, index) for index in range(self.index)]


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All recordings, by group and in their order."""
    return tuple(read("transcripts"))


@cache
def cases() -> dict[str, Case]:
    """All recorded steps by their path."""
    return cases_of(scenarios())


def read(folder: str) -> list[Scenario]:
    """The recordings in a folder of the data, by file and in their order."""
    files = sorted((DATA / folder).glob("*.jsonl"))
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    return [msgspec.convert(json.loads(line), Scenario) for line in lines]  # Rasa wrote NaN, which is no JSON


def cases_of(scenarios: Iterable[Scenario]) -> dict[str, Case]:
    """The steps of these recordings by their path."""
    found = [Case(scenario, index) for scenario in scenarios for index in range(len(scenario.steps))]
    return {case.path: case for case in found}
