"""Models that tell themselves apart: each says its own name in every text, and marks its events with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from assistant.archive import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

_DOMAIN: Final = """
version: "3.1"
intents: [ask, wait]
actions: [action_wait]
slots:
  {slot}: {{type: text, influence_conversation: false, mappings: [{{type: custom}}]}}
responses:
  utter_first: [{{text: "first of {name}"}}]
  utter_second: [{{text: "second of {name}"}}]
"""
_RULES: Final = """
version: "3.1"
rules:
- rule: ask
  steps: [{intent: ask}, {action: utter_first}, {action: utter_second}]
- rule: wait
  steps: [{intent: wait}, {action: utter_first}, {action: action_wait}, {action: utter_second}]
"""
_CONFIG: Final = """
assistant_id: {name}
policies: [{{name: RulePolicy}}]
"""


def write_project(folder: Path, name: str, slot: str = "city") -> Path:
    """A bot's project, which says `first of <name>` and `second of <name>` to `/ask`; to `/wait`, an action between."""
    (folder / "data").mkdir(parents=True)
    (folder / "domain.yml").write_text(_DOMAIN.format(name=name, slot=slot))
    (folder / "data" / "rules.yml").write_text(_RULES)
    (folder / "config.yml").write_text(_CONFIG.format(name=name))
    return folder


def write_archive(folder: Path, name: str, slot: str = "city") -> Path:
    """The archive `<name>.tar.gz` of such a bot."""
    archive = folder / f"{name}.tar.gz"
    save_model(load_model(write_project(folder / name, name, slot)).model, archive)
    return archive


def texts_of(name: str) -> list[str]:
    """What the bot says to `/ask` or `/wait`."""
    return [f"first of {name}", f"second of {name}"]
