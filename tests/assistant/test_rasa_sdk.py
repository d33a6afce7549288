"""The action server that Rasa's users run, rasa-sdk: it understands our calls, and we its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from assistant.action_server import ActionServer
from assistant.endpoint import Endpoint
from assistant.http import Client
from assistant.outside import ActionFailed, ActionRejected
from assistant.responses import Responses
from dialogue import BotUttered, SlotSet, to_wire
from tests.assistant.scenes import LISTEN, action, domain_from, loop, said, scene_of, slot
from tests.rasa_sdk import RasaSdk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from assistant.scene import Scene
    from dialogue import Event

pytestmark = pytest.mark.timeout(600)  # the environment of rasa-sdk may have to be made first
ACTIONS = Path(__file__).with_name("sdk_actions.py")
DOMAIN = domain_from(
    """
intents: [greet]
slots:
  city: {type: text, mappings: [{type: custom}]}
  seen: {type: any, mappings: [{type: custom}]}
forms:
  order_form: {required_slots: [city]}
actions: [action_says, action_sees, validate_order_form]
responses:
  utter_weather:
    - {text: "Sunny in {city}.", buttons: [{title: now, payload: /now}]}
"""
)
SCENE = scene_of(DOMAIN, LISTEN, slot("city", "Turin"), said("greet", text="hi ü"))


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RasaSdk]:
    sdk = RasaSdk.start(ACTIONS, tmp_path_factory.mktemp("rasa-sdk"))
    yield sdk
    sdk.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["plain", "deflated"])
def server(sdk: RasaSdk, client: Client, request: pytest.FixtureRequest) -> ActionServer:
    return ActionServer(client, Endpoint(url=sdk.url), DOMAIN, compresses=request.param)


async def run(server: ActionServer, name: str, scene: Scene = SCENE) -> list[Event]:
    return await server.run(name, scene, Responses())


def shown(event: Event) -> dict[str, Any]:
    """An event without its time and what is empty."""
    wire = {key: value for key, value in to_wire(event).items() if key != "timestamp" and value not in (None, {})}
    if isinstance(event, BotUttered):
        wire["data"] = {key: value for key, value in event.data.items() if value}
    return wire


async def test_it_says_texts_and_responses(server: ActionServer) -> None:
    now, more = {"title": "now", "payload": "/now"}, {"title": "more", "payload": "/more"}
    named = {"utter_action": "utter_weather", "template": "utter_weather", "city": "Oslo"}
    assert [shown(event) for event in await run(server, "action_says")] == [
        {"event": "bot", "text": "You said 'hi ü' in Turin.", "data": {}},
        {"event": "bot", "text": "Sunny in Oslo.", "data": {"buttons": [now, more]}, "metadata": named},
        {"event": "bot", "text": "a", "data": {"image": "http://x/a.png", "attachment": "file"}},
        {
            "event": "bot",
            "data": {"custom": {"a": ["{city}"]}, "elements": [{"title": "t"}]},
            "metadata": {"tone": "kind"},
        },
    ]


async def test_it_sees_the_conversation_and_the_domain(server: ActionServer) -> None:
    [event] = await run(server, "action_sees", scene_of(DOMAIN, LISTEN, said("greet"), loop("order_form")))
    assert isinstance(event, SlotSet)
    assert event.value == {
        "sender": "c",
        "slots": {"city": None, "seen": None, "requested_slot": None, "session_started_metadata": None},
        "intent": "greet",
        "loop": "order_form",
        "latest action": "action_listen",
        "events": ["action", "user", "active_loop"],
        "responses": ["utter_weather"],
    }


async def test_without_the_domain_it_runs_as_well(sdk: RasaSdk, client: Client) -> None:
    endpoint = Endpoint(url=sdk.url, extra={"enable_selective_domain": True})
    [event] = await run(ActionServer(client, endpoint, DOMAIN), "action_sees")
    assert isinstance(event, SlotSet)
    assert event.value["responses"] == []


async def test_every_kind_of_event_comes_through(server: ActionServer) -> None:
    got = [shown(event) for event in await run(server, "action_every_event")]
    user = next(event for event in got if event["event"] == "user")
    assert user["text"] == "hi"
    assert user["parse_data"]["intent"] == {"name": "greet", "confidence": 1.0}
    assert [event for event in got if event["event"] != "user"] == [
        {"event": "slot", "name": "city", "value": "Rome"},
        {"event": "reset_slots"},
        {
            "event": "reminder",
            "intent": "remind",
            "date_time": "2030-01-01T00:00:00+00:00",
            "name": "n",
            "kill_on_user_msg": False,
        },
        {"event": "cancel_reminder", "name": "n"},
        {"event": "undo"},
        {"event": "rewind"},
        {"event": "restart"},
        {"event": "session_started"},
        {"event": "pause"},
        {"event": "resume"},
        {"event": "followup", "name": "action_says"},
        {"event": "active_loop", "name": "order_form"},
        {"event": "loop_interrupted", "is_interrupted": True},
        {"event": "action", "name": "action_listen", "policy": "P", "confidence": 0.5, "hide_rule_turn": False},
        {"event": "action_execution_rejected", "name": "action_says", "policy": "P", "confidence": 0.5},
        {"event": "bot", "text": "said", "metadata": {"m": 1}, "data": {}},
        {"event": "export"},
    ]


@pytest.mark.parametrize(
    ("city", "events"),
    [
        ("rome", [("slot", "city", "Rome"), ("slot", "requested_slot", "seen")]),
        ("Nowhere", [("bot",), ("slot", "city", None), ("slot", "requested_slot", "city")]),
    ],
)
async def test_forms_are_validated(server: ActionServer, city: str, events: list[tuple[Any, ...]]) -> None:
    form = (loop("order_form"), slot("requested_slot", "city"), action("order_form"), LISTEN, said("greet"))
    got = await run(server, "validate_order_form", scene_of(DOMAIN, *form, slot("city", city)))
    assert [(e.type, e.name, e.value) if isinstance(e, SlotSet) else (e.type,) for e in got] == events


async def test_it_rejects(server: ActionServer) -> None:
    with pytest.raises(ActionRejected) as caught:
        await run(server, "action_rejects")
    assert caught.value.action == "action_rejects"


async def test_an_error_of_an_action_is_told(sdk: RasaSdk, client: Client) -> None:
    with pytest.raises(ActionFailed, match=r"'action_fails' failed at .*: it answered with status 500: out of order"):
        await run(ActionServer(client, Endpoint(url=sdk.url), DOMAIN), "action_fails")


async def test_an_error_of_an_action_is_a_failure_too_when_the_request_was_deflated(
    sdk: RasaSdk, client: Client
) -> None:
    """rasa-sdk then fails at telling the error, and answers 400, as if it had been rejected."""
    with pytest.raises(ActionFailed, match="status 400, but not with the name of an action that was rejected"):
        await run(ActionServer(client, Endpoint(url=sdk.url), DOMAIN, compresses=True), "action_fails")


async def test_an_unknown_action_is_told(server: ActionServer) -> None:
    with pytest.raises(ActionFailed, match="it answered with status 404: No registered action found for name"):
        await run(server, "action_unknown")
