"""A conversation written as a test story: the YAML that people correct and train from.

A story tells what was said and done in the order of the log, also what was taken back later.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dialogue.applied import Kept
from dialogue.events import ActionExecuted, ActiveLoop, EntitiesAdded, SlotSet, UserFeaturization, UserUttered
from dialogue.json import dumps
from dialogue.sessions import begins_session
from dialogue.tracker import ACTION_LISTEN, ACTION_SESSION_START, until
from dialogue.yaml_text import Literal, block, quick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dialogue.events import Event, Json

_HEAD = 'version: "3.1"\n'
_SILENT_ACTIONS = frozenset({ACTION_LISTEN, ACTION_SESSION_START, "action_unlikely_intent", "..."})


def story(sender_id: str, events: Sequence[Event], *, all_sessions: bool = False, time: float | None = None) -> str:
    """Return the story of these events as YAML text.

    The events make one story, named after the conversation, or with `all_sessions` one for each session, numbered when
    there are several. A session begins with its `action_session_start`. With a `time` each session ends before its
    first event that is later, and those that are empty then are left out.
    """
    sessions = _sessions(events) if all_sessions else [events]
    if time is not None:
        sessions = [session[: until(session, time)] for session in sessions]
    if time is not None or all_sessions:
        sessions = [session for session in sessions if session]
    if not sessions:
        return _HEAD
    stories = (_story(_name(sender_id, number, len(sessions)), part) for number, part in enumerate(sessions, 1))
    return _HEAD + "stories:\n" + "".join(stories)


def _sessions(events: Sequence[Event]) -> list[Sequence[Event]]:
    starts = [index for index, event in enumerate(events) if begins_session(event)]
    return [events[start:end] for start, end in zip([0, *starts], [*starts, len(events)], strict=True)]


def _name(sender_id: str, number: int, count: int) -> str:
    return f"{sender_id}, story {number}" if count > 1 else sender_id


def _story(name: str, events: Sequence[Event]) -> str:
    steps = "".join(_indented(_item(step)) for step in _steps(events))
    return _item({"story": name}) + ("  steps:\n" + steps if steps else "  steps: []\n")


def _item(step: Json) -> str:
    """The YAML of a list with this one item."""
    try:
        return quick(step) or block([step])
    except RecursionError:
        # JSON is YAML: what is too deep for blocks is written in its brackets.
        return f"- {dumps(step)}\n"


def _indented(text: str) -> str:
    return "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))


# --- steps ------------------------------------------------------------------------------------------------------------


def _steps(events: Sequence[Event]) -> Iterator[Json]:
    messages = _messages(events)
    for index, event in enumerate(events):
        step = _step(event, messages.get(index))
        if step:
            yield step


def _step(event: Event, message: _Message | None) -> Json | None:
    if isinstance(event, UserUttered) and message:
        return _user_step(event, message)
    if isinstance(event, ActionExecuted):
        return _action_step(event)
    if isinstance(event, SlotSet):
        return {"slot_was_set": [{event.name: event.value}]}
    if isinstance(event, ActiveLoop):
        return {"active_loop": event.name}
    return None


def _action_step(event: ActionExecuted) -> Json | None:
    if event.name:
        return None if event.name in _SILENT_ACTIONS else {"action": event.name}
    return {"bot": event.action_text} if event.action_text else None


def _user_step(event: UserUttered, message: _Message) -> Json:
    step: Json = {}
    intent = event.parse_data.get("intent") or {}
    if intent.get("name") and not message.counts_by_text:
        step["intent"] = intent.get("full_retrieval_intent_name") or intent["name"]
    if event.text:
        step["user"] = Literal(_annotated(event.text, message.entities))
    return step


# --- what later events say about a user message -----------------------------------------------------------------------


class _Message:
    """What a user message became: its entities, with those added later, and whether its text counts, not its intent."""

    def __init__(self, event: UserUttered) -> None:
        self.entities: list[Json] = list(event.parse_data.get("entities") or [])
        self.counts_by_text = False
        self._known = set(map(dumps, self.entities))

    def add(self, entities: Sequence[Json]) -> None:
        """Add those that are not there yet."""
        for entity in entities:
            text = dumps(entity)
            if text not in self._known:
                self._known.add(text)
                self.entities.append(entity)


def _messages(events: Sequence[Event]) -> dict[int, _Message]:
    """The user messages by their index, each as later events left it."""
    messages = {index: _Message(event) for index, event in enumerate(events) if isinstance(event, UserUttered)}
    loops = {event.name for event in events if isinstance(event, ActiveLoop) and isinstance(event.name, str)}
    kept = Kept(loops)
    for index, event in enumerate(events):
        kept.add(index, event)
        if isinstance(event, EntitiesAdded | UserFeaturization):
            message = _just_heard(events, kept, messages)
            if message:
                _correct(message, event)
    return messages


def _just_heard(events: Sequence[Event], kept: Kept, messages: dict[int, _Message]) -> _Message | None:
    """The latest user message, if the bot has done nothing since it listened."""
    action, user = kept.latest_action(), kept.latest_user()
    if action is None or user is None:
        return None
    last = events[action]
    return messages[user] if isinstance(last, ActionExecuted) and last.name == ACTION_LISTEN else None


def _correct(message: _Message, event: EntitiesAdded | UserFeaturization) -> None:
    if isinstance(event, UserFeaturization):
        message.counts_by_text = bool(event.use_text_for_featurization)
    else:
        message.add(event.entities)


# --- a text with its entities -----------------------------------------------------------------------------------------


def _annotated(text: str, entities: Sequence[Json]) -> str:
    """The text with its entities marked: `[Rome](city)`, or with more to say `[Rome]{"entity": "city", "role": "to"}`.

    A text with a slash in front is an intent in itself and stays as it is.
    """
    if text.startswith("/"):
        return text
    placed = sorted((entity for entity in entities if "start" in entity and "end" in entity), key=_start)
    parts, position = [], 0
    for start, group in groupby(placed, key=_start):
        same = list(group)
        end = same[0]["end"]
        parts += [text[position:start], _annotation(text[start:end], same)]
        position = end
    return "".join(parts) + text[position:]


def _start(entity: Json) -> int:
    start: int = entity["start"]
    return start


def _annotation(text: str, entities: list[Json]) -> str:
    described = [_described(text, entity) for entity in entities]
    if len(described) > 1:
        return f"[{text}][{', '.join(map(json.dumps, described))}]"
    if described[0].keys() == {"entity"}:
        return f"[{text}]({described[0]['entity']})"
    return f"[{text}]{json.dumps(described[0])}"


def _described(text: str, entity: Json) -> dict[str, Any]:
    value = entity.get("value")
    facts = {
        "entity": entity["entity"],
        "role": entity.get("role"),
        "group": entity.get("group"),
        "value": None if value and value == text else value,
    }
    return {key: fact for key, fact in facts.items() if fact is not None}
