"""A small bot, and the events of conversations with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dialogue import (
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    BotUttered,
    Domain,
    EntitiesAdded,
    Event,
    FollowupAction,
    SessionStarted,
    SlotSet,
    SlotsReset,
    UserFeaturization,
    UserUttered,
    fold,
    initial,
    parse_domain,
)
from dialogue.policies.history import history
from dialogue.policies.prediction import Situation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue.policies.history import History

DOMAIN: Domain = parse_domain(
    [
        (
            "domain.yml",
            """
version: "3.1"
intents: [greet, bye, faq, order, restart]
entities: [city, {size: {roles: [big]}}]
slots:
  size: {type: text, mappings: [{type: from_entity, entity: size}]}
  vip: {type: bool, initial_value: false, mappings: [{type: custom}]}
forms:
  order_form: {required_slots: [size]}
responses:
  utter_greet: [{text: Hello}]
  utter_bye: [{text: Bye}]
  utter_faq: [{text: Because}]
  utter_default: [{text: What}]
""",
        )
    ]
).with_texts(["Good day"])

TIME: dict[str, Any] = {"timestamp": 1.0, "metadata": {}}


def said(intent: str | None, text: str = "x", confidence: float = 1.0, entities: Sequence[str] = ()) -> list[Event]:
    found = [{"entity": name, "value": "v"} for name in entities]
    parse_data = {"text": text, "intent": {"name": intent, "confidence": confidence}, "entities": found}
    return [UserUttered(**TIME, text=text, parse_data=parse_data)]


def by_intent() -> list[Event]:
    return [UserFeaturization(**TIME, use_text_for_featurization=False)]


def by_text() -> list[Event]:
    return [UserFeaturization(**TIME, use_text_for_featurization=True)]


def did(*names: str, hides: bool = False) -> list[Event]:
    return [ActionExecuted(**TIME, name=name, hide_rule_turn=hides) for name in names]


def uttered(text: str) -> list[Event]:
    return [ActionExecuted(**TIME, action_text=text), BotUttered(**TIME, text=text)]


def turn(intent: str, action: str, hides: bool = False) -> list[Event]:
    """A message, the action that it led to, and a listen."""
    return [*said(intent), *by_intent(), *did(action, "action_listen", hides=hides)]


def set_slot(name: str, value: Any) -> list[Event]:
    return [SlotSet(**TIME, name=name, value=value)]


def reset_slots() -> list[Event]:
    return [SlotsReset(**TIME)]


def in_loop(name: Any) -> list[Event]:
    return [ActiveLoop(**TIME, name=name)]


def refused(name: Any) -> list[Event]:
    return [ActionExecutionRejected(**TIME, name=name)]


def followed_by(name: Any) -> list[Event]:
    return [FollowupAction(**TIME, name=name)]


def more_entities(*names: str) -> list[Event]:
    return [EntitiesAdded(**TIME, entities=[{"entity": name, "value": "v"} for name in names])]


def session(*parts: Sequence[Event]) -> list[Event]:
    """A session that begins by listening."""
    start: list[Event] = [*did("action_session_start"), SessionStarted(**TIME), *did("action_listen")]
    return [*start, *(event for part in parts for event in part)]


def situation(*parts: Sequence[Event], domain: Domain = DOMAIN) -> Situation:
    """Where a session leads."""
    events = session(*parts)
    return Situation(fold(initial(domain), events, domain, []), events)


def past(*parts: Sequence[Event], domain: Domain = DOMAIN) -> History:
    return history(situation(*parts, domain=domain), domain)
