"""Events and their JSON, as real Rasa reads and writes it, but for the faults that are mended."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import (
    SCHEMA_VERSION,
    ActionExecuted,
    Event,
    InvalidEvent,
    InvalidJson,
    SlotSet,
    TrackerReplaced,
    UnknownEvent,
    UserUttered,
    decode_posted,
    decode_stored,
    dumps,
    encode,
    from_wire,
    loads,
    stamp,
    to_wire,
)
from tests.dialogue.data import recorded
from tests.dialogue.strategies import events, objects, postable, texts, values

NOW = 1700000000.125
RECORDED: dict[str, Any] = recorded("events.json")
MALFORMED: list[dict[str, Any]] = recorded("events_malformed.json")
MENDED = [
    {"event": "user"},
    {"event": "user", "text": "x"},
    {"event": "user", "text": "x", "parse_data": {"intent": {"name": None}}},
]
"""Refused by Rasa, or answered with 500, and accepted here."""

OTHERS = [case for case in MALFORMED if case["input"] not in MENDED]
REFUSED = [case for case in OTHERS if case["schema"] != "ok"]
CRASHED = [case for case in OTHERS if case["schema"] == "ok" and not isinstance(case["parse"], dict)]
ACCEPTED = [case for case in OTHERS if case["schema"] == "ok" and isinstance(case["parse"], dict)]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _case_name(case: dict[str, Any]) -> str:
    return json.dumps(case["input"])[:60]


def posted(value: Any) -> list[Event]:
    return decode_posted(json.dumps(value).encode(), NOW)


def one(value: Any) -> dict[str, Any]:
    (event,) = posted(value)
    return to_wire(event)


def refusal(value: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        posted(value)
    return caught.value


def expected(wire: dict[str, Any]) -> dict[str, Any]:
    return {key: NOW if value == "<now>" else value for key, value in wire.items()}


class TestRecorded:
    @pytest.mark.parametrize("name", RECORDED)
    def test_a_full_event_comes_out_as_it_went_in(self, name: str) -> None:
        wire = RECORDED[name]["as_dict"]
        assert json.dumps(one(wire)) == json.dumps(wire)

    @pytest.mark.parametrize("name", RECORDED)
    def test_a_minimal_event_gets_the_recorded_defaults_and_keys_in_their_order(self, name: str) -> None:
        wire = one(RECORDED[name]["minimal_input"])
        if name == "reminder":
            assert UUID.fullmatch(wire["name"])
            wire["name"] = "<uuid1>"
        assert json.dumps(wire) == json.dumps(expected(RECORDED[name]["minimal_output"]))

    @pytest.mark.parametrize("case", ACCEPTED, ids=_case_name)
    def test_odd_inputs_that_rasa_takes_give_what_was_recorded(self, case: dict[str, Any]) -> None:
        wire = to_wire(from_wire(case["input"], NOW))
        if wire["event"] == "reminder":
            wire["name"] = case["parse"]["name"]
        assert wire == expected(case["parse"])

    @pytest.mark.parametrize("case", REFUSED, ids=_case_name)
    def test_what_the_schema_refuses_is_refused_in_its_words(self, case: dict[str, Any]) -> None:
        with pytest.raises(InvalidEvent) as caught:
            from_wire(case["input"], NOW)
        assert caught.value.message.startswith(case["schema"].removeprefix("REJECT: "))

    @pytest.mark.parametrize("case", CRASHED, ids=_case_name)
    def test_what_makes_rasa_answer_500_is_refused(self, case: dict[str, Any]) -> None:
        with pytest.raises(InvalidEvent):
            from_wire(case["input"], NOW)

    @pytest.mark.parametrize("wire", MENDED, ids=json.dumps)
    def test_messages_without_parse_data_or_with_an_unnamed_intent_are_accepted(self, wire: dict[str, Any]) -> None:
        assert one(wire)["parse_data"]["intent"] == wire.get("parse_data", {}).get("intent", {})


class TestPosted:
    def test_a_list_gives_its_events_in_order(self) -> None:
        assert [event.type for event in posted([{"event": "pause"}, {"event": "resume"}])] == ["pause", "resume"]

    def test_an_empty_list_gives_no_events(self) -> None:
        assert posted([]) == []

    @pytest.mark.parametrize("timestamp", [5, 5.5, -3, 10**30, 1700000000.1234567])
    def test_a_timestamp_is_kept_as_it_was_given(self, timestamp: float) -> None:
        wire = one({"event": "pause", "timestamp": timestamp})
        assert repr(wire["timestamp"]) == repr(timestamp)

    @pytest.mark.parametrize("timestamp", [None, 0, 0.0, -0.0])
    def test_no_timestamp_null_and_zero_mean_now(self, timestamp: float | None) -> None:
        assert one({"event": "pause", "timestamp": timestamp})["timestamp"] == NOW

    def test_a_timestamp_beyond_all_floats_is_refused(self) -> None:
        assert refusal([{"event": "pause", "timestamp": 10**400}]).path == [0, "timestamp"]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
    def test_numbers_that_are_not_json_are_refused(self, number: str) -> None:
        with pytest.raises(InvalidJson):
            decode_posted(f'{{"event":"slot","name":"a","value":{number}}}'.encode(), NOW)

    def test_of_two_equal_keys_the_last_counts(self) -> None:
        body = b'{"event":"pause","name":5,"event":"slot","name":"city","value":1,"value":2}'
        assert to_wire(decode_posted(body, NOW)[0])["value"] == 2

    def test_keys_that_no_event_has_are_dropped(self) -> None:
        assert one({"event": "pause", "more": 1, "\ud800": [2]}) == {"event": "pause", "timestamp": NOW}

    def test_keys_with_lone_surrogates_deep_in_parse_data_are_kept(self) -> None:
        parse_data = {
            "\ud800": 1,
            "intent": {"name": "a", "\ud801": 2},
            "entities": [{"entity": "e", "value": 1, "\ud802": 3}],
        }
        assert one({"event": "user", "parse_data": parse_data})["parse_data"].items() >= parse_data.items()

    def test_deep_parse_data_with_a_lone_surrogate_is_no_trouble(self) -> None:
        deep: Any = 1
        for _ in range(490):
            deep = {"a": deep}
        assert one({"event": "user", "parse_data": {"\ud800": deep}})["parse_data"]["\ud800"] == deep

    def test_the_legacy_form_events_become_loop_events(self) -> None:
        assert one({"event": "form", "name": "f"})["event"] == "active_loop"
        assert one({"event": "form_validation", "validate": False})["is_interrupted"] is True

    def test_cancelled_reminders_and_exports_keep_what_was_given(self) -> None:
        cancel = {"event": "cancel_reminder", "timestamp": 1, "name": "r", "intent": "i", "entities": [1]}
        assert one(cancel) == cancel
        assert one({"event": "export", "timestamp": 1, "path": "/etc/x"})["path"] == "/etc/x"

    def test_parse_data_is_completed_and_keeps_what_else_it_holds(self) -> None:
        wire = one(
            {"event": "user", "text": "a", "message_id": "m", "metadata": {"k": 1}, "parse_data": {"tokens": [1]}}
        )
        assert wire["parse_data"] == {
            "intent": {},
            "entities": [],
            "text": "a",
            "message_id": "m",
            "metadata": {"k": 1},
            "tokens": [1],
        }

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("2030-01-01", "2030-01-01T00:00:00"),
            ("Jan 2 2030 3:04pm +02:00", "2030-01-02T15:04:00+02:00"),
            ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05+00:00"),
            ("2030-01-02 10:00 XYZ", "2030-01-02T10:00:00"),
        ],
    )
    def test_a_reminders_date_is_kept_in_iso_form(self, given: str, kept: str) -> None:
        assert one({"event": "reminder", "date_time": given})["date_time"] == kept

    @pytest.mark.parametrize("given", [None, 5, "", "garbage", "1 " * 100_000, "2030-01-01 00:00 +99:99", "9" * 50])
    def test_a_reminder_without_a_date_is_refused(self, given: Any) -> None:
        assert refusal({"event": "reminder", "date_time": given}).path == ["date_time"]

    def test_an_action_needs_a_name_or_a_text(self) -> None:
        assert "both are missing" in refusal({"event": "action", "name": None}).message

    @pytest.mark.parametrize(
        "name",
        ["topic", "event", "warning_predicted", "wrong_action", "wrong_utterance", "tracker_replaced", "Slot", ""],
    )
    def test_other_types_are_refused(self, name: str) -> None:
        assert "is not valid under any of the given schemas" in refusal({"event": name, "name": "x"}).message


class TestRefusal:
    @pytest.mark.parametrize(
        ("value", "path", "message"),
        [
            (None, [], "None is not of type 'object'"),
            ([[]], [0], "[] is not of type 'object'"),
            ([{"event": "pause"}, {}], [1], "'event' is a required property"),
            ([{"event": "pause", "metadata": 1}], [0, "metadata"], "1 is not of type 'object', 'null'"),
            (
                {"event": "user", "parse_data": {"intent_ranking": [{"name": "a"}, {"confidence": True}]}},
                ["parse_data", "intent_ranking", 1, "confidence"],
                "True is not of type 'number'",
            ),
            (
                {"event": "entities", "entities": [{"value": 1}]},
                ["entities", 0],
                "'entity' is a required property",
            ),
        ],
    )
    def test_says_what_is_wrong_and_where(self, value: Any, path: list[str | int], message: str) -> None:
        fault = refusal(value)
        assert (fault.path, fault.message) == (path, message)

    @given(values | st.lists(objects), st.sampled_from(["action", "slot", "entities", "reminder", "x"]))
    def test_is_one_short_line_whatever_came(self, value: Any, name: str) -> None:
        item = {"event": name, "name": [value], "timestamp": value, "entities": value, "date_time": value}
        message = refusal(item).message
        assert len(message) < 1000
        assert "\n" not in message

    def test_does_not_repeat_a_megabyte(self) -> None:
        assert len(refusal(["x" * 10**6]).message) < 1000


class TestEncoding:
    @given(events)
    def test_a_stored_event_is_read_back_as_it_was(self, event: Event) -> None:
        text = encode(event)
        read = decode_stored(event.type, SCHEMA_VERSION, text)
        assert encode(read) == text
        assert repr(read) == repr(event)

    @given(postable)
    def test_what_is_shown_can_be_posted_again_unchanged(self, event: Event) -> None:
        text = encode(event)
        (again,) = decode_posted(text.encode(), NOW)
        assert encode(again) == text or encode(from_wire(loads(text.encode()), NOW)) == text

    @given(postable)
    def test_both_ways_to_read_a_body_agree(self, event: Event) -> None:
        """The fast one, and the standard library's, which a lone surrogate under a key that is dropped calls for."""
        wire = loads(encode(event).encode())
        slow = dumps({**wire, "dropped": "\ud800"}).encode()
        assert repr(decode_posted(slow, NOW)) == repr(decode_posted(dumps(wire).encode(), NOW))

    @given(events)
    def test_the_text_is_ascii_and_the_wire_in_canonical_form(self, event: Event) -> None:
        assert encode(event) == dumps(to_wire(event))
        assert encode(event).isascii()

    def test_a_megabyte_of_odd_characters_comes_through(self) -> None:
        event = SlotSet(timestamp=1, metadata={}, name="city", value="\0\ud800é" * 350_000)
        assert decode_stored("slot", SCHEMA_VERSION, encode(event)) == event

    def test_an_unknown_type_is_kept_as_it_is(self) -> None:
        body = '{"event":"flow_started","flow_id":"f","timestamp":1.5}'
        event = decode_stored("flow_started", SCHEMA_VERSION, body)
        assert isinstance(event, UnknownEvent)
        assert (event.type, event.timestamp, encode(event)) == ("flow_started", 1.5, body)

    def test_the_mark_of_a_replaced_conversation_is_read(self) -> None:
        event = TrackerReplaced(timestamp=1.5, metadata={"a": 1})
        assert decode_stored("tracker_replaced", SCHEMA_VERSION, encode(event)) == event

    def test_a_body_of_a_later_version_is_refused(self) -> None:
        with pytest.raises(InvalidEvent, match="schema version 2 of a 'slot' event; known here: 1"):
            decode_stored("slot", SCHEMA_VERSION + 1, "{}")

    def test_a_body_that_does_not_fit_its_type_is_refused(self) -> None:
        with pytest.raises(InvalidEvent, match="'name' is a required property"):
            decode_stored("slot", SCHEMA_VERSION, '{"event":"slot"}')


MARKS = {"model_id": "m", "assistant_id": "a"}


class TestStamp:
    def test_adds_marks_that_are_not_there(self) -> None:
        event = SlotSet(timestamp=1, metadata={"model_id": "old"}, name="a", value=1)
        assert stamp(event, MARKS).metadata == {"model_id": "old", "assistant_id": "a"}

    def test_leaves_an_event_that_has_them_all(self) -> None:
        event = ActionExecuted(timestamp=1, metadata=dict(MARKS), name="a")
        assert stamp(event, MARKS) is event

    def test_leaves_parse_data_as_it_came(self) -> None:
        (event,) = posted({"event": "user", "text": "x", "metadata": {"k": 1}})
        stamped = stamp(event, MARKS)
        assert isinstance(stamped, UserUttered)
        assert stamped.parse_data["metadata"] == {"k": 1}
        assert stamped.metadata == {"k": 1, **MARKS}

    @given(texts)
    def test_leaves_unknown_events_verbatim(self, text: str) -> None:
        event = UnknownEvent(timestamp=1, metadata={}, type="t", wire={"event": "t", "x": text})
        assert stamp(event, MARKS) is event
