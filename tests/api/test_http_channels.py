"""Channels: messages come in by requests and sockets, and what the bot says goes where it is awaited."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from socketio.exceptions import ConnectionError as Refused

from tests.api.chatting import CHANNEL, page, write_bot
from tests.api.conftest import ORIGIN, SECRET, TOKEN
from tests.api.http import Client, envelope, new_id
from tests.assistant.scripted import Scripted, reply, scripted
from tests.service import Answer, Service, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

GREETING = ["hello", "how are you?"]
CREDENTIALS = """
rest:
callback:
  url: {url}
  token: callback-t0ken
  headers: {{X-From: turnlog}}
socketio:
  session_persistence: true
chat_channels.Typed:
  greeting: ${{GREETING}}
rasa:
  url: http://localhost:5002/api
"""
EACH_ITS_OWN = f"""
socketio:
  namespace: chat
  socketio_path: /live
  metadata_key: customData
  jwt_key: {SECRET}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the services, with a bot and a channel in it."""
    folder = tmp_path_factory.mktemp("channels")
    write_bot(folder / "bot")
    (folder / "chat_channels.py").write_text(CHANNEL)
    return folder


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[Scripted]:
    """Where the callback channel posts to. It takes everything but what has a picture."""

    async def answer(request: Any) -> bytes:
        return reply({}, 200 if "image" not in request.json() else 500)

    async with scripted(answer) as sink:
        yield sink


@pytest.fixture(scope="module")
def chat(folder: Path, sink: Scripted) -> Iterator[Service]:
    """A service of one worker, with all channels, open to everybody."""
    (folder / "credentials.yml").write_text(CREDENTIALS.format(url=sink.url))
    flags: list[str | Path] = ["--enable-api", "-m", folder / "bot", "--cors", ORIGIN]
    with Service(folder, flags, environment={"GREETING": "well"}) as chat:
        chat.wait_until_ready()
        yield chat


@pytest.fixture(scope="module")
def locked(folder: Path, chat: Service, sink: Scripted) -> Iterator[Service]:
    """One of two workers over the same log, whose channels want a token or a JWT."""
    (folder / "locked.yml").write_text(CREDENTIALS.format(url=sink.url))
    flags: list[str | Path] = ["--enable-api", "-m", folder / "bot", "-i", "127.0.0.1", "--webhook-auth"]
    flags += ["--credentials", folder / "locked.yml"]
    secrets = {"TURNLOG_AUTH_TOKEN": TOKEN, "TURNLOG_JWT_SECRET": SECRET, "SANIC_WORKERS": "2", "GREETING": "well"}
    with Service(folder, flags, environment=secrets, data_dir=chat.data_dir) as locked:
        locked.wait_until_ready()
        yield locked


async def post(service: Service, path: str, body: object, **headers: str) -> Answer:
    """The answer to a POST; whoever serves this test's loop can serve meanwhile."""
    return await asyncio.to_thread(service.request, "POST", path, body, headers)


def texts(answer: Answer) -> list[str]:
    """The texts of messages in an answer."""
    return [message["text"] for message in answer.json()]


def user_of(service: Service, conversation: str, query: str = "") -> dict[str, Any]:
    """The last message of a conversation's user."""
    tracker = service.get(f"/conversations/{conversation}/tracker?include_events=ALL{query}").json()
    users = [event for event in tracker["events"] if event["event"] == "user"]
    found: dict[str, Any] = users[-1]
    return found


def bearer(username: str, role: str = "user") -> str:
    """A JWT for the service's key."""
    return jwt.encode({"user": {"username": username, "role": role}}, SECRET)


def failures(service: Service, channel: str) -> float:
    """How many failures of a channel were counted."""
    lines = service.get("/metrics").body.decode().splitlines()
    name = f'turnlog_channel_failures_total{{channel="{channel}"}}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


# --- rest -------------------------------------------------------------------------------------------------------------


def test_a_stream_has_a_line_for_each_message_and_ends(chat: Service) -> None:
    answer = chat.request(
        "POST", "/webhooks/rest/webhook?stream=true", {"sender": "s", "message": "/greet"}, {"X-Request-ID": "my-id"}
    )
    assert [json.loads(line)["text"] for line in answer.body.splitlines()] == GREETING
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["x-request-id"] == "my-id"


@pytest.mark.parametrize("query", ["", "?stream=true"])
def test_a_message_that_is_none_is_an_empty_answer_and_is_counted(chat: Service, query: str) -> None:
    before = failures(chat, "rest")
    answer = chat.request("POST", f"/webhooks/rest/webhook{query}", {"sender": "s", "message": 5})
    assert (answer.status, answer.body) == (200, b"" if query else b"[]")
    assert failures(chat, "rest") == before + 1


def test_a_connection_goes_on_after_a_stream(chat: Service) -> None:
    client = Client(chat.port)
    for message in ("/greet", 5, "/greet"):
        client.send("POST", "/webhooks/rest/webhook", {"sender": "k", "message": message}, query="?stream=true")
    assert client.get("/livez").status == 200
    client.close()
    assert not chat.logged("The response object returned by the route handler will not be sent to client.")


def test_an_empty_input_channel_means_rest(chat: Service) -> None:
    chat.request("POST", "/webhooks/rest/webhook", {"sender": "i", "message": "/greet", "input_channel": ""})
    assert user_of(chat, "i")["input_channel"] == "rest"


# --- callback ---------------------------------------------------------------------------------------------------------


async def test_callback_posts_each_message_in_order(chat: Service, sink: Scripted) -> None:
    sender = new_id()
    answer = await post(chat, "/webhooks/callback/webhook", {"sender": sender, "message": "/greet"})
    assert (answer.status, answer.body, answer.headers["content-type"]) == (
        200,
        b"success",
        "text/plain; charset=utf-8",
    )
    posted = [request for request in sink.requests if request.json()["recipient_id"] == sender]
    assert [request.json()["text"] for request in posted] == GREETING
    assert posted[0].query == [("token", "callback-t0ken")]
    assert posted[0].headers["x-from"] == "turnlog"
    assert user_of(chat, sender)["input_channel"] == "callback"


async def test_callback_says_everything_even_if_some_of_it_does_not_arrive(chat: Service, sink: Scripted) -> None:
    sender, before = new_id(), failures(chat, "callback")
    event = {"event": "bot", "text": "look", "data": {"image": "http://example.com/a.png"}}
    path = f"/conversations/{sender}/tracker/events?execute_side_effects=true&output_channel=callback"
    answer = await post(chat, path, [event, {"event": "bot", "text": "seen?"}])
    assert answer.status == 200
    posted = [request.json() for request in sink.requests if request.json()["recipient_id"] == sender]
    assert [message.get("text") for message in posted] == ["look", None, "seen?"]
    assert failures(chat, "callback") == before + 1


async def test_an_intent_is_answered_through_the_latest_channel(chat: Service, sink: Scripted) -> None:
    sender = new_id()
    await post(chat, "/webhooks/callback/webhook", {"sender": sender, "message": "/greet"})
    path = f"/conversations/{sender}/trigger_intent?output_channel=latest"
    assert (await post(chat, path, {"name": "menu"})).status == 200
    assert sink.requests[-1].json() == {"recipient_id": sender, "text": "all of it"}


async def test_answers_of_several_services_arrive_in_the_order_of_the_log(
    chat: Service, locked: Service, sink: Scripted
) -> None:
    sender = new_id()
    paths = [(chat, "/webhooks/callback/webhook"), (locked, f"/webhooks/callback/webhook?token={TOKEN}")] * 4
    await asyncio.gather(*(post(service, path, {"sender": sender, "message": "/greet"}) for service, path in paths))
    posted = [request.json() for request in sink.requests if request.json()["recipient_id"] == sender]
    assert [message["text"] for message in posted] == GREETING * len(paths)


@pytest.mark.parametrize("body", [{"sender": "x"}, {"message": 5}, []])
def test_callback_refuses_what_is_no_message(chat: Service, body: object) -> None:
    envelope(chat.request("POST", "/webhooks/callback/webhook", body), 400, "BadRequest")


# --- socketio ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_page_gets_a_session_and_hears_the_bot(chat: Service, transport: str) -> None:
    async with page(chat.port, transport) as widget:
        session = await widget.session()
        await widget.say("/greet ", session, metadata={"page": "shop"})
        assert await widget.hears(2) == [{"text": text} for text in GREETING]
    said = await asyncio.to_thread(user_of, chat, session)
    assert (said["text"], said["input_channel"], said["metadata"]["page"]) == ("/greet", "socketio", "shop")


async def test_choices_stand_below_the_last_paragraph_and_pictures_come_behind(chat: Service) -> None:
    async with page(chat.port) as widget:
        await widget.say("/menu", new_id())
        assert await widget.hears(3) == [
            {"text": "first", "quick_replies": []},
            {
                "text": "choose",
                "quick_replies": [
                    {"content_type": "text", "title": "yes", "payload": "/yes"},
                    {"content_type": "text", "title": "no", "payload": "no"},
                ],
            },
            {"attachment": {"type": "image", "payload": {"src": "http://example.com/menu.png"}}},
        ]


async def test_custom_messages_attachments_and_elements_are_sent_as_rasa_does(chat: Service) -> None:
    async with page(chat.port) as widget:
        await widget.say("/show", new_id())
        template = {"type": "template", "payload": {"template_type": "generic"}}
        assert await widget.hears(4) == [
            {"a": 1},
            {"attachment": {"type": "video"}},
            *[
                {"attachment": template | {"payload": {"template_type": "generic", "elements": {"title": title}}}}
                for title in ("one", "two")
            ],
        ]


async def test_every_page_of_a_session_hears_and_no_other(chat: Service) -> None:
    async with page(chat.port) as one, page(chat.port) as two, page(chat.port) as stranger:
        session = await one.session(new_id())
        assert await two.session(session) == session
        await one.say("/greet", session)
        assert await one.hears(2) == await two.hears(2)
        await stranger.say("/show", await stranger.session())
        assert (await stranger.hears(1)) == [{"a": 1}]


async def test_what_is_said_in_another_process_reaches_the_page(chat: Service, locked: Service) -> None:
    async with page(chat.port) as widget:
        session = await widget.session()
        await widget.say("/greet", session)
        await widget.hears(2)
        path = f"/conversations/{session}/trigger_intent?output_channel=latest&token={TOKEN}"
        assert (await post(locked, path, {"name": "greet"})).status == 200
        assert [message["text"] for message in await widget.hears(2)] == GREETING


async def test_a_message_without_a_session_or_without_sense_is_ignored_and_counted(chat: Service) -> None:
    before = failures(chat, "socketio")
    async with page(chat.port) as widget:
        await widget.say("/greet")
        await widget.say(["no", "text"], "s1")
        await widget.say("/greet", "s1", metadata="{")
        await widget.say("/greet", "x" * 2000)
        await widget.say("/greet", "s1")
        assert [message["text"] for message in await widget.hears(2)] == GREETING
    wait_until(lambda: failures(chat, "socketio") == before + 4, "four messages were refused")


async def test_without_persistence_each_connection_is_a_conversation_in_its_namespace(
    folder: Path, chat: Service
) -> None:
    (folder / "own.yml").write_text(EACH_ITS_OWN)
    flags: list[str | Path] = ["--enable-api", "-m", folder / "bot", "--credentials", folder / "own.yml"]
    service = Service(folder, flags, data_dir=chat.data_dir)
    with service:
        service.wait_until_ready()
        with pytest.raises(Refused):
            async with page(service.port, namespace="/chat", path="live"):
                pass
        connected = partial(page, service.port, namespace="/chat", path="live", auth={"token": bearer("ann")})
        async with connected() as one, connected() as two:
            assert await one.session("mine") == "mine"
            await one.say("/greet", "mine", customData='{"page": 1}')
            assert [message["text"] for message in await one.hears(2)] == GREETING
            await two.say("/show")
            assert await two.hears(1) == [{"a": 1}]
        assert service.request("GET", "/webhooks/rest").status == 404


async def test_a_service_that_stops_ends_the_connections(folder: Path, chat: Service) -> None:
    with Service(folder, ["-m", folder / "bot"], data_dir=chat.data_dir, environment={"GREETING": ""}) as service:
        service.wait_until_ready()
        async with page(service.port) as widget:
            await widget.say("/greet", new_id())
            await widget.hears(2)
            began = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(service.stop))
            await widget.is_left()
            assert await stopping == 0
            assert time.monotonic() - began < 15  # the time that connections have which do not end by themselves


# --- channels of the user's own ---------------------------------------------------------------------------------------


def test_a_channel_written_for_rasa_works(chat: Service) -> None:
    sender = new_id()
    answer = chat.request("POST", "/webhooks/typed/webhook", {"who": sender, "text": "/greet"})
    assert answer.json() == [{"recipient_id": sender, "text": text} for text in GREETING]
    assert answer.headers["x-request-id"]
    said = user_of(chat, sender)
    assert (said["input_channel"], said["metadata"]["lines"]) == ("typed", 1)


def test_its_credentials_are_its_section(chat: Service) -> None:
    assert chat.get("/webhooks/typed/").json() == {"status": "well"}


def test_its_output_falls_back_to_texts_and_its_failures_are_counted(chat: Service) -> None:
    sender, before = new_id(), failures(chat, "typed")
    printed = chat.request("POST", "/webhooks/typed/print", {"who": sender, "text": "/show"}).json()
    assert printed[-4:] == [
        f'{sender}: {{"data": {{"a": 1}}}}',
        f"{sender}: Attachment: {{'type': 'video'}}",
        f"{sender}: one : ",
        f"{sender}: two : ",
    ]
    assert chat.request("POST", "/webhooks/typed/print", {"who": sender, "text": "/menu"}).status == 200
    assert failures(chat, "typed") == before + 1


def test_a_browser_may_ask_for_its_paths(chat: Service) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for path in ("/webhooks/typed/webhook", "/webhooks/callback/webhook", "/socket.io/"):
        answer = chat.request("OPTIONS", path, headers=asked)
        assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_its_requests_are_counted(chat: Service) -> None:
    chat.get("/webhooks/typed/")
    assert 'turnlog_http_request_seconds_count{endpoint="typed",method="GET",status="200"}' in (
        chat.get("/metrics").body.decode()
    )


# --- authentication ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["rest", "callback", "typed"])
async def test_protected_webhooks_want_a_token_or_the_senders_own_jwt(locked: Service, channel: str) -> None:
    def body(sender: str) -> dict[str, str]:
        return {"sender": sender, "who": sender, "message": "/greet", "text": "/greet"}

    path = f"/webhooks/{channel}/webhook"
    envelope(await post(locked, path, body("ann")), 401, "NotAuthenticated")
    envelope(await post(locked, path, body("bob"), Authorization=f"Bearer {bearer('ann')}"), 403, "NotAuthorized")
    assert (await post(locked, path, body("ann"), Authorization=f"Bearer {bearer('ann')}")).status == 200
    assert (await post(locked, path, body("bob"), Authorization=f"Bearer {bearer('eve', 'admin')}")).status == 200
    assert (await post(locked, f"{path}?token={TOKEN}", body("ann"))).status == 200


@pytest.mark.parametrize("channel", ["rest", "callback", "socketio", "typed"])
def test_the_health_of_a_protected_channel_is_no_secret(locked: Service, channel: str) -> None:
    assert locked.get(f"/webhooks/{channel}/").status == 200


@pytest.mark.parametrize("auth", [None, {"token": "wrong"}, {"token": bearer("ann", "guest")}])
async def test_a_protected_socket_refuses_strangers(locked: Service, auth: object) -> None:
    with pytest.raises(Refused):
        async with page(locked.port, auth=auth):
            pass


async def test_a_jwts_user_has_one_session_in_a_protected_socket(chat: Service, locked: Service) -> None:
    ann = new_id()
    async with page(locked.port, auth={"token": bearer(ann)}) as widget:
        assert await widget.session() == ann
        await widget.say("/show", "somebody-else")
        await widget.say("/greet", ann)
        assert [message["text"] for message in await widget.hears(2)] == GREETING
    tracker = await asyncio.to_thread(chat.get, "/conversations/somebody-else/tracker?include_events=ALL")
    assert not [event for event in tracker.json()["events"] if event["event"] == "user"]


async def test_a_token_in_the_address_opens_a_protected_socket(locked: Service) -> None:
    async with page(locked.port, query=f"?token={TOKEN}") as widget:
        assert await widget.session("any") == "any"


# --- several workers --------------------------------------------------------------------------------------------------


async def test_several_workers_take_websockets_alone_and_say_so(locked: Service) -> None:
    with pytest.raises(Refused):
        async with page(locked.port, "polling", query=f"?token={TOKEN}"):
            pass
    (line,) = [line for line in locked.lines() if "websocket" in line["event"]]
    assert line["level"] == "warning"


async def test_pages_of_one_session_hear_whichever_worker_they_are_connected_to(locked: Service) -> None:
    connected = partial(page, locked.port, query=f"?token={TOKEN}")
    async with connected() as a, connected() as b, connected() as c, connected() as d:
        session = new_id()
        for widget in (a, b, c, d):
            await widget.session(session)
        await a.say("/greet", session)
        for widget in (a, b, c, d):
            assert [message["text"] for message in await widget.hears(2)] == GREETING
