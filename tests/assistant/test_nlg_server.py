"""Calls to an NLG server: what is sent, and what becomes of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from assistant.action_server import ActionServer
from assistant.endpoint import Endpoint
from assistant.http import Client
from assistant.nlg_server import NlgServer
from assistant.outside import ActionFailed
from assistant.services import Services
from dialogue import BotUttered, to_wire
from tests.assistant.scenes import LISTEN, domain_from, said, scene_of, slot
from tests.assistant.scripted import Request, reply, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOMAIN = domain_from(
    """
slots:
  b: {type: bool, mappings: [{type: custom}]}
responses:
  utter_ids:
    - {text: default, id: one}
    - {text: when b, id: two, condition: [{type: slot, name: b, value: true}]}
  utter_plain:
    - {text: without an id}
"""
)
SCENE = scene_of(DOMAIN, LISTEN, said("greet", text="hi"))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


async def why(client: Client, answer: bytes | None) -> str:
    """Why an answer can't be used; the sentence's beginning is looked at here."""
    async with scripted(answer) as server:
        with pytest.raises(ActionFailed) as caught:
            await NlgServer(client, Endpoint(url=server.url)).word("utter_ids", SCENE, {})
    beginning = f"the response 'utter_ids' failed at the NLG server {server.url}: "
    assert str(caught.value).startswith(beginning)
    return str(caught.value).removeprefix(beginning)


async def test_the_request_holds_the_name_the_arguments_and_the_conversation(client: Client) -> None:
    async with scripted(reply({})) as server:
        await NlgServer(client, Endpoint(url=server.url)).word("utter_none", SCENE, {"foo": "bär"})
    body = server.requests[0].json()
    assert list(body) == ["response", "id", "arguments", "tracker", "channel"]
    assert (body["response"], body["id"], body["arguments"]) == ("utter_none", None, {"foo": "bär"})
    assert body["channel"] == {"name": "collector"}
    assert body["tracker"]["events"] == [to_wire(event) for event in SCENE.events]


@pytest.mark.parametrize(
    ("name", "b", "sent"), [("utter_ids", False, "one"), ("utter_ids", True, "two"), ("utter_plain", True, None)]
)
async def test_the_id_is_that_of_the_variation_for_the_moment(
    client: Client, name: str, b: bool, sent: str | None
) -> None:
    async with scripted(reply({})) as server:
        await NlgServer(client, Endpoint(url=server.url)).word(name, scene_of(DOMAIN, slot("b", b)), {})
    assert server.requests[0].json()["id"] == sent


async def test_what_it_answers_is_said_as_it_is(client: Client) -> None:
    answer: dict[str, Any] = {"text": "{b}", "buttons": None, "image": "i", "custom": {}, "extra": 1}
    async with scripted(reply(answer)) as server:
        services = Services(None, NlgServer(client, Endpoint(url=server.url)))
        event = await services.respond("utter_ids", SCENE)
    assert services.words_elsewhere
    assert event is not None
    assert (event.text, event.data["attachment"]) == ("{b}", "i")
    assert event.metadata == {"extra": 1, "utter_action": "utter_ids"}


async def test_responses_of_the_action_server_are_worded_there(client: Client) -> None:
    async def answer(request: Request) -> bytes:
        if request.path == "/nlg":
            return reply({"text": f"worded with {request.json()['arguments']}"})
        return reply({"responses": [{"response": "utter_x", "foo": "bar", "text": None}]})

    async with scripted(answer) as server:
        nlg = NlgServer(client, Endpoint(url=f"http://{server.address}/nlg"))
        services = Services(ActionServer(client, Endpoint(url=server.url), DOMAIN), nlg)
        [event] = await services.call("action_a", replace(SCENE, channel="web"))
    assert isinstance(event, BotUttered)
    assert event.text == "worded with {'foo': 'bar', 'text': None}"
    assert server.requests[1].json()["channel"] == {"name": "web"}


async def test_with_an_empty_answer_the_action_server_says_nothing(client: Client) -> None:
    async def answer(request: Request) -> bytes:
        return reply({} if request.path == "/nlg" else {"responses": [{"response": "utter_x"}]})

    async with scripted(answer) as server:
        nlg = NlgServer(client, Endpoint(url=f"http://{server.address}/nlg"))
        services = Services(ActionServer(client, Endpoint(url=server.url), DOMAIN), nlg)
        assert await services.call("action_a", SCENE) == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        {"text": 5},
        {"id": 5},
        {"buttons": {}},
        {"buttons": ["b"]},
        {"elements": 5},
        {"attachment": "a"},
        {"image": {}},
        {"custom": None},
    ],
)
async def test_answers_of_another_form_fail(client: Client, value: Any) -> None:
    assert (await why(client, reply(value))).startswith("its answer can't be used: ")


async def test_an_error_fails(client: Client) -> None:
    assert await why(client, reply({"text": "hi"}, 500)) == "it answered with status 500"


async def test_what_is_not_json_fails(client: Client) -> None:
    assert await why(client, reply("hi", content_type="text/plain")) == (
        "its answer can't be used: its content type is text/plain, not application/json"
    )


async def test_no_answer_fails(client: Client) -> None:
    assert await why(client, None) == "it closed the connection without an answer"
