"""A conversation's history as policies see it: the states before each of its actions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from dialogue.applied import applied
from dialogue.domain import Domain
from dialogue.events import (
    ActionExecuted,
    ActiveLoop,
    EntitiesAdded,
    Event,
    FollowupAction,
    SlotSet,
    SlotsReset,
    UserFeaturization,
    UserUttered,
)
from dialogue.policies.states import Features, State
from dialogue.tracker import ACTION_LISTEN, Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dialogue.policies.prediction import Situation


SlotFeatures = tuple[tuple[str, Features], ...]


class Moment(NamedTuple):
    """A conversation just before an action; the last one of a history is now. Moments count from 0.

    A message counts in the state by its intent, if it has one. Parts of the state are as old as the first moment that
    has them as they are.
    """

    number: int
    state: State
    hides: bool  #: whether stories do not see the action that follows
    is_led: bool  #: whether that action was given, not predicted
    message_since: int
    loop_since: int
    slots_since: dict[str, int]  #: of the slots that were set since the session began or since they were all reset


class History(Struct, frozen=True, dict=True):
    """A conversation at one moment, with the events of its session that count."""

    domain: Domain
    tracker: Tracker
    events: tuple[Event, ...]
    counts_at_once: bool = False  #: as in the situation

    @cached_property
    def moments(self) -> list[Moment]:
        """Before each action of the session, and now."""
        return moments(self.events, self.domain)

    @cached_property
    def initial_slots(self) -> SlotFeatures:
        """What policies see of the slots when nothing was set."""
        return initial_features(self.domain)

    @cached_property
    def states(self) -> list[State]:
        """Before each action of the session, and now; the latest message counts by its intent."""
        return by_intent([moment.state for moment in self.moments])

    @cached_property
    def text_states(self) -> list[State]:
        """The same states, but a message that was not answered yet counts by its text."""
        text = next((event.text for event in reversed(self.events) if isinstance(event, UserUttered)), None)
        return [*self.states[:-1], replace(self.states[-1], intent=None, entities=(), text=text or None)]

    @cached_property
    def _known(self) -> dict[State, State]:
        return {}

    def shared(self, state: State) -> State:
        """The first state equal to this one that was asked for: so its text is made only once."""
        return self._known.setdefault(state, state)

    @property
    def latest_action(self) -> str | None:
        """The name of the latest action, or the text that it said."""
        action = self.tracker.latest_action
        name: str | None = action.get("action_name") or action.get("action_text")
        return name

    @property
    def listened(self) -> bool:
        """Whether the bot has done nothing since it listened."""
        return self.latest_action == ACTION_LISTEN

    @property
    def is_unanswered(self) -> bool:
        """Whether the bot has done nothing since the latest message, though it may not have listened before that."""
        acted = (event for event in reversed(self.events) if isinstance(event, ActionExecuted | UserUttered))
        return self.listened or isinstance(next(acted, None), UserUttered)

    @property
    def intent(self) -> str | None:
        """The latest message's."""
        name: str | None = self._intent.get("name")
        return name

    @property
    def nlu_confidence(self) -> float:
        """Of the latest message's intent; 1.0 when nothing is known of it."""
        confidence = self._intent.get("confidence")
        return 1.0 if confidence is None else float(confidence)

    @property
    def _intent(self) -> dict[str, Any]:
        return self.tracker.latest_message.get("intent") or {}

    @property
    def loop(self) -> str | None:
        """The active loop, if the bot knows it: it may be of a model before this one."""
        name = self.tracker.active_loop.get("name")
        if not isinstance(name, str):
            return None
        return name if name in self.domain.forms or name in self.domain.known_actions else None


def history(situation: Situation, domain: Domain) -> History:
    """Return the history that has led to a situation."""
    tracker = situation.tracker
    before = tracker.version - len(situation.events)
    events = situation.events[max(0, tracker.reset_version - before) :]
    kept = applied(enumerate(events), tracker.loop_names)
    return History(domain, tracker, tuple(events[index] for index in kept), situation.counts_at_once)


def by_intent(states: list[State]) -> list[State]:
    """Return the states without the text of a message that nothing has answered."""
    last = states[-1]
    if last.action != ACTION_LISTEN or last.text is None:
        return states
    return [*states[:-1], replace(last, text=None)]


def moments(events: Iterable[Event], domain: Domain) -> list[Moment]:
    """Return the moments before each action among these events, and the one after all, in a conversation of its own."""
    present = _Present(domain)
    result = []
    for event in events:
        if isinstance(event, ActionExecuted):
            result.append(present.moment(event.hide_rule_turn))
        effect = _EFFECTS.get(type(event))
        if effect:
            effect(present, event)
    return [*result, present.moment(hides=False)]


def initial_features(domain: Domain) -> SlotFeatures:
    """Return what policies see of the slots when nothing was set."""
    return _Slots(domain).features()


class _Message(NamedTuple):
    """What states have of the latest message."""

    intent: str | None = None
    entities: tuple[str, ...] = ()
    text: str | None = None


class _Slots:
    """What policies see of the slots, from their initial values on."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._features: dict[str, Features] = {**domain.initial_features}
        self._sorted: SlotFeatures | None = None
        self.since: dict[str, int] = {}

    def set(self, name: str, value: Any, number: int) -> None:
        if self._see(name, value):
            self.since = {**self.since, name: number}  # moments have the one before

    def features(self) -> SlotFeatures:
        """Of the slots that have any, sorted by name; the same value as long as nothing changes."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._features.items()))
        return self._sorted

    def _see(self, name: str, value: Any) -> bool:
        slot = self._domain.slots.get(name)
        if slot is None or not slot.influences:
            return False
        self._sorted = None
        features = slot.features(slot.holds(value))
        if features is None:
            self._features.pop(name, None)
        else:
            self._features[name] = features
        return True


class _Present:
    """A conversation while its events are told again."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._number = 0
        self._action: str | None = None
        self._action_text: str | None = None
        self._is_led = True
        self._loop: str | None = None
        self._loop_since = 0
        self._message = _Message()
        self._message_since = 0
        self._utterance: UserUttered | None = None
        self._by_text: Any = None
        """Whether the message counts by its text; while that is open (None), it does if it has no intent."""
        self._entities: list[dict[str, Any]] = []
        self._slots = _Slots(domain)

    def moment(self, hides: bool) -> Moment:
        state = State(
            intent=self._message.intent,
            entities=self._message.entities,
            text=self._message.text,
            action=self._action,
            action_text=self._action_text,
            slots=self._slots.features(),
            loop=self._loop,
        )
        ages = self._message_since, self._loop_since, self._slots.since
        return Moment(self._number, state, hides, self._is_led, *ages)

    def on_action(self, event: ActionExecuted) -> None:
        self._number += 1
        self._action = event.name or None
        self._action_text = None if event.name else event.action_text
        self._is_led = False

    def on_user(self, event: UserUttered) -> None:
        self._utterance = event
        self._entities = event.parse_data.get("entities") or []
        self._is_led = False
        self._by_text = None
        self._message_since = self._number
        self._see_message()

    def on_entities(self, event: EntitiesAdded) -> None:
        if self._action == ACTION_LISTEN:
            self._entities = [*self._entities, *event.entities]
            self._see_message()

    def on_featurization(self, event: UserFeaturization) -> None:
        if self._action == ACTION_LISTEN:
            self._by_text = event.use_text_for_featurization
            self._see_message()

    def _see_message(self) -> None:
        if self._utterance is None:
            return
        text = self._utterance.text or None
        if self._by_text:
            self._message = _Message(text=text)
        else:
            intent = (self._utterance.parse_data.get("intent") or {}).get("name") or None
            entities = _labels(self._entities, intent, self._domain) if self._entities else ()
            self._message = _Message(intent, entities, text if intent is None and self._by_text is None else None)

    def on_slot(self, event: SlotSet) -> None:
        self._slots.set(event.name, event.value, self._number)

    def on_slots_reset(self, event: SlotsReset) -> None:
        self._slots = _Slots(self._domain)

    def on_loop(self, event: ActiveLoop) -> None:
        self._loop = event.name if isinstance(event.name, str) else None
        self._loop_since = self._number

    def on_followup(self, event: FollowupAction) -> None:
        self._is_led = bool(event.name)


_EFFECTS: Final[dict[type[Event], Callable[[_Present, Any], None]]] = {
    ActionExecuted: _Present.on_action,
    UserUttered: _Present.on_user,
    EntitiesAdded: _Present.on_entities,
    UserFeaturization: _Present.on_featurization,
    SlotSet: _Present.on_slot,
    SlotsReset: _Present.on_slots_reset,
    ActiveLoop: _Present.on_loop,
    FollowupAction: _Present.on_followup,
}


def _labels(entities: Sequence[dict[str, Any]], intent: str | None, domain: Domain) -> tuple[str, ...]:
    """The labels of a message's entities that count for its intent, sorted."""
    names = {entity["entity"] for entity in entities}
    roles = {f"{entity['entity']}#{entity[part]}" for entity in entities for part in _PARTS if entity.get(part)}
    return tuple(sorted((names | roles) & domain.used_entities(intent)))


_PARTS: Final = ("role", "group")
