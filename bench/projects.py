"""Projects of bots, small and large, as their people would write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RULES: Final = 1000
STORIES: Final = 2000
INTENTS: Final = 1200  #: the first ones have a rule each; stories are told in the others
TURNS: Final = 4  #: of each story

GREETER: Final = {
    "domain.yml": 'version: "3.1"\nintents: [greet]\nresponses: {utter_greet: [{text: Hello!}]}\n',
    "data/rules.yml": (
        'version: "3.1"\nrules: [{rule: greet back, steps: [{intent: greet}, {action: utter_greet}]}]\n'
    ),
    "config.yml": "policies: [{name: RulePolicy}]\n",
}
"""The files of a bot with one rule and one response."""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write a project's files, and return its folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def large() -> dict[str, str]:
    """The files of a bot with RULES rules and STORIES stories."""
    return {
        "domain.yml": _domain(),
        "data/rules.yml": 'version: "3.1"\nrules:\n' + "".join(map(_rule, range(RULES))),
        "data/stories.yml": 'version: "3.1"\nstories:\n' + "".join(map(_story, range(STORIES))),
        "config.yml": "policies: [{name: RulePolicy}, {name: MemoizationPolicy, max_history: 5}]\n",
    }


def _domain() -> str:
    intents = "".join(f"- intent_{number}\n" for number in range(INTENTS))
    responses = "".join(f"  utter_{number}: [{{text: Answer {number}}}]\n" for number in range(INTENTS))
    slots = "".join(f"  slot_{number}: {{type: text, mappings: [{{type: custom}}]}}\n" for number in range(20))
    return f'version: "3.1"\nintents:\n{intents}slots:\n{slots}responses:\n{responses}'


def _rule(number: int) -> str:
    return f"- rule: rule {number}\n  steps: [{{intent: intent_{number}}}, {{action: utter_{number}}}]\n"


def told(story: int) -> list[int]:
    """The intents of a story, each of which is answered; no other story begins with the same two."""
    others = INTENTS - RULES
    return [RULES + (story // 10**turn * 7 + turn * 31) % others for turn in range(TURNS)]


def _story(number: int) -> str:
    steps = "".join(f"  - intent: intent_{intent}\n  - action: utter_{intent}\n" for intent in told(number))
    return f"- story: story {number}\n  steps:\n{steps}"
