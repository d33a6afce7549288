"""Which action a name stands for, and so who carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from assistant.action import Action
from assistant.default_actions import DEFAULT_ACTIONS
from assistant.forms import FormRun
from assistant.two_stage import ACTION_TWO_STAGE_FALLBACK, TwoStageFallback
from assistant.utterances import Retrieve, Say, Utter

if TYPE_CHECKING:
    from assistant.outside import Outside
    from assistant.scene import Scene
    from dialogue import Domain, Event

__all__ = ["Action", "UnknownAction", "action_of"]

UTTER: Final = "utter_"


class UnknownAction(Exception):
    """The domain has no action of this name."""

    def __init__(self, name: str, domain: Domain) -> None:
        known = "".join(f"\n\t - {action}" for action in domain.action_names)
        super().__init__(
            f"Cannot access action '{name}', as that name is not a registered action for this domain. "
            f"Available actions are: {known}"
        )


class ServerAction(Struct, frozen=True):
    """An action that is the project's own code, behind the action server."""

    name: str

    async def run(self, scene: Scene, outside: Outside) -> list[Event]:
        """What the server answers."""
        return await outside.call(self.name, scene)


def action_of(name: str, domain: Domain) -> Action:
    """The action of this name, or with this text, as the domain has it carried out.

    A default action, or a form, that also stands under `actions` is left to the action server.

    Raises UnknownAction.
    """
    if name not in domain.known_actions:
        raise UnknownAction(name, domain)
    return _built_in(name, domain) or _uttered(name, domain) or _form(name, domain) or ServerAction(name)


def _built_in(name: str, domain: Domain) -> Action | None:
    if name in domain.actions or name in domain.forms:
        return None
    if name == ACTION_TWO_STAGE_FALLBACK:
        return TwoStageFallback(action_of)
    return DEFAULT_ACTIONS.get(name)


def _uttered(name: str, domain: Domain) -> Action | None:
    if name in domain.texts:
        return Say(name)
    if not name.startswith(UTTER):
        return None
    return Retrieve(name) if _is_retrieval(name, domain) else Utter(name, name)


def _is_retrieval(name: str, domain: Domain) -> bool:
    return name not in domain.responses and any(response.startswith(f"{name}/") for response in domain.responses)


def _form(name: str, domain: Domain) -> Action | None:
    return FormRun(name, action_of) if name in domain.forms and name not in domain.actions else None
