"""Random JSON, and random events of all types: what hostile clients send, and what a conversation may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dialogue import (
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    AgentUttered,
    BotUttered,
    ConversationPaused,
    ConversationResumed,
    EntitiesAdded,
    Event,
    FollowupAction,
    LoopInterrupted,
    ReminderCancelled,
    ReminderScheduled,
    Restarted,
    SessionStarted,
    SlotSet,
    SlotsReset,
    StoryExported,
    TrackerReplaced,
    UnknownEvent,
    UserFeaturization,
    UserUtteranceReverted,
    dumps,
    from_wire,
    loads,
)


def _as_read(value: Any) -> Any:
    """Two lone surrogates side by side become one character when they are read."""
    return loads(dumps(value).encode())


texts = st.text(st.characters(codec=None) | st.sampled_from('\0\ud800\udfff\x7f\x1f\u2028"\\/é😀'), max_size=8).map(
    _as_read
)
numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e16, 1e-7, 5e-324, 2**63, 2**64, 10**400, 1.7976931348623157e308]),
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
objects = st.dictionaries(texts, values, max_size=3)

LOOPS = ["pizza_form", "book_form"]
names = st.sampled_from(["action_listen", "action_session_start", "utter_greet", *LOOPS])
slot_names = st.sampled_from(["city", "count", "tags", "flag", "nowhere"])
entities = st.lists(
    st.fixed_dictionaries(
        {"entity": texts, "value": values},
        optional={"start": st.integers(-2, 9), "end": st.integers(-2, 9), "role": st.none() | texts},
    ),
    max_size=2,
)
parse_data = st.fixed_dictionaries(
    {},
    optional={
        "intent": st.fixed_dictionaries({}, optional={"name": st.none() | texts, "full_retrieval_intent_name": texts}),
        "entities": entities,
        "text": st.none() | texts,
        "more": values,
    },
)
times = st.floats(min_value=1, max_value=9, allow_nan=False) | st.integers(1, 9)
metadata: st.SearchStrategy[dict[str, Any]] = st.just({}) | objects


def _user(timestamp: float, metadata: Any, text: str | None, parse_data: Any, channel: str | None) -> Event:
    wire = {"event": "user", "timestamp": timestamp, "metadata": metadata, "text": text, "parse_data": parse_data}
    return from_wire({**wire, "input_channel": channel}, 1.0)


def _of(event: type[Event], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.builds(event, timestamp=times, metadata=metadata, **fields)


users = st.builds(_user, times, metadata, st.none() | texts, parse_data, st.none() | texts)
actions = _of(
    ActionExecuted,
    name=st.none() | names,
    action_text=texts,
    policy=st.none() | texts,
    confidence=st.none() | numbers,
    hide_rule_turn=st.booleans(),
)
taking_back = _of(ActionReverted) | _of(UserUtteranceReverted)
resets = _of(Restarted) | _of(SessionStarted)
quiet = st.one_of(
    _of(BotUttered, text=values, data=objects),
    _of(SlotSet, name=slot_names, value=values),
    _of(EntitiesAdded, entities=entities),
    _of(UserFeaturization, use_text_for_featurization=st.sampled_from([None, True, False])),
    _of(ReminderScheduled, intent=values, date_time=st.just("2030-01-01T00:00:00"), entities=values, name=texts),
    _of(ReminderCancelled, name=values, intent=values, entities=values),
    _of(StoryExported, path=values),
    _of(FollowupAction, name=values),
    _of(ActiveLoop, name=st.sampled_from([*LOOPS, None])),
    _of(LoopInterrupted, is_interrupted=values),
    _of(ActionExecutionRejected, name=names, policy=values, confidence=values),
    _of(AgentUttered, text=values, data=values),
    _of(SlotsReset),
    _of(ConversationPaused),
    _of(ConversationResumed),
)
postable = st.one_of(users, actions, quiet, taking_back, resets)
unknown = st.builds(
    lambda timestamp, name, extra: UnknownEvent(
        timestamp=timestamp, metadata={}, type=name, wire={"event": name, "timestamp": timestamp, "extra": extra}
    ),
    times,
    st.sampled_from(["flow_started", "topic", "\0\ud800"]),
    values,
)
ours = _of(TrackerReplaced) | unknown
events = postable | ours

# What makes loops run again, and be taken back: short lists of these are far denser in cases than those of all events.
loop_events = st.one_of(
    users,
    _of(ActionExecuted, name=st.sampled_from([*LOOPS, "action_listen", "utter_greet", None]), action_text=st.just("x")),
    _of(ActiveLoop, name=st.sampled_from([*LOOPS, None])),
    _of(ActionExecutionRejected, name=st.sampled_from(LOOPS)),
    _of(UserFeaturization),
    _of(SlotSet, name=slot_names, value=st.integers(0, 3)),
    taking_back,
)
histories = (
    st.lists(events, max_size=12) | st.lists(loop_events, max_size=25) | st.lists(loop_events | ours, max_size=15)
)
