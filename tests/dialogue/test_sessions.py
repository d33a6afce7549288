"""Where sessions begin."""

from __future__ import annotations

from dialogue import encode, from_wire, session_start, starts_session

ACTION = from_wire({"event": "action", "name": "action_session_start"}, 1.0)
STARTED = from_wire({"event": "session_started"}, 1.0)
PAUSE = from_wire({"event": "pause"}, 1.0)


def test_a_session_starts_with_the_three_events_that_rasa_writes() -> None:
    assert [encode(event) for event in session_start(5.5, {"model_id": "m"})] == [
        '{"event":"action","timestamp":5.5,"metadata":{"model_id":"m"},"name":"action_session_start","policy":null,'
        '"confidence":1.0,"action_text":null,"hide_rule_turn":false}',
        '{"event":"session_started","timestamp":5.5,"metadata":{"model_id":"m"}}',
        '{"event":"action","timestamp":5.5,"metadata":{"model_id":"m"},"name":"action_listen","policy":null,'
        '"confidence":null,"action_text":null,"hide_rule_turn":false}',
    ]


def test_only_the_action_followed_by_its_event_starts_a_session() -> None:
    assert starts_session([ACTION, STARTED, PAUSE])
    assert not any(map(starts_session, [[], [ACTION], [STARTED], [STARTED, ACTION], [ACTION, PAUSE, STARTED]]))
