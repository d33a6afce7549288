"""Wording responses from templates: which variation is said, and how values come into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from assistant.interpolation import InvalidTemplate, interpolated
from assistant.outside import ActionFailed
from assistant.responses import Responses
from assistant.services import Services
from assistant.wording import uttered
from tests.assistant.scenes import domain_from, scene_of, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.scene import Scene
    from assistant.wording import Message

DOMAIN = domain_from(
    """
slots:
  e: {type: text, mappings: [{type: custom}]}
  b: {type: bool, initial_value: false, mappings: [{type: custom}]}
responses:
  utter_plain:
    - {text: "e is {e}", image: "http://x/{e}.png", "buttons": [{title: "{e}", payload: '/x{{"e": "{e}"}}'}],
       custom: {"{e}": ["{e}", {deep: "{e}"}, 5]}, metadata: {kept: "{e}"}, id: one}
  utter_many:
    - {text: first}
    - {text: second}
  utter_conditions:
    - {text: both, condition: [{type: slot, name: e, value: X}, {type: slot, name: b, value: true}]}
    - {text: e only, condition: [{type: slot, name: e, value: x}]}
    - {text: e unset, condition: [{type: slot, name: e, value: null}]}
    - {text: otherwise}
  utter_channels:
    - {text: any}
    - {text: any when b, condition: [{type: slot, name: b, value: true}]}
    - {text: web, channel: web}
    - {text: web when b, channel: web, condition: [{type: slot, name: b, value: true}]}
  utter_half:
    - {text: app, channel: app}
    - {text: any when b, condition: [{type: slot, name: b, value: true}]}
  utter_broken:
    - {text: "open { brace {e}"}
"""
)


def first(variations: Sequence[Message]) -> Message:
    return variations[0]


def last(variations: Sequence[Message]) -> Message:
    return variations[-1]


def scene(channel: str = "collector", **slots: Any) -> Scene:
    made = scene_of(DOMAIN, *(slot(name, value) for name, value in slots.items()))
    return replace(made, channel=channel)


async def text(name: str, scene: Scene, **arguments: Any) -> str | None:
    """The text that is said."""
    message = await Responses(first).word(name, scene, arguments)
    return message["text"] if message else None


# --- choosing ---


async def test_one_of_those_that_fit_is_chosen() -> None:
    said = [(await Responses(choose).word("utter_many", scene(), {}) or {})["text"] for choose in (first, last)]
    assert said == ["first", "second"]


async def test_chance_chooses_by_default() -> None:
    said = {(await Responses().word("utter_many", scene(), {}) or {})["text"] for _ in range(100)}
    assert said == {"first", "second"}


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ({"e": "x", "b": True}, "both"),
        ({"e": "X", "b": False}, "e only"),
        ({}, "e unset"),
        ({"e": "y"}, "otherwise"),
        ({"e": 5}, "otherwise"),
    ],
)
async def test_conditions_compare_slots(slots: dict[str, Any], said: str) -> None:
    assert await text("utter_conditions", scene(**slots)) == said


@pytest.mark.parametrize(
    ("channel", "b", "said"),
    [
        ("web", True, "web when b"),
        ("web", False, "web"),
        ("collector", True, "any when b"),
        ("collector", False, "any"),
    ],
)
async def test_the_channel_comes_before_conditions(channel: str, b: bool, said: str) -> None:
    assert await text("utter_channels", scene(channel, b=b)) == said


@pytest.mark.parametrize(
    ("channel", "b", "said"), [("web", True, "any when b"), ("web", False, None), ("app", True, "app")]
)
async def test_without_a_variation_for_the_moment_nothing_is_said(channel: str, b: bool, said: str | None) -> None:
    assert await text("utter_half", scene(channel, b=b)) == said


async def test_an_unknown_response_is_none() -> None:
    assert await text("utter_nothing", scene()) is None


# --- filling ---


async def test_values_come_into_all_that_is_shown() -> None:
    message = await Responses(first).word("utter_plain", scene(e="E"), {})
    assert message == {
        "text": "e is E",
        "image": "http://x/E.png",
        "buttons": [{"title": "E", "payload": '/x{"e": "E"}'}],
        "custom": {"{e}": ["E", {"deep": "E"}, 5]},
        "metadata": {"kept": "{e}"},
        "id": "one",
    }


async def test_the_domain_keeps_its_templates() -> None:
    await Responses(first).word("utter_plain", scene(e="E"), {})
    assert DOMAIN.responses["utter_plain"][0]["buttons"][0]["title"] == "{e}"


async def test_arguments_come_before_slots() -> None:
    assert await text("utter_plain", scene(e="E"), e="A") == "e is A"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (True, "True"),
        (3.0, "3.0"),
        (["a", 1], "['a', 1]"),
        ({"k": "v"}, "{'k': 'v'}"),
        ("{e}", "{e}"),
        ("{0[x]}", "{0[x]}"),
        ("\\1", "\\1"),
    ],
)
def test_values_are_shown_as_python_shows_them(value: Any, shown: str) -> None:
    assert interpolated("= {e} =", {"e": value}) == f"= {shown} ="


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("double {{e}} end", "double {e} end"),
        ("{{e}} and {e}", "{e} and E"),
        ("{{{e}}}", "{E}"),
        ('json {{"a": {e}}}', 'json {"a": E}'),
        ("{{ }}", "{ }"),
        ("none", "none"),
    ],
)
def test_double_braces_are_single_ones(template: str, shown: str) -> None:
    assert interpolated(template, {"e": "E"}) == shown


@pytest.mark.parametrize(
    "template",
    [
        "hello {e} and {nope}",
        "space { e } end",
        "bang {e!r} {e:>5} end",
        "{e.__class__}",
        "key {e[k]}",
        "{}",
        "{e\n}",
        "{ e } {e!r} {{e}} {e",
        '{"a": {e}}',
        '/x{"e": "{e}"} {e}',
        "{0} {e}",
    ],
)
def test_a_text_that_names_something_else_stays_as_it_is(template: str) -> None:
    assert interpolated(template, {"e": "E"}) == template


def test_a_text_that_stays_as_it_is_is_logged() -> None:
    with capture_logs() as logs:
        interpolated("hello {nope}", {})
    assert [(line["text"], line["name"]) for line in logs] == [("hello {nope}", "nope")]


def test_each_text_stands_alone() -> None:
    assert interpolated(["{nope}", {"x": "{e}"}], {"e": "E"}) == ["{nope}", {"x": "E"}]


@pytest.mark.parametrize("template", ["open { brace {e} end", "{e} {", "{e}}", "}", "{{e}"])
def test_braces_that_do_not_match_are_refused(template: str) -> None:
    with pytest.raises(InvalidTemplate, match="a brace that shall be seen is written twice"):
        interpolated(template, {"e": "E"})


async def test_a_response_with_such_braces_fails() -> None:
    with pytest.raises(ActionFailed, match=r"the response 'utter_broken' can't be worded: 'open \{ brace \{e\}'"):
        await text("utter_broken", scene())


# --- saying ---


async def test_what_is_shown_is_data_and_all_else_metadata() -> None:
    event = await Services(None, Responses(first)).respond("utter_plain", scene(e="E"))
    assert event is not None
    assert event.text == "e is E"
    assert event.data == {
        "elements": None,
        "quick_replies": None,
        "buttons": [{"title": "E", "payload": '/x{"e": "E"}'}],
        "attachment": "http://x/E.png",
        "image": "http://x/E.png",
        "custom": {"{e}": ["E", {"deep": "E"}, 5]},
    }
    assert list(event.metadata.items()) == [
        ("metadata", {"kept": "{e}"}),
        ("id", "one"),
        ("utter_action", "utter_plain"),
    ]


async def test_an_unknown_response_says_nothing() -> None:
    assert await Services(None, Responses()).respond("utter_nothing", scene()) is None


async def test_without_an_action_server_its_actions_fail() -> None:
    with pytest.raises(ActionFailed, match="'action_a' needs an action server: name it under `action_endpoint`"):
        await Services(None, Responses()).call("action_a", scene())


def test_an_attachment_of_its_own_is_kept_beside_the_image() -> None:
    assert uttered({"image": "i", "attachment": "a"}).data["attachment"] == "a"
