"""The courses that stories and rules stand for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import ActionExecuted, ActiveLoop, SlotSet, UserUttered
from dialogue.training import expansion
from dialogue.training.expansion import expand
from dialogue.training.files import InvalidTraining
from dialogue.training.stories import ActionStep, CheckpointStep, OrStep, Place, Story, UserStep
from tests.dialogue.training.bots import courses, domain, stories

if TYPE_CHECKING:
    from dialogue.training.expansion import Beat, Course
    from dialogue.training.stories import Step

L = "action_listen"


def told(course: Course) -> list[Any]:
    """What happens, shortly: names of actions, intents with a slash, slots as pairs, loops in brackets."""
    return [_short(beat) for beat in course.beats]


def _short(beat: Beat) -> Any:
    event = beat.event
    if isinstance(event, ActionExecuted):
        return event.name or event.action_text
    if isinstance(event, UserUttered):
        return f"/{event.parse_data['intent']['name'] or event.text}"
    if isinstance(event, SlotSet):
        return event.name, event.value
    assert isinstance(event, ActiveLoop)
    return [event.name]


def only(text: str) -> list[Any]:
    (course,) = courses(text)
    return told(course)


def one(*steps: str) -> str:
    return "stories:\n- story: s\n  steps: [" + ", ".join(steps) + "]\n"


def rule(*steps: str, more: str = "") -> str:
    return f"rules:\n- rule: r\n  {more}\n  steps: [{', '.join(steps)}]\n"


class TestOneStory:
    def test_the_bot_listens_before_messages_and_at_the_end(self) -> None:
        assert only(one("{intent: a}", "{action: utter_a}", "{bot: Hello}")) == [L, "/a", "utter_a", "Hello", L]

    def test_it_listens_once_where_the_story_says_so_too(self) -> None:
        assert only(one("{intent: a}", f"{{action: {L}}}", "{user: so}", f"{{action: {L}}}")) == [L, "/a", L, "/so", L]

    def test_entities_set_their_slots_in_the_order_of_the_domain(self) -> None:
        entities = "[{place: Rome, role: to}, {place: Oslo, role: to}, {city: x}, {city: y}, {place: z}]"
        assert only(one(f"{{intent: a, entities: {entities}}}")) == [
            L,
            "/a",
            ("city", "y"),
            ("towns", ["Rome", "Oslo"]),
            L,
        ]

    def test_a_slot_that_is_only_named_has_some_value(self) -> None:
        steps = only(one("{slot_was_set: [city, towns, vip]}"))
        assert steps == [("city", "filled"), ("towns", ["filled"]), ("vip", None), L]

    def test_an_action_that_begins_it_is_given(self) -> None:
        (course,) = courses(one("{action: utter_a}", "{action: utter_b}", "{intent: a}", "{action: utter_c}"))
        assert [_short(beat) for beat in course.beats if beat.is_given] == ["utter_a"]

    def test_an_action_after_a_message_is_not(self) -> None:
        (course,) = courses(one("{intent: a}", "{action: utter_a}"))
        assert not any(beat.is_given for beat in course.beats)


class TestRules:
    def test_anything_may_come_before_a_rule(self) -> None:
        assert only(rule("{intent: a}", "{action: utter_a}")) == ["...", L, "/a", "utter_a", L]

    def test_its_condition_comes_first_and_null_is_a_demand(self) -> None:
        more = "condition: [{active_loop: null}, {slot_was_set: [vip: null, city: x]}]"
        nothing = "should_not_be_set"
        assert only(rule("{action: utter_a}", more=more)) == [
            [nothing],
            ("vip", nothing),
            ("city", "x"),
            "...",
            "utter_a",
            L,
        ]

    def test_at_the_conversations_start_nothing_comes_before(self) -> None:
        assert only(rule("{intent: a}", "{action: utter_a}", more="conversation_start: true")) == [
            L,
            "/a",
            "utter_a",
            L,
        ]

    def test_without_waiting_anything_may_come_after(self) -> None:
        (course,) = courses(rule("{intent: a}", "{action: utter_a}", more="wait_for_user_input: false"))
        assert told(course) == ["...", L, "/a", "utter_a", "...", L]
        assert [beat.is_given for beat in course.beats].count(True) == 1


class TestOrs:
    def test_each_choice_makes_a_course(self) -> None:
        made = courses(
            one("{or: [{intent: a}, {intent: b}]}", "{action: utter_a}", "{or: [{slot_was_set: [vip: true]}]}")
        )
        assert list(map(told, made)) == [
            [L, "/a", "utter_a", ("vip", True), L],
            [L, "/b", "utter_a", ("vip", True), L],
        ]
        assert {course.name for course in made} == {"s"}

    def test_at_the_end_each_choice_ends_the_story(self) -> None:
        made = courses(one("{intent: a}", "{action: utter_a}", "{or: [{intent: b}, {intent: c}]}"))
        assert list(map(told, made)) == [[L, "/a", "utter_a", L, "/b", L], [L, "/a", "utter_a", L, "/c", L]]

    def test_rules_have_them_too(self) -> None:
        made = courses(rule("{or: [{intent: a}, {intent: b}]}", "{action: utter_a}"))
        assert [told(course)[2] for course in made] == ["/a", "/b"]


class TestCheckpoints:
    def test_every_start_goes_on_with_every_end(self) -> None:
        made = courses(
            "stories:\n"
            "- {story: s1, steps: [{intent: a}, {checkpoint: c}]}\n"
            "- {story: s2, steps: [{intent: b}, {checkpoint: c}]}\n"
            "- {story: e1, steps: [{checkpoint: c}, {intent: c}]}\n"
            "- {story: e2, steps: [{checkpoint: c}, {intent: d}]}\n"
        )
        assert [(course.name, told(course)) for course in made] == [
            ("s1 > e1", [L, "/a", L, "/c", L]),
            ("s1 > e2", [L, "/a", L, "/d", L]),
            ("s2 > e1", [L, "/b", L, "/c", L]),
            ("s2 > e2", [L, "/b", L, "/d", L]),
        ]

    def test_one_in_the_middle_joins_a_story_with_itself_and_others(self) -> None:
        made = courses(
            "stories:\n"
            "- {story: s, steps: [{intent: a}, {checkpoint: c}, {intent: b}]}\n"
            "- {story: e, steps: [{checkpoint: c}, {intent: c}]}\n"
        )
        assert [course.name for course in made] == ["s", "s > e"]

    def test_at_the_beginning_it_may_ask_for_slots(self) -> None:
        made = courses(
            "stories:\n"
            "- {story: yes, steps: [{slot_was_set: [note: 1, vip: true]}, {checkpoint: c}]}\n"
            "- {story: no, steps: [{slot_was_set: [note: 1, vip: false]}, {checkpoint: c}]}\n"
            "- {story: e, steps: [{checkpoint: c, slot_was_set: [vip: true, note: 1, level: low]}, {intent: a}]}\n"
        )
        assert [course.name for course in made] == ["yes > e"]

    def test_a_circle_is_gone_round_at_most_three_times(self) -> None:
        made = courses(
            "stories:\n"
            "- {story: s, steps: [{intent: a}, {checkpoint: c}]}\n"
            "- {story: again, steps: [{checkpoint: c}, {intent: b}, {checkpoint: c}]}\n"
            "- {story: e, steps: [{checkpoint: c}, {intent: c}]}\n"
        )
        assert sorted(told(course).count("/b") for course in made) == [0, 1, 2, 3]

    def test_those_that_lead_nowhere_end_stories_with_a_warning(self) -> None:
        read = stories(
            "stories:\n"
            "- {story: s, steps: [{intent: a}, {action: utter_a}, {checkpoint: nowhere}]}\n"
            "- {story: e, steps: [{checkpoint: never}, {intent: c}]}\n"
        )
        expanded = expand(read.stories, domain())
        assert list(map(told, expanded.courses)) == [[L, "/a", "utter_a"]]
        assert list(map(str, expanded.warnings)) == [
            "data.yml:2: Unsatisfied end checkpoint 'nowhere' in block 's'. Remove this checkpoint or add story blocks "
            "that start with this checkpoint.",
            "data.yml:3: Unsatisfied start checkpoint 'never' in block 'e'. Remove this checkpoint or add story blocks "
            "that end with this checkpoint.",
        ]

    def test_too_many_courses_are_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(expansion, "MAX_COURSES", 7)
        fork = "{or: [{intent: a}, {intent: b}]}"
        with pytest.raises(InvalidTraining) as caught:
            courses(one(fork, fork, fork))
        (fault,) = caught.value.faults
        assert str(fault) == "data.yml:3: checkpoints and ors make more than 7 different stories; here is one: 's'"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("- nothing: 1", "the slot 'nothing' is not in the domain: the step has no effect"),
        ("- vip", "the bool slot 'vip' is named without a value, which counts as null here; give it one"),
        ("- vip: maybe", "'maybe' is no value for the bool slot 'vip': it counts as not set"),
        (
            "- towns: null",
            "null for the list slot 'towns' in a rule means the opposite, as in Rasa: that it must be set",
        ),
    ],
)
def test_slots_that_are_not_what_they_seem_are_warned_of(step: str, reason: str) -> None:
    read = stories(f"rules:\n- rule: r\n  condition:\n  - slot_was_set:\n    {step}\n  steps: [{{action: utter_a}}]\n")
    assert list(map(str, expand(read.stories, domain()).warnings)) == [f"data.yml:5: {reason}"]


# --- whatever the stories are -----------------------------------------------------------------------------------------

_PLACE = Place("data.yml", 1)
_INTENTS = st.sampled_from("abcd").map(lambda name: UserStep(place=_PLACE, intent=name, text=None))
_ACTIONS = st.sampled_from("abcd").map(lambda name: ActionStep(place=_PLACE, name=f"utter_{name}", text=None))
_ORS = st.lists(_INTENTS, min_size=1, max_size=3).map(lambda choices: OrStep(place=_PLACE, choices=tuple(choices)))
_BODIES: st.SearchStrategy[list[Step]] = st.lists(_INTENTS | _ACTIONS | _ORS, min_size=1, max_size=4)


def _at(checkpoint: int | None) -> list[Step]:
    return [] if checkpoint is None else [CheckpointStep(place=_PLACE, name=str(checkpoint))]


_CHECKPOINTS = st.none() | st.integers(0, 3)
_WRITTEN = st.lists(st.tuples(_CHECKPOINTS, _BODIES, _CHECKPOINTS), min_size=1, max_size=5)


def _stories(written: list[tuple[int | None, list[Step], int | None]]) -> list[Story]:
    return [
        Story(place=_PLACE, name=str(number), steps=(*_at(start), *body, *_at(end)))
        for number, (start, body, end) in enumerate(written)
    ]


def _forward(part: tuple[int | None, list[Step], int | None]) -> bool:
    start, _, end = part
    return start is None or end is None or start < end


@given(_WRITTEN.map(lambda written: _stories([part for part in written if _forward(part)])), st.randoms())
def test_without_circles_the_order_of_stories_does_not_matter(written: list[Story], random: Any) -> None:
    shuffled = random.sample(written, len(written))
    first, second = (expand(order, domain()) for order in (written, shuffled))
    assert set(map(repr, first.courses)) == set(map(repr, second.courses))
    assert set(first.warnings) == set(second.warnings)


@given(_WRITTEN.map(_stories))
def test_it_is_the_same_every_time_and_goes_round_no_circle_for_ever(written: list[Story]) -> None:
    expanded = expand(written, domain())
    assert expanded == expand(written, domain())
    for course in expanded.courses:
        assert len(course.beats) <= 3 * sum(3 * len(story.steps) for story in written)
        assert not any(sum(1 for _ in run) > 1 for is_listen, run in groupby(told(course)) if is_listen == L)
