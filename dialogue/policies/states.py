"""States: what policies see of a conversation at one moment, and the texts by which they remember it."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOULD_NOT_BE_SET: Final = "should_not_be_set"
"""Stands in a rule's state for a slot that must have no value, and for a loop that must not be active."""

Features = tuple[float, ...] | str
"""What policies see of a slot's value; only in the states of rules it may be SHOULD_NOT_BE_SET."""


class State(Struct, frozen=True, kw_only=True, dict=True):
    """A conversation before an action. What is not there is None or empty.

    Attributes:
        intent: of the latest user message; None also when its text counts instead.
        entities: labels of that message's entities that count for its intent, sorted.
        text: of that message, when it counts instead of intent and entities.
        action: the name of the last action.
        action_text: what the bot said, when the last action has a text instead of a name.
        slots: (name, features) of the slots that have any, sorted by name.
        loop: the active loop.
    """

    intent: str | None = None
    entities: tuple[str, ...] = ()
    text: str | None = None
    action: str | None = None
    action_text: str | None = None
    slots: tuple[tuple[str, Features], ...] = ()
    loop: str | None = None

    @cached_property
    def json(self) -> str:
        """The state as it stands in keys: JSON in ASCII, sorted, with blanks."""
        return json.dumps(state_document(self), sort_keys=True)

    @property
    def starts_conversation(self) -> bool:
        """Whether nothing was done before."""
        return self.action is None and self.action_text is None


def state_document(state: State) -> dict[str, Any]:
    """Return the state as the mapping of mappings that stands in keys; empty parts are left out."""
    user = {"intent": state.intent, "entities": list(state.entities), "text": state.text}
    action = {"action_name": state.action, "action_text": state.action_text}
    slots = {name: value if isinstance(value, str) else list(value) for name, value in state.slots}
    parts = {"user": _there(user), "prev_action": _there(action), "slots": slots, "active_loop": _loop(state.loop)}
    return _there(parts)


def _there(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value not in (None, [], {})}


def _loop(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}


def key(states: Iterable[State]) -> str:
    """Return the text by which a rule is known. Of several rules the one with the longest text is the most specific."""
    return f"[{', '.join(state.json for state in states)}]"


def story_key(states: Iterable[State]) -> str:
    """Return the text by which a piece of a story is remembered."""
    return key(states).replace('"', "")


def parse_key(text: str) -> tuple[State, ...]:
    """Return the states of a text that `key` has made."""
    return tuple(_state(document) for document in json.loads(text))


def is_key(text: str) -> bool:
    """Return whether a text is one that `key` may have made."""
    try:
        states = _KEY.decode(text)
    except msgspec.DecodeError:
        return False
    return bool(states)


def _state(document: dict[str, Any]) -> State:
    user, action = document.get("user", {}), document.get("prev_action", {})
    slots = document.get("slots", {})
    return State(
        intent=user.get("intent"),
        entities=tuple(user.get("entities", ())),
        text=user.get("text"),
        action=action.get("action_name"),
        action_text=action.get("action_text"),
        slots=tuple((name, value if isinstance(value, str) else tuple(value)) for name, value in sorted(slots.items())),
        loop=document.get("active_loop", {}).get("name"),
    )


class _User(TypedDict, total=False):
    intent: str
    entities: tuple[str, ...]
    text: str


class _Action(TypedDict, total=False):
    action_name: str
    action_text: str


class _Loop(TypedDict):
    name: str


class _Document(TypedDict, total=False):
    user: _User
    prev_action: _Action
    slots: dict[str, tuple[float, ...] | str]
    active_loop: _Loop


_KEY: Final = msgspec.json.Decoder(tuple[_Document, ...])
