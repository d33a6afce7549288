"""Understanding by an NLU server: what it is asked, and what becomes of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from assistant.endpoint import BasicAuth, Endpoint
from assistant.http import Client
from assistant.nlu.server import NOT_UNDERSTOOD, NluServer
from assistant.secret import Secret
from tests.assistant.nlu.data import DOMAIN
from tests.assistant.scripted import Scripted, reply, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]

UNDERSTOOD: Json = {
    "text": "hi",
    "intent": {"name": "greet", "confidence": 0.9, "id": 5},
    "entities": [{"entity": "city", "value": "Rome", "start": 0, "end": 4, "extra": []}],
    "intent_ranking": [{"name": "greet", "confidence": 0.9}, {"name": "bye", "confidence": 0.1}],
    "response_selector": {"default": {}},
}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


def at(server: Scripted, path: str = "", **settings: Any) -> Endpoint:
    return Endpoint(url=f"http://{server.address}{path}", **settings)


async def parse(client: Client, answer: bytes | None, text: str = "hi") -> tuple[Json, list[str]]:
    """What a text means by this answer, and why it was not understood."""
    async with scripted(answer) as server:
        with capture_logs() as lines:
            parsed = await NluServer(client, at(server), DOMAIN).parse(text, "c")
    return parsed, [line["reason"] for line in lines if line["event"] == "a message was not understood"]


class TestQuestion:
    async def test_it_holds_the_text_the_conversation_and_no_token(self, client: Client) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            await NluServer(client, at(server, "/nlu/"), DOMAIN).parse(" hällo", "joe")
        [request] = server.requests
        assert (request.method, request.path, request.query) == ("POST", "/nlu/model/parse", [])
        assert request.json() == {"token": None, "text": " hällo", "message_id": "joe"}

    async def test_the_token_goes_with_the_text(self, client: Client) -> None:
        settings: Json = {"token": Secret("t"), "token_name": "key", "params": {"a": "b"}, "headers": {"X-A": "c"}}
        async with scripted(reply(UNDERSTOOD)) as server:
            await NluServer(client, at(server, **settings), DOMAIN).parse("hi", "c")
        [request] = server.requests
        assert request.json()["token"] == "t"
        assert request.query == [("a", "b")]
        assert request.headers["x-a"] == "c"

    async def test_credentials_are_shown(self, client: Client) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            endpoint = at(server, basic_auth=BasicAuth("joe", Secret("pw")))
            await NluServer(client, endpoint, DOMAIN).parse("hi", "c")
        assert server.requests[0].headers["authorization"] == "Basic am9lOnB3"

    @pytest.mark.parametrize("text", ["/greet", ' /inform{"city": "Rome"} '])
    async def test_explicit_intents_are_understood_here(self, client: Client, text: str) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            parsed = await NluServer(client, at(server), DOMAIN).parse(text, "c")
        assert parsed["intent"]["confidence"] == 1.0
        assert server.requests == []

    async def test_intents_that_the_domain_does_not_know_are_asked_for(self, client: Client) -> None:
        assert await parse(client, reply(UNDERSTOOD), "/other") == (UNDERSTOOD, [])


class TestOldForm:
    @pytest.mark.parametrize(
        ("model", "project", "name"),
        [("bots/current", "bots", "current"), ("current", "default", "current"), ("a/b/c", "a/b", "c")],
    )
    async def test_the_model_and_its_project_are_parameters(
        self, client: Client, model: str, project: str, name: str
    ) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            parsed = await NluServer(client, at(server), DOMAIN, model).parse("wie geht's?", "c")
        [request] = server.requests
        assert (request.method, request.path, request.body) == ("GET", "/parse", b"")
        assert dict(request.query) == {"model": name, "project": project, "q": "wie geht's?"}
        assert parsed == UNDERSTOOD

    async def test_the_token_is_a_parameter_of_its_own_name(self, client: Client) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            endpoint = at(server, token=Secret("t"), token_name="key", params={"a": "b"})
            await NluServer(client, endpoint, DOMAIN, "m").parse("hi", "c")
        assert dict(server.requests[0].query) == {
            "a": "b", "key": "t", "model": "m", "project": "default", "q": "hi"
        }  # fmt: skip

    async def test_explicit_intents_are_understood_here(self, client: Client) -> None:
        async with scripted(reply(UNDERSTOOD)) as server:
            await NluServer(client, at(server), DOMAIN, "m").parse("/greet", "c")
        assert server.requests == []


class TestAnswer:
    async def test_it_is_taken_as_it_is(self, client: Client) -> None:
        assert await parse(client, reply(UNDERSTOOD)) == (UNDERSTOOD, [])

    @pytest.mark.parametrize(
        "value", [{}, {"intent": None, "entities": None}, {"intent": {}, "entities": []}, {"text": "hi"}]
    )
    async def test_what_it_leaves_out_is_nothing(self, client: Client, value: Json) -> None:
        expected = {"text": "hi", "intent": {"name": None, "confidence": 0.0}, "entities": []}
        assert await parse(client, reply(value)) == (expected, [])

    async def test_an_intent_may_have_no_name(self, client: Client) -> None:
        parsed, reasons = await parse(client, reply({"intent": {"confidence": 0.2}, "intent_ranking": None}))
        assert parsed["intent"] == {"name": None, "confidence": 0.2}
        assert reasons == []

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (None, "Expected `object`, got `null`"),
            ([UNDERSTOOD], "Expected `object`, got `array`"),
            ("greet", "Expected `object`, got `str`"),
            ({"intent": "greet"}, "Expected `object | null`, got `str` - at `$.intent`"),
            ({"intent": {"name": 5}}, "Expected `str | null`, got `int` - at `$.intent.name`"),
            ({"intent": {"confidence": "high"}}, "Expected `float | null`, got `str` - at `$.intent.confidence`"),
            ({"entities": {"city": "Rome"}}, "Expected `array | null`, got `object` - at `$.entities`"),
            ({"entities": ["Rome"]}, "Expected `object`, got `str` - at `$.entities[0]`"),
            ({"entities": [{"value": "Rome"}]}, "Object missing required field `entity` - at `$.entities[0]`"),
            ({"entities": [{"entity": None}]}, "Expected `str`, got `null` - at `$.entities[0].entity`"),
            ({"entities": [{"entity": "a", "role": 1}]}, "Expected `str | null`, got `int` - at `$.entities[0].role`"),
            ({"intent_ranking": [5]}, "Expected `object`, got `int` - at `$.intent_ranking[0]`"),
            ({"response_selector": []}, "Expected `object | null`, got `array` - at `$.response_selector`"),
        ],
    )
    async def test_what_is_no_meaning_is_not_understood(self, client: Client, value: Any, why: str) -> None:
        reason = f"its answer is not what an NLU server says of a text: {why}"
        assert await parse(client, reply(value)) == (NOT_UNDERSTOOD, [reason])

    @pytest.mark.parametrize("status", [201, 400, 404, 500])
    async def test_any_other_status_is_not_understood(self, client: Client, status: int) -> None:
        reason = f"it answered with status {status}"
        assert await parse(client, reply(UNDERSTOOD, status)) == (NOT_UNDERSTOOD, [reason])

    async def test_what_is_not_json_is_not_understood(self, client: Client) -> None:
        parsed, [reason] = await parse(client, reply(b"<html>", content_type="text/html"))
        assert parsed == NOT_UNDERSTOOD
        assert reason == "its content type is text/html, not application/json"

    async def test_no_answer_is_not_understood(self, client: Client) -> None:
        parsed, [reason] = await parse(client, None)
        assert parsed == NOT_UNDERSTOOD
        assert reason.endswith("it closed the connection without an answer")

    async def test_what_was_not_understood_is_as_rasa_says_it(self) -> None:
        assert NOT_UNDERSTOOD == {"intent": {"name": "", "confidence": 0.0}, "entities": [], "text": ""}

    async def test_the_log_never_shows_the_token(self, client: Client) -> None:
        async with scripted(reply({}, 500)) as server:
            with capture_logs() as lines:
                await NluServer(client, at(server, token=Secret("geheim")), DOMAIN, "m").parse("hi", "c")
        assert len(lines) == 1
        assert "geheim" not in str(lines)
