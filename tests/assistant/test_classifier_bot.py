"""A bot that understands by a LogisticRegressionClassifier, in a conversation: sure, unsure, and given up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.postgres import Server

BOT = Path(__file__).parents[1] / "data" / "classifier_bot"

Json = dict[str, Any]


class Talk:
    """A service with the bot, and what is said in its conversations."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def send(self, path: str, body: Json) -> Any:
        """What is answered to a POST."""
        return (await asyncio.to_thread(self._service.request, "POST", path, body)).json()

    async def say(self, conversation: str, text: str) -> list[Json]:
        return list(await self.send("/webhooks/rest/webhook", {"sender": conversation, "message": text}))

    async def texts(self, conversation: str, text: str) -> list[str]:
        return [message["text"] for message in await self.say(conversation, text)]

    async def latest_message(self, conversation: str) -> Json:
        answer = await asyncio.to_thread(self._service.get, f"/conversations/{conversation}/tracker")
        return dict(answer.json()["latest_message"])


@pytest.fixture(scope="module")
async def bot(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    flags: list[str | Path] = ["--enable-api", "-i", "127.0.0.1", "-m", BOT]
    async with server.database() as database:
        folder = tmp_path_factory.mktemp("classifier")
        with Service(folder, flags, environment={"DATABASE_URL": database.dsn}) as service:
            await asyncio.to_thread(service.wait_until_ready)
            yield Talk(service)


async def test_messages_that_no_example_has_are_answered(bot: Talk) -> None:
    assert await bot.texts("sure", "hello you") == ["Hello. What would you like?"]
    assert await bot.texts("sure", "one pizza with olives, please") == ["A pizza is on its way."]
    assert await bot.texts("sure", "something cold to drink") == ["A drink is on its way."]


async def test_the_ranking_is_in_the_log(bot: Talk) -> None:
    await bot.say("logged", "one pizza with olives, please")
    ranking = (await bot.latest_message("logged"))["intent_ranking"]
    assert [intent["name"] for intent in ranking] == ["order_pizza", "order_drink", "greet"]


async def test_of_a_message_with_a_low_confidence_it_asks_whether_it_was_understood(bot: Talk) -> None:
    (question,) = await bot.say("unsure", "what is the weather on mars")
    assert question["text"] == "Did you mean 'order_drink'?"
    assert question["buttons"][0]["payload"] == "/order_drink"
    assert await bot.texts("unsure", "/order_drink") == ["A drink is on its way."]


async def test_so_it_does_of_one_that_may_mean_two_things(bot: Talk) -> None:
    fallback, first, second, _ = (await bot.send("/model/parse", {"text": "i want something"}))["intent_ranking"]
    assert fallback == {"name": "nlu_fallback", "confidence": 0.45}
    assert first["confidence"] > 0.45
    assert first["confidence"] - second["confidence"] < 0.2
    assert await bot.texts("ambiguous", "i want something") == ["Did you mean 'order_drink'?"]


async def test_after_a_no_it_asks_again_and_then_gives_up(bot: Talk) -> None:
    await bot.say("lost", "what is the weather on mars")
    assert await bot.texts("lost", "/out_of_scope") == ["Please say it otherwise."]
    await bot.say("lost", "i want something")
    assert await bot.texts("lost", "/out_of_scope") == ["I give up."]


async def test_a_message_in_other_words_is_understood_in_place_of_the_first(bot: Talk) -> None:
    await bot.say("reworded", "i want something")
    assert await bot.texts("reworded", "a pizza with olives") == ["A pizza is on its way."]


@pytest.mark.parametrize("text", ["\N{WAVING HAND SIGN}", "早上好", "weather " * 12_000])
async def test_whatever_comes_there_is_an_answer(bot: Talk, text: str) -> None:
    assert await bot.say(f"any-{len(text)}", text)
