"""The recordings of the older protocol: what rasa_core 0.9.8 answered, and how 0.11.12 took a JWT.

A scenario's path begins with the variant of the service, as in `0_9_token/auth/absent`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.contract.transcripts import cases_of, read

if TYPE_CHECKING:
    from tests.contract.transcripts import Case, Scenario


@cache
def older_scenarios() -> tuple[Scenario, ...]:
    """All of them, by variant and in their order."""
    return tuple(map(_named_shortly, read("old")))


@cache
def older_cases() -> dict[str, Case]:
    """All their steps by their path."""
    return cases_of(older_scenarios())


def _named_shortly(scenario: Scenario) -> Scenario:
    variant, group, name = scenario.name.removeprefix("rasa_core_").split("/", 2)
    return replace(scenario, group=f"{variant}/{group}", name=name)
