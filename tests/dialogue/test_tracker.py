"""The state of a conversation: as recorded from real Rasa, and the same whichever way it is folded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import (
    ActionReverted,
    Domain,
    SlotSet,
    Tracker,
    TrackerReplaced,
    UserUtteranceReverted,
    applied,
    document,
    dumps,
    encode,
    evolve,
    fold,
    from_wire,
    initial,
    loads,
    needs_history,
    parse_domain,
    until,
)
from tests.dialogue import reference
from tests.dialogue.data import recorded
from tests.dialogue.strategies import events, histories, texts, times, values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dialogue import Event

RECORDED: dict[str, Any] = recorded("tracker_scenarios.json")
DOMAIN = parse_domain([("domain.yml", RECORDED["domain"])])
domains = st.sampled_from([DOMAIN, Domain.empty()])


def of(wire: list[dict[str, Any]]) -> list[Event]:
    """The events of a scenario. Rasa skips an object without a type; a client's would be refused."""
    return [from_wire(item, 1.0) for item in wire if "event" in item]


def shown(listed: Sequence[Event]) -> str:
    return f"[{','.join(map(encode, listed))}]"


def whole(given_events: Sequence[Event], domain: Domain) -> Tracker:
    return fold(initial(domain), given_events, domain, ())


def without_what_rasa_loses(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the name of a cancelled reminder, which Rasa drops and we keep."""
    listed = state["events"] or []
    cancelled = [event.pop("name") for event in listed if event["event"] == "cancel_reminder" and "name" in event]
    assert cancelled in ([], ["r1"])
    return state


class TestRecorded:
    @pytest.mark.parametrize("verbosity", ["NONE", "ALL", "AFTER_RESTART", "APPLIED"])
    @pytest.mark.parametrize("scenario", RECORDED["scenarios"])
    def test_the_state_and_its_key_order_are_as_recorded(self, scenario: str, verbosity: str) -> None:
        case = RECORDED["scenarios"][scenario]
        listed = of(case["events_in"])
        tracker = whole(listed, DOMAIN)
        kept = applied(enumerate(listed), tracker.loop_names)
        lists: dict[str, str | None] = {
            "NONE": None,
            "ALL": shown(listed),
            "AFTER_RESTART": shown(listed[tracker.restart_version :]),
            "APPLIED": shown([listed[index] for index in kept]),
        }
        state = without_what_rasa_loses(loads(document(tracker, "default", lists[verbosity]).encode()))
        assert json.dumps(state) == json.dumps(case["state"][verbosity])


class TestFold:
    @given(histories, domains)
    def test_gives_what_the_plain_reference_gives(self, listed: list[Event], domain: Domain) -> None:
        state = loads(document(whole(listed, domain), "c", None).encode())
        expected = reference.state(listed, domain)
        assert {key: state[key] for key in expected} == loads(dumps(expected).encode())

    @given(histories, domains, st.data())
    def test_goes_on_from_any_tracker_with_the_history_since_its_reset(
        self, listed: list[Event], domain: Domain, data: st.DataObject
    ) -> None:
        cut = data.draw(st.integers(0, len(listed)))
        tracker = whole(listed[:cut], domain)
        snapshot = msgspec.convert(loads(dumps(msgspec.to_builtins(tracker)).encode()), Tracker)
        again = fold(snapshot, listed[cut:], domain, listed[snapshot.reset_version : cut])
        assert again == whole(listed, domain)

    @given(histories, domains)
    def test_event_by_event_gives_the_same(self, listed: list[Event], domain: Domain) -> None:
        tracker = initial(domain)
        for index, event in enumerate(listed):
            if needs_history(event):
                tracker = fold(tracker, [event], domain, listed[tracker.reset_version : index])
            else:
                tracker = evolve(tracker, event, domain)
        assert tracker == whole(listed, domain)

    @given(st.lists(events.filter(lambda event: not needs_history(event)), max_size=8), domains)
    def test_needs_no_history_when_nothing_is_taken_back(self, listed: list[Event], domain: Domain) -> None:
        middle = len(listed) // 2
        tracker = whole(listed[:middle], domain)
        assert fold(tracker, listed[middle:], domain, ()) == whole(listed, domain)

    @given(histories)
    def test_counts_versions_over_generations(self, listed: list[Event]) -> None:
        tracker = whole(listed, DOMAIN)
        marks = [index for index, event in enumerate(listed, 1) if isinstance(event, TrackerReplaced)]
        assert tracker.version == len(listed)
        assert tracker.generation_version == (marks[-1] if marks else 0)
        assert set(tracker.loop_names) == reference.loops(listed)
        assert tracker.max_timestamp == max((event.timestamp for event in reference.generation(listed)), default=None)

    @given(histories)
    def test_remembers_the_versions_of_resets_and_sessions(self, listed: list[Event]) -> None:
        tracker = whole(listed, DOMAIN)
        assert tracker.restart_version == _last(listed, "restart")
        assert tracker.session_started_version == _last(listed, "session_started")
        assert tracker.reset_version == max(_last(listed, "restart", "session_started"), tracker.generation_version)

    @pytest.mark.parametrize("event", [ActionReverted, UserUtteranceReverted])
    def test_one_step_refuses_to_take_back_what_it_cannot_see(self, event: type[Event]) -> None:
        with pytest.raises(ValueError, match="with the history since the last reset"):
            evolve(initial(DOMAIN), event(timestamp=1, metadata={}), DOMAIN)

    def test_a_slot_that_no_domain_knows_is_shown_only_without_a_model(self) -> None:
        event = SlotSet(timestamp=1, metadata={}, name="new", value=1)
        assert "new" not in evolve(initial(DOMAIN), event, DOMAIN).slots
        assert evolve(initial(Domain.empty()), event, Domain.empty()).slots == {
            "session_started_metadata": None,
            "new": 1,
        }


def _last(listed: list[Event], *types: str) -> int:
    """The version of the last event of these types in the last generation, or 0."""
    own = reference.generation(listed)
    before = len(listed) - len(own)
    return max((before + index for index, event in enumerate(own, 1) if event.type in types), default=0)


class TestApplied:
    @given(histories)
    def test_gives_what_the_plain_reference_gives(self, listed: list[Event]) -> None:
        kept = applied(enumerate(listed), reference.loops(listed))
        assert [id(listed[index]) for index in kept] == [id(event) for event in reference.applied(listed)]

    @given(histories)
    def test_needs_only_what_came_after_the_last_reset(self, listed: list[Event]) -> None:
        tracker = whole(listed, DOMAIN)
        numbered = list(enumerate(listed, 1))
        assert applied(numbered, tracker.loop_names) == applied(numbered[tracker.reset_version :], tracker.loop_names)


class TestDocument:
    @given(histories, texts)
    def test_is_ascii_json_of_the_state_with_the_events_as_given(self, listed: list[Event], name: str) -> None:
        tracker = whole(listed, DOMAIN)
        text = document(tracker, name, shown(listed))
        state = loads(text.encode())
        fields = ("slots", "latest_message", "latest_event_time", "followup_action", "active_loop", "latest_action")
        expected = {field: getattr(tracker, field) for field in fields}
        assert dumps({field: state[field] for field in fields}) == dumps(loads(dumps(expected).encode()))
        assert text.isascii()
        assert f'"events":{shown(listed)},' in text
        assert state["sender_id"] == name
        assert state["events"] == loads(shown(listed).encode())

    def test_a_megabyte_of_odd_characters_comes_through(self) -> None:
        odd = "\0\ud800é" * 350_000
        tracker = evolve(initial(DOMAIN), SlotSet(timestamp=1, metadata={}, name="city", value=odd), DOMAIN)
        assert loads(document(tracker, odd, None).encode())["slots"]["city"] == odd


class TestUntil:
    @given(st.lists(events, max_size=8), times)
    def test_stops_at_the_first_event_that_is_later(self, listed: list[Event], time: float) -> None:
        count = until(listed, time)
        assert all(event.timestamp <= time for event in listed[:count])
        assert count == len(listed) or listed[count].timestamp > time


def test_many_events_that_take_back_each_other_are_no_burden() -> None:
    """Each step of the naive way costs the length of the conversation: this list would take hours."""
    run = [from_wire({"event": "active_loop", "name": "f"}, 1.0)]
    run += [from_wire({"event": "slot", "name": "city", "value": 1}, 1.0)] * 30_000
    run += [from_wire({"event": "action", "name": "f"}, 1.0), from_wire({"event": "bot"}, 1.0)] * 30_000
    run += [from_wire({"event": "undo"}, 1.0), from_wire({"event": "action", "name": "f"}, 1.0)] * 30_000
    assert whole(run, DOMAIN).version == len(run)


@given(values)
def test_a_followup_action_is_whatever_the_client_named(value: Any) -> None:
    event = from_wire({"event": "followup", "name": value}, 1.0)
    assert evolve(initial(DOMAIN), event, DOMAIN).followup_action == value


class TestLongLists:
    """What one fold adds to is changed in place; nobody must see it, and long lists are compared another way."""

    @given(listed=histories, domain=domains)
    def test_many_entities_are_compared_as_few_are(self, listed: list[Event], domain: Domain) -> None:
        expected = whole(listed, domain)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dialogue.tracker._FEW", 0)
            assert whole(listed, domain) == expected

    @pytest.mark.parametrize("few", [0, 100])
    def test_equal_entities_are_added_once_whatever_their_numbers_look_like(
        self, monkeypatch: pytest.MonkeyPatch, few: int
    ) -> None:
        monkeypatch.setattr("dialogue.tracker._FEW", few)
        entities = [[1], [1.0], [True], ["1"], {"a": [1], "b": 2}, {"b": 2, "a": [1.0]}, {}, [], [[]], [{}], None]
        added: list[dict[str, Any]] = [
            {"event": "entities", "entities": [{"entity": "e", "value": value}]} for value in entities
        ]
        added.insert(0, {"event": "action", "name": "action_listen"})
        tracker = whole(of(added), Domain.empty())
        shown = [entity["value"] for entity in tracker.latest_message["entities"]]
        assert shown == [[1], ["1"], {"a": [1], "b": 2}, {}, [], [[]], [{}], None]

    def test_a_loop_keeps_the_message_that_began_it(self) -> None:
        entity = [{"entity": "e", "value": number} for number in range(3)]
        posted: list[dict[str, Any]] = [
            {"event": "action", "name": "action_listen"},
            {"event": "entities", "entities": entity[:1]},
            {"event": "active_loop", "name": "book_form"},
            {"event": "entities", "entities": entity[1:2]},
            {"event": "active_loop", "name": "pizza_form"},
            {"event": "entities", "entities": entity[2:]},
        ]
        tracker = whole(of(posted), Domain.empty())
        assert tracker.active_loop["trigger_message"]["entities"] == entity[:2]
        assert tracker.latest_message["entities"] == entity
        assert tracker.loop_names == ("book_form", "pizza_form")

    def test_a_tracker_stays_as_it_is_when_it_is_folded_on(self) -> None:
        first = of([{"event": "action", "name": "action_listen"}, {"event": "slot", "name": "a", "value": 1}])
        more: list[dict[str, Any]] = [
            {"event": "slot", "name": "b", "value": 2},
            {"event": "entities", "entities": [{"entity": "e", "value": 1}]},
        ]
        tracker = whole(first, Domain.empty())
        for _ in range(2):
            assert set(fold(tracker, of(more), Domain.empty(), ()).slots) >= {"a", "b"}
            assert "b" not in tracker.slots
            assert tracker.latest_message["entities"] == []
