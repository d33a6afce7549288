"""What slots hold, and what policies see of their values."""

from __future__ import annotations

from typing import Any

import pytest

from dialogue import Slot

SET = (1.0,)


@pytest.mark.parametrize(
    ("type_", "value", "features"),
    [
        ("text", None, None),
        ("text", "a", SET),
        ("text", "", SET),
        ("text", 0, SET),
        ("bool", None, None),
        ("bool", True, (1.0, 1.0)),
        ("bool", False, (1.0, 0.0)),
        ("bool", 1, (1.0, 1.0)),
        ("bool", 2, (1.0, 0.0)),
        ("bool", "1", (1.0, 1.0)),
        ("bool", "0", (1.0, 0.0)),
        ("bool", " True ", (1.0, 1.0)),
        ("bool", "FALSE", (1.0, 0.0)),
        ("bool", "yes", None),
        ("bool", "1.0", None),
        ("bool", [True], None),
        ("float", None, None),
        ("float", 0, (1.0, 0.0)),
        ("float", 0.25, (1.0, 0.25)),
        ("float", "0.25", (1.0, 0.25)),
        ("float", 7, (1.0, 1.0)),
        ("float", -7, (1.0, 0.0)),
        ("float", "x", None),
        ("float", [1], None),
        ("float", 10**400, None),
        ("list", None, None),
        ("list", [], None),
        ("list", 0, None),
        ("list", ["a"], SET),
        ("list", "a", SET),
        ("any", "a", None),
    ],
)
def test_what_policies_see(type_: str, value: Any, features: tuple[float, ...] | None) -> None:
    assert Slot(type_, influences=type_ != "any").features(value) == features


@pytest.mark.parametrize(
    ("value", "index"),
    [("Low", 0), ("low", 0), (True, 1), ("true", 1), (3, 2), ("3", 2), (3.0, 3), ("none of them", 3)],
)
def test_of_a_category_they_see_which_one_it_is(value: Any, index: int) -> None:
    slot = Slot("categorical", influences=True, values=("LOW", "True", "3"))
    assert slot.features(value) == tuple(float(position == index) for position in range(4))


def test_of_a_category_that_is_not_set_they_see_nothing() -> None:
    assert Slot("categorical", influences=True, values=("none",)).features(None) is None


def test_the_category_of_everything_else_can_be_one_of_the_values() -> None:
    slot = Slot("categorical", influences=True, values=("__other__", "a"))
    assert slot.features("b") == (1.0, 0.0)


def test_a_number_is_seen_between_the_slots_bounds() -> None:
    slot = Slot("float", influences=True, low=-10, high=30)
    assert slot.features(0) == (1.0, 0.25)


def test_a_slot_without_influence_is_not_seen() -> None:
    assert Slot("text").features("a") is None


@pytest.mark.parametrize(
    ("value", "held"), [("a", ["a"]), (5, [5]), (["a"], ["a"]), ([], []), (0, 0), ("", ""), (None, None)]
)
def test_a_list_wraps_what_is_something_and_no_list(value: Any, held: Any) -> None:
    assert Slot("list").holds(value) == held


def test_other_slots_hold_any_value_as_it_is() -> None:
    assert Slot("float").holds("not a number") == "not a number"
