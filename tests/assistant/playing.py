"""Recorded bots played again: the service runs one over HTTP, says what was said, and tells what came of it.

What comes of a step has the form of the recordings: ids are `<ID>`, numbers have four digits behind the point.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from assistant.archive import load_model, save_model
from tests.assistant.bots import BOTS, Json, normal_wire, script_of
from tests.assistant.scripted import reply, scripted
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.assistant.scripted import Request
    from tests.postgres import Server

Step = str | Json


class ActionServer:
    """Answers as the bot's script says: with the first case of an action whose conditions hold.

    `calls` are what it was asked since they were taken last.
    """

    def __init__(self, script: Json) -> None:
        self._script = script
        self._counts: Counter[tuple[str, str]] = Counter()
        self._calls: list[Json] = []

    async def answer(self, request: Request) -> bytes:
        """The answer to one call."""
        asked = request.json()
        action, tracker = asked["next_action"], asked["tracker"]
        self._counts[asked["sender_id"], action] += 1
        self._calls.append(_call(action, tracker))
        if action not in self._script:
            return reply({"error": f"No registered action found for name '{action}'.", "action_name": action}, 404)
        facts = _facts(tracker) | {"count": self._counts[asked["sender_id"], action]}
        case: Json = next((case for case in self._script[action] if _holds(case.get("when") or {}, facts, tracker)), {})
        status = case.get("status", 200)
        if status == 400:
            return reply({"error": "rejected", "action_name": action}, 400)
        return reply(case.get("reply", {"events": [], "responses": []}), status)

    def taken_calls(self) -> list[Json]:
        """The calls since this was asked last."""
        calls, self._calls = self._calls, []
        return calls


class Player:
    """Talks to a service that runs a bot."""

    def __init__(self, service: Service, actions: ActionServer) -> None:
        self._service, self._actions = service, actions

    async def play(self, conversation: str, steps: list[Step]) -> list[Json]:
        """What comes of each step of a dialogue."""
        seen, results = 0, []
        for step in steps:
            sent = {"message": step} if isinstance(step, str) else step
            result: Json = {"send": sent} | await self._result(conversation, sent)
            if "sleep" not in sent and "parse" not in sent:
                state = await self._state(conversation)
                events = state.pop("events", [])
                result |= {"events": [normal_wire(event) for event in events[seen:]], "state": state}
                seen = len(events)
            results.append(_rounded(result))
        return results

    async def _result(self, conversation: str, sent: Json) -> Json:
        if "sleep" in sent:
            await asyncio.sleep(sent["sleep"])
            return {}
        self._actions.taken_calls()
        status, value = await self._send("POST", *_request(conversation, sent), conversation)
        calls = self._actions.taken_calls()
        result: Json = {} if status == 200 else {"status": status}
        if calls:
            result["action_calls"] = calls
        return result | _said(sent, status, value)

    async def _state(self, conversation: str) -> Json:
        """The tracker as it is recorded, with its events."""
        path = f"/conversations/{conversation}/tracker?include_events=ALL"
        _, tracker = await self._send("GET", path, None, conversation)
        return {
            "events": tracker["events"],
            "slots": _set(tracker["slots"]),
            "active_loop": _loop(tracker),
            "latest_action_name": tracker["latest_action_name"],
            "followup_action": tracker["followup_action"],
            "paused": tracker["paused"],
            "latest_intent": _intent(tracker),
        }

    async def _send(self, method: str, path: str, body: object, conversation: str) -> tuple[int, Any]:
        answer = await asyncio.to_thread(self._service.request, method, path, body)
        return answer.status, json.loads(answer.body.decode().replace(conversation, "<ID>"))


class Stage:
    """A service on which one bot plays after the other, with the bot's action server."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._folder = service, folder
        self._actions = ActionServer({})

    async def answer(self, request: Request) -> bytes:
        """What the action server of the bot that plays answers."""
        return await self._actions.answer(request)

    async def enter(self, bot: str) -> Player:
        """Let a bot play: the service gets its model."""
        archive = self._folder / f"{bot}.tar.gz"
        save_model(load_model(BOTS / bot).model, archive)
        answer = await asyncio.to_thread(self._service.request, "PUT", "/model", {"model_file": str(archive)})
        assert answer.status == 204, answer.body
        self._actions = ActionServer(script_of(bot))
        return Player(self._service, self._actions)


@asynccontextmanager
async def staging(server: Server, folder: Path) -> AsyncIterator[Stage]:
    """A stage, on a database of its own."""
    endpoints = folder / "endpoints.yml"
    flags: list[str | Path] = ["--enable-api", "-i", "127.0.0.1", "--endpoints", endpoints]
    async with server.database() as database:
        service = Service(folder, flags, environment={"DATABASE_URL": database.dsn})
        stage = Stage(service, folder)
        async with scripted(stage.answer) as scripted_server:
            endpoints.write_text(f"action_endpoint:\n  url: {scripted_server.url}\n")
            with service:
                await asyncio.to_thread(service.wait_until_ready)
                yield stage


# --- requests and answers ---------------------------------------------------------------------------------------------


def _request(conversation: str, sent: Json) -> tuple[str, Json | list[Json] | None]:
    """Path and body of the request for a step."""
    path = f"/conversations/{conversation}"
    more = {key: value for key, value in sent.items() if value is not None}
    match sent:
        case {"message": text}:
            channel = {"input_channel": more.pop("channel")} if "channel" in more else {}
            return "/webhooks/rest/webhook", {**more, "sender": conversation, "message": text} | channel
        case {"append": text}:
            del more["append"]
            return f"{path}/messages", {**more, "text": text, "sender": "user"}
        case {"predict": _}:
            return f"{path}/predict", None
        case {"execute": name}:
            del more["execute"]
            return f"{path}/execute", {**more, "name": name}
        case {"trigger": intent}:
            return f"{path}/trigger_intent", {"name": intent, "entities": sent.get("entities")}
        case {"events": events}:
            return f"{path}/tracker/events", events
    return "/model/parse", {"text": sent["parse"]}


def _said(sent: Json, status: int, value: Any) -> Json:
    """What an answer says beside its status."""
    if "message" in sent:
        return {"responses": value}
    if status != 200:
        return {}
    if "parse" in sent:
        return {"parse": {key: item for key, item in value.items() if key not in ("message_id", "metadata")}}
    if "predict" in sent:
        scores = [[item["action"], item["score"]] for item in value["scores"] if item["score"] > 0]
        return {"predict": {"policy": value["policy"], "confidence": value["confidence"], "scores": scores[:5]}}
    return {"responses": value["messages"]} if "messages" in value else {}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


# --- what the action server sees --------------------------------------------------------------------------------------


def _call(action: str, tracker: Json) -> Json:
    """A call as it is recorded."""
    since: list[Json] = []
    for event in reversed(tracker["events"] or []):
        if event["event"] == "user":
            break
        since.insert(0, normal_wire(event))
    slots = {name: value for name, value in _set(tracker["slots"]).items() if name != "session_started_metadata"}
    return {
        "action": action,
        "slots": slots,
        "active_loop": _loop(tracker),
        "latest_action_name": tracker["latest_action_name"],
        "events_since_user": since,
    }


def _facts(tracker: Json) -> Json:
    return {
        "intent": _intent(tracker),
        "text": (tracker["latest_message"] or {}).get("text"),
        "loop": (tracker["active_loop"] or {}).get("name"),
    }


def _holds(when: Json, facts: Json, tracker: Json) -> bool:
    slots, last_slots = tracker["slots"], _last_slots(tracker["events"] or [])
    return (
        all(facts[key] == value for key, value in when.items() if key in facts)
        and all(slots.get(name) == value for name, value in when.get("slots", {}).items())
        and all(slots.get(name) is not None for name in when.get("slot_set", ()))
        and all(slots.get(name) is None for name in when.get("slot_unset", ()))
        and all(
            name in last_slots and last_slots[name] == value for name, value in when.get("last_event_slots", {}).items()
        )
    )


def _last_slots(events: list[Json]) -> Json:
    """The slots that the last events set."""
    slots: Json = {}
    for event in reversed(events):
        if event["event"] != "slot":
            break
        slots.setdefault(event["name"], event["value"])
    return slots


def _set(slots: Json) -> Json:
    return {name: value for name, value in slots.items() if value is not None}


def _loop(tracker: Json) -> Json:
    return {key: value for key, value in (tracker["active_loop"] or {}).items() if key != "trigger_message"}


def _intent(tracker: Json) -> str | None:
    intent: Json = (tracker["latest_message"] or {}).get("intent") or {}
    return intent.get("name")
