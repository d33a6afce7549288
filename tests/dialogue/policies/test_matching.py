"""Which keys fit a conversation, and which of them is the most specific."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.policies.matching import KeyIndex, fits
from dialogue.policies.states import SHOULD_NOT_BE_SET, State, key, parse_key, story_key

LISTEN = "action_listen"
START = State()
HEARD = State(action=LISTEN, intent="a", entities=("city",), slots=(("vip", (1.0, 1.0)),), loop="f")


def test_keys_are_sorted_json_in_ascii() -> None:
    text = '[{}, {"prev_action": {"action_name": "n\\u00e4"}, "slots": {"s": [1.0]}, "user": {"intent": "a"}}]'
    states = (START, State(action="nä", intent="a", slots=(("s", (1.0,)),)))
    assert key(states) == text
    assert parse_key(text) == states
    assert story_key(states) == text.replace('"', "")


class TestOneState:
    @pytest.mark.parametrize(
        "wanted",
        [
            State(action=LISTEN),
            State(action=LISTEN, intent="a"),
            State(action=LISTEN, intent="a", entities=("city",)),
            State(action=LISTEN, slots=(("vip", (1.0, 1.0)),), loop="f"),
            State(action=LISTEN, slots=(("other", SHOULD_NOT_BE_SET),)),
        ],
    )
    def test_what_a_key_says_is_so_and_the_rest_is_open(self, wanted: State) -> None:
        assert fits([wanted], [HEARD])

    @pytest.mark.parametrize(
        "wanted",
        [
            START,
            State(action="utter_a"),
            State(action_text=LISTEN),
            State(action=LISTEN, intent="b"),
            State(action=LISTEN, text="a"),
            State(action=LISTEN, entities=("city", "city#from")),
            State(action=LISTEN, slots=(("vip", (1.0, 0.0)),)),
            State(action=LISTEN, slots=(("vip", SHOULD_NOT_BE_SET),)),
            State(action=LISTEN, loop="g"),
            State(action=LISTEN, loop=SHOULD_NOT_BE_SET),
        ],
    )
    def test_what_a_key_says_is_not_so(self, wanted: State) -> None:
        assert not fits([wanted], [HEARD])

    def test_the_start_of_a_conversation_is_like_any_other(self) -> None:
        assert fits([State(slots=(("vip", (1.0, 1.0)),))], [State(slots=(("level", (1.0,)),))])
        assert not fits([State(action=LISTEN)], [START])

    def test_a_demand_that_nothing_is_set_fits_itself(self) -> None:
        wanted = State(action=LISTEN, slots=(("vip", SHOULD_NOT_BE_SET),), loop=SHOULD_NOT_BE_SET)
        assert fits([wanted], [wanted])


class TestSeveralStates:
    def test_a_key_fits_the_end_of_a_conversation(self) -> None:
        assert fits([State(action=LISTEN)], [START, State(action="utter_a"), HEARD])
        assert not fits([State(action="utter_b"), State(action=LISTEN)], [START, State(action="utter_a"), HEARD])

    def test_a_key_is_no_longer_than_the_conversation(self) -> None:
        assert not fits([State(action="utter_a"), State(action=LISTEN)], [HEARD])

    def test_a_key_of_the_start_fits_only_there(self) -> None:
        wanted = [START, State(action=LISTEN)]
        assert fits(wanted, [START, HEARD])
        assert not fits(wanted, [START, State(action=LISTEN), HEARD])


class TestIndex:
    def test_the_longest_text_is_the_best(self) -> None:
        loose, exact = key([State(action=LISTEN, intent="a")]), key([HEARD])
        index = KeyIndex({loose: "utter_loose", exact: "utter_exact", key([State(action="utter_a")]): "utter_other"})
        assert index.best([HEARD]) == (exact, "utter_exact")
        assert index.all([HEARD]) == [(exact, "utter_exact"), (loose, "utter_loose")]

    def test_of_equally_long_ones_the_first_is(self) -> None:
        first, second = (key([State(action=LISTEN, slots=((name, SHOULD_NOT_BE_SET),))]) for name in ("y", "x"))
        index = KeyIndex({first: "utter_first", second: "utter_second"})
        assert index.best([HEARD]) == (first, "utter_first")

    def test_nothing_fits(self) -> None:
        index = KeyIndex({key([START]): "utter_a"})
        assert index.best([HEARD]) is None
        assert index.all([]) == []


_SLOTS = st.dictionaries(st.sampled_from("xy"), st.sampled_from([(1.0,), (1.0, 0.0), SHOULD_NOT_BE_SET]))
_STATES = st.builds(
    State,
    action=st.sampled_from([None, LISTEN, "utter_a"]),
    intent=st.sampled_from([None, "a", "b"]),
    text=st.sampled_from([None, "t"]),
    entities=st.sampled_from([(), ("city",)]),
    slots=_SLOTS.map(lambda slots: tuple(sorted(slots.items()))),
    loop=st.sampled_from([None, "f", SHOULD_NOT_BE_SET]),
)


@given(st.lists(st.lists(_STATES, min_size=1, max_size=3), max_size=6), st.lists(_STATES, min_size=1, max_size=3))
def test_the_index_finds_all_that_fit(keys: list[list[State]], states: list[State]) -> None:
    table = {key(wanted): str(number) for number, wanted in enumerate(keys)}
    found = KeyIndex(table).all(states)
    assert dict(found) == {text: value for text, value in table.items() if fits(parse_key(text), states)}
    assert [len(text) for text, _ in found] == sorted((len(text) for text, _ in found), reverse=True)
    assert KeyIndex(table).best(states) == (found[0] if found else None)
