"""Calls to an action server: what is sent, and what becomes of its answers."""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

import dialogue
from assistant.action_server import ActionServer
from assistant.endpoint import Endpoint
from assistant.http import Client
from assistant.outside import ActionFailed, ActionRejected
from assistant.responses import Responses
from assistant.secret import Secret
from dialogue import BotUttered, to_wire
from tests.assistant.scenes import LISTEN, action, domain_from, loop, said, scene_of, slot
from tests.assistant.scripted import Scripted, reply, scripted
from tests.service import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dialogue import Event

Json = dict[str, Any]

DATA = Path(__file__).parents[1] / "data"
DOMAIN = domain_from(
    """
intents: [greet]
slots:
  city: {type: text, mappings: [{type: custom}]}
actions: [action_plain, validate_order_form, {action_marked: {send_domain: true}}]
responses:
  utter_weather:
    - {text: "Sunny in {city}.", image: "http://x/sun.png", buttons: [{title: now, payload: /now}], id: sunny}
  utter_app: [{text: only in the app, channel: app}]
  utter_broken: [{text: "{"}]
"""
)
EVENTS = (
    slot("city", "Rome"),
    action("action_session_start"),
    {"event": "session_started"},
    LISTEN,
    said("greet", text="hi ü"),
    loop("order_form"),
)
NOTHING = reply({"events": [], "responses": []})
SCENE = scene_of(DOMAIN, *EVENTS)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


async def run(
    client: Client, server: Scripted, name: str = "action_plain", *, compresses: bool = False, **extra: Any
) -> list[Event]:
    endpoint = Endpoint(url=server.url + "?code=hidden", token=Secret("hidden"), extra=extra)
    return await ActionServer(client, endpoint, DOMAIN, compresses=compresses).run(name, SCENE, Responses())


async def answered(client: Client, value: object, status: int = 200) -> list[Event]:
    """What becomes of an answer."""
    async with scripted(reply(value, status)) as server:
        return await run(client, server)


async def why(client: Client, answer: bytes | None) -> str:
    """Why an answer can't be used; the sentence's beginning is looked at here."""
    async with scripted(answer) as server:
        with pytest.raises(ActionFailed) as caught:
            await run(client, server)
    beginning = f"the action 'action_plain' failed at the action server {server.url}: "
    assert str(caught.value).startswith(beginning)
    return str(caught.value).removeprefix(beginning)


# --- what is sent ---


async def test_the_request_holds_the_action_the_conversation_and_the_domain(client: Client) -> None:
    async with scripted(NOTHING) as server:
        await run(client, server)
    body = server.requests[0].json()
    assert list(body) == ["next_action", "sender_id", "tracker", "version", "domain"]
    assert (body["next_action"], body["sender_id"], body["version"]) == ("action_plain", "c", "3.6.21")
    assert body["domain"] == DOMAIN.document
    assert server.requests[0].headers["content-type"] == "application/json"


async def test_the_conversation_is_its_state_with_the_events_of_the_session(client: Client) -> None:
    async with scripted(NOTHING) as server:
        await run(client, server)
    tracker = server.requests[0].json()["tracker"]
    assert list(tracker) == [
        "sender_id",
        "slots",
        "latest_message",
        "latest_event_time",
        "followup_action",
        "paused",
        "events",
        "latest_input_channel",
        "active_loop",
        "latest_action",
        "latest_action_name",
    ]
    assert tracker["latest_message"]["text"] == "hi ü"
    assert tracker["active_loop"]["name"] == "order_form"
    assert tracker["events"] == [to_wire(event) for event in SCENE.events[1:]]


async def test_events_that_were_taken_back_are_sent_too(client: Client) -> None:
    scene = SCENE.after([dialogue.from_wire({"event": "rewind"}, 1.0)])
    async with scripted(NOTHING) as server:
        await ActionServer(client, Endpoint(url=server.url), DOMAIN).run("action_plain", scene, Responses())
    tracker = server.requests[0].json()["tracker"]
    assert [event["event"] for event in tracker["events"]][-3:] == ["user", "active_loop", "rewind"]
    assert tracker["latest_message"]["text"] is None


async def test_without_a_session_start_all_events_are_sent(client: Client) -> None:
    scene = scene_of(DOMAIN, slot("city", "Rome"), LISTEN)
    async with scripted(NOTHING) as server:
        await ActionServer(client, Endpoint(url=server.url), DOMAIN).run("action_plain", scene, Responses())
    assert [event["event"] for event in server.requests[0].json()["tracker"]["events"]] == ["slot", "action"]


@pytest.mark.parametrize(
    ("name", "is_sent"), [("action_plain", False), ("action_marked", True), ("validate_order_form", True)]
)
async def test_a_selective_domain_goes_only_to_those_who_want_it(client: Client, name: str, is_sent: bool) -> None:
    async with scripted(NOTHING) as server:
        await run(client, server, name, enable_selective_domain=True)
    assert ("domain" in server.requests[0].json()) is is_sent


async def test_a_request_can_be_deflated(client: Client) -> None:
    async with scripted(NOTHING) as server:
        await run(client, server, compresses=True)
    assert server.requests[0].headers["content-encoding"] == "deflate"
    assert json.loads(zlib.decompress(server.requests[0].body))["next_action"] == "action_plain"


# --- events and responses ---


async def test_what_is_said_comes_before_the_events(client: Client) -> None:
    events = [slot("city", "Oslo"), {"event": "followup", "name": "action_plain", "timestamp": None}]
    got = await answered(client, {"events": events, "responses": [{"text": "hi"}, {"text": "there"}]})
    assert [event.type for event in got] == ["bot", "bot", "slot", "followup"]


async def test_events_happen_when_they_arrive(client: Client) -> None:
    began = time.time()
    got = await answered(client, {"events": [slot("city", 1) | {"timestamp": 5.0}], "responses": [{"text": "hi"}]})
    assert began <= got[0].timestamp <= got[1].timestamp <= time.time()


@pytest.mark.parametrize("value", [{}, {"events": []}, {"responses": []}, {"more": 1}])
async def test_an_answer_may_hold_nothing(client: Client, value: Json) -> None:
    assert await answered(client, value) == []


async def said_by(client: Client, **response: Any) -> BotUttered | None:
    """The only event that one item of `responses` brings about."""
    got = await answered(client, {"responses": [response]})
    assert len(got) <= 1
    return got[0] if got and isinstance(got[0], BotUttered) else None


async def test_a_direct_response_is_said_as_it_is(client: Client) -> None:
    event = await said_by(
        client,
        text="{city}",
        buttons=[],
        elements=[],
        custom={"a": "{city}"},
        template=None,
        response=None,
        tone="kind",
    )
    assert event is not None
    assert event.text == "{city}"
    assert event.data == {
        "elements": None,
        "quick_replies": None,
        "buttons": None,
        "attachment": None,
        "image": None,
        "custom": {"a": "{city}"},
    }
    assert event.metadata == {"tone": "kind"}


async def test_a_named_response_is_worded_with_the_other_keys(client: Client) -> None:
    more = {"title": "more", "payload": "/menu"}
    event = await said_by(
        client, text=None, buttons=[more], template="utter_weather", response="utter_weather", city="Rome", image=None
    )
    assert event is not None
    assert event.text == "Sunny in Rome."
    assert event.data["buttons"] == [{"title": "now", "payload": "/now"}, more]
    assert event.data["image"] == event.data["attachment"] == "http://x/sun.png"
    assert list(event.metadata.items()) == [
        ("id", "sunny"),
        ("utter_action", "utter_weather"),
        ("template", "utter_weather"),
        ("city", "Rome"),
    ]


async def test_the_domain_keeps_its_buttons(client: Client) -> None:
    await said_by(client, response="utter_weather", buttons=[{"title": "more"}])
    assert DOMAIN.responses["utter_weather"][0]["buttons"] == [{"title": "now", "payload": "/now"}]


async def test_what_is_given_replaces_what_is_worded(client: Client) -> None:
    event = await said_by(client, response="utter_weather", text="Rain.", id="rain")
    assert event is not None
    assert (event.text, event.metadata["id"]) == ("Rain.", "rain")


@pytest.mark.parametrize("name", ["utter_app", "utter_nothing"])
async def test_a_response_that_there_is_not_is_passed_over(client: Client, name: str) -> None:
    got = await answered(client, {"events": [slot("city", 1)], "responses": [{"response": name}, {"text": "hi"}]})
    assert [event.type for event in got] == ["bot", "slot"]


async def test_a_response_that_cannot_be_worded_fails_the_action(client: Client) -> None:
    with pytest.raises(ActionFailed, match="'utter_broken' can't be worded"):
        await answered(client, {"responses": [{"response": "utter_broken"}]})


# --- refusing and failing ---


async def test_400_rejects_the_action_that_it_names(client: Client) -> None:
    with pytest.raises(ActionRejected) as caught:
        await answered(client, {"action_name": "action_other", "error": "no"}, 400)
    assert caught.value.action == "action_other"


@pytest.mark.parametrize("value", [{"error": "Invalid body request"}, [], b"<html>", {"action_name": None}])
async def test_400_that_names_none_fails(client: Client, value: object) -> None:
    reason = "it answered with status 400, but not with the name of an action that was rejected"
    assert await why(client, reply(value, 400)) == reason


@pytest.mark.parametrize(
    ("value", "complaint"), [({"error": "No such action"}, ": No such action"), (b"<html>", ""), ({"error": None}, "")]
)
@pytest.mark.parametrize("status", [404, 500, 503])
async def test_other_errors_fail(client: Client, status: int, value: object, complaint: str) -> None:
    assert await why(client, reply(value, status)) == f"it answered with status {status}{complaint}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "it is not an object"),
        ([], "it is not an object"),
        ({"events": None}, "events is not a list"),
        ({"responses": {}}, "responses is not a list"),
        ({"responses": [{}, "hi"]}, "responses[1] is not an object"),
        ({"responses": [{"response": 5}]}, "responses[0].response is not a name"),
        ({"responses": [{"buttons": "b"}]}, "responses[0].buttons is not a list"),
        ({"events": [slot("a", 1), 5]}, "events[1]: 5 is not of type 'object'"),
        ({"events": [{"name": "a"}]}, "events[0]: 'event' is a required property"),
        ({"events": [{"event": "slot", "name": "a"}]}, "events[0]: {'event': 'slot', 'name': 'a'} is not valid under"),
        ({"events": [{"event": "tracker_replaced"}]}, "events[0]: {'event': 'tracker_replaced'} is not valid under"),
    ],
)
async def test_answers_of_another_form_fail(client: Client, value: object, reason: str) -> None:
    assert (await why(client, reply(value))).startswith(f"its answer can't be used: {reason}")


@pytest.mark.parametrize("answer", [reply(b"{"), reply({}, content_type="text/html"), reply(b"", 204, None)])
async def test_answers_that_are_not_json_fail(client: Client, answer: bytes) -> None:
    assert (await why(client, answer)).startswith("its answer can't be used: ")


async def test_no_answer_fails(client: Client) -> None:
    assert await why(client, None) == "it closed the connection without an answer"


async def test_nothing_is_worded_for_an_answer_that_fails(client: Client) -> None:
    class Unasked(Responses):
        async def word(self, name: str, scene: object, arguments: object) -> None:
            raise AssertionError("an answer with faults is not worded")

    async with scripted(reply({"events": [5], "responses": [{"response": "utter_weather"}]})) as server:
        with pytest.raises(ActionFailed, match="events\\[0\\]"):
            await ActionServer(client, Endpoint(url=server.url), DOMAIN).run("action_plain", SCENE, Unasked())


async def test_no_secret_is_named(client: Client) -> None:
    endpoint = Endpoint(url=f"http://u:hidden@127.0.0.1:{free_port()}/?x=hidden", token=Secret("hidden"))
    with pytest.raises(ActionFailed) as caught:
        await ActionServer(client, endpoint, DOMAIN).run("action_plain", SCENE, Responses())
    assert "hidden" not in str(caught.value)


async def test_a_sender_of_any_characters_is_sent(client: Client) -> None:
    scene = replace(SCENE, sender='"ü\ud800')
    async with scripted(NOTHING) as server:
        await ActionServer(client, Endpoint(url=server.url), DOMAIN).run("action_plain", scene, Responses())
    assert server.requests[0].json()["sender_id"] == '"ü\ud800'


# --- what Rasa sends ---

BOT = (DATA / "domain_bot.yml").read_text()
RECORDED: dict[str, Json] = json.loads((DATA / "action_server_requests.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
async def test_the_request_is_the_one_that_was_recorded(client: Client, name: str) -> None:
    """All but the domain, whose form GET /domain is tested for."""
    domain = domain_from(BOT)
    events = tuple(dialogue.from_wire(event, 1.0) for event in RECORDED[name]["tracker"]["events"])
    scene = replace(scene_of(domain).after(events), sender=RECORDED[name]["sender_id"])
    async with scripted(NOTHING) as server:
        await ActionServer(client, Endpoint(url=server.url), domain).run(name, scene, Responses())
    body = server.requests[0].json()
    del body["domain"]
    assert json.dumps(body) == json.dumps(RECORDED[name])
