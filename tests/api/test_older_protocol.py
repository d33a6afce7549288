"""The protocol of rasa_core 0.9: clients that run the actions themselves, by real HTTP."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.resources.older import PAGE
from tests.api.http import Client, new_id
from tests.service import Answer, Service, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTS: Final = Path(__file__).parent.parent / "data" / "old_bots"
EMPTY: Final = {"cuisine": None, "info": None, "location": None, "matches": None, "people": None, "price": None}
GREET: Final = {
    "entities": [],
    "intent": {"confidence": 1.0, "name": "greet"},
    "intent_ranking": [{"confidence": 1.0, "name": "greet"}],
    "text": "/greet",
}
NOTHING_SAID: Final[dict[str, Any]] = {"entities": [], "intent": {}, "text": None}
LISTENING: Final = ("action", "action_listen")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bot of that age as it was written then: its domain says that the actions are somewhere else."""
    bot = tmp_path_factory.mktemp("older") / "bot"
    shutil.copytree(BOTS / "remote", bot)
    domain = bot / "domain.yml"
    domain.write_text("action_factory: remote\n" + domain.read_text())
    return bot


@pytest.fixture(scope="module")
def service(remote: Path) -> Iterator[Service]:
    """A service that speaks the protocol of 0.9, with two workers."""
    flags: list[str | Path] = ["--enable-api", "--protocol", "0.9", "-m", remote]
    with Service(remote.parent, flags, environment={"SANIC_WORKERS": "2"}) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture(scope="module")
def today(remote: Path, service: Service) -> Iterator[Service]:
    """A service with the same bot and the same log that speaks the protocol of today."""
    flags: list[str | Path] = ["--enable-api", "-m", remote]
    with Service(remote.parent, flags, data_dir=service.data_dir) as today:
        today.wait_until_ready()
        yield today


@pytest.fixture(scope="module")
def local(remote: Path, service: Service) -> Iterator[Service]:
    """A service with a bot that says something itself."""
    flags: list[str | Path] = ["--enable-api", "--protocol", "0.9", "-m", BOTS / "local"]
    with Service(remote.parent, flags, data_dir=service.data_dir) as local:
        local.wait_until_ready()
        yield local


def ask(service: Service, name: str, what: str, body: object, **headers: str) -> Answer:
    """The answer to a request of the loop; underscores in the names of headers become dashes."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return service.request("POST", f"/conversations/{name}/{what}", body, headers)


def parse(service: Service, name: str, text: str) -> Any:
    """What a client is told when it sends a message."""
    answer = ask(service, name, "parse", {"query": text})
    assert answer.status == 200, answer.body
    return answer.json()


def go_on(service: Service, name: str, action: str | None, *events: object) -> Any:
    """What a client is told when it has run an action."""
    answer = ask(service, name, "continue", {"executed_action": action, "events": events})
    assert answer.status == 200, answer.body
    return answer.json()


def tracker(service: Service, name: str, query: str = "") -> Any:
    """The state of a conversation."""
    return service.get(f"/conversations/{name}/tracker{query}").json()


def told(service: Service, name: str, query: str = "?ignore_restarts=true") -> list[tuple[str, ...]]:
    """Types of a conversation's events, with what names or says them."""
    events = tracker(service, name, query)["events"]
    return [(event["event"], *(event[key] for key in ("name", "text") if key in event)) for event in events]


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_the_loop_goes_as_the_documents_say(service: Service) -> None:
    name = new_id()
    heard = parse(service, name, "/greet")
    assert heard["next_action"] == "utter_ask_howcanhelp"
    assert heard["tracker"] == {
        "events": None,
        "latest_event_time": heard["tracker"]["latest_event_time"],
        "latest_message": GREET,
        "paused": False,
        "sender_id": name,
        "slots": EMPTY,
    }
    assert go_on(service, name, "utter_ask_howcanhelp")["next_action"] == "action_listen"
    said = ("user", "/greet"), ("action", "utter_ask_howcanhelp")
    assert told(service, name) == [LISTENING, *said, LISTENING]


def test_an_answer_is_one_line_of_json_with_sorted_keys(service: Service) -> None:
    answer = ask(service, new_id(), "parse", {"q": '/inform{"cuisine": "ä"}'})
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode() == json.dumps(answer.json(), sort_keys=True, separators=(",", ":")) + "\n"


def test_entities_fill_the_slots_of_their_names_and_what_is_sent_changes_what_follows(service: Service) -> None:
    name = new_id()
    everything = '/inform{"cuisine": "mexican", "location": "rome", "people": "four", "price": "cheap"}'
    assert parse(service, name, everything)["next_action"] == "utter_on_it"
    assert go_on(service, name, "utter_on_it")["next_action"] == "utter_ack_dosearch"
    assert go_on(service, name, "utter_ack_dosearch")["next_action"] == "search_restaurants"
    found = {"event": "slot", "name": "matches", "value": ["Papi's Pizza Place"]}
    shown = go_on(service, name, "search_restaurants", found)
    assert shown["next_action"] == "suggest"
    filled = {"cuisine": "mexican", "location": "rome", "people": "four", "price": "cheap", "matches": found["value"]}
    assert shown["tracker"]["slots"] == EMPTY | filled


def test_slots_are_reset(service: Service) -> None:
    name = new_id()
    parse(service, name, '/inform{"cuisine": "thai"}')
    assert go_on(service, name, "utter_on_it", {"event": "reset_slots"})["tracker"]["slots"] == EMPTY


def test_after_a_restart_the_bot_listens_whatever_follows(service: Service) -> None:
    name = new_id()
    parse(service, name, '/inform{"cuisine": "thai"}')
    price = {"event": "slot", "name": "price", "value": "low"}
    shown = go_on(service, name, "utter_on_it", {"event": "restart"}, price)
    assert (shown["next_action"], shown["tracker"]["latest_message"]) == ("action_listen", NOTHING_SAID)
    assert shown["tracker"]["slots"] == EMPTY | {"price": "low"}
    assert told(service, name, "") == [("slot", "price"), LISTENING]


def test_the_intent_restart_asks_for_the_restart_until_it_has_come(service: Service) -> None:
    name = new_id()
    assert parse(service, name, "/restart")["next_action"] == "action_restart"
    assert go_on(service, name, "action_restart")["next_action"] == "action_restart"
    assert go_on(service, name, "action_restart", {"event": "restart"})["next_action"] == "action_listen"
    assert parse(service, name, "/greet")["next_action"] == "utter_ask_howcanhelp"


def test_nothing_is_to_be_done_after_listening_and_events_with_it_are_not_lost_silently(service: Service) -> None:
    name = new_id()
    parse(service, name, "/greet")
    go_on(service, name, "utter_ask_howcanhelp")
    before = told(service, name)
    only = go_on(service, name, "action_listen")
    assert only["next_action"] is None
    assert only["info"].endswith("You are expected to call 'parse' with the next user message.")
    assert go_on(service, name, "action_listen", {"event": "pause"})["info"].endswith("request were left out.")
    assert told(service, name) == before


def test_a_restart_of_another_request_demands_nothing(service: Service) -> None:
    name = new_id()
    parse(service, name, "/greet")
    service.post(name, [{"event": "restart"}])
    assert go_on(service, name, None)["next_action"] == "action_listen"
    service.post(name, [{"event": "restart"}, {"event": "slot", "name": "cuisine", "value": "mexican"}])
    assert go_on(service, name, None)["next_action"] == "utter_default"


def test_a_message_counts_at_once_though_the_bot_does_not_listen(service: Service) -> None:
    name = new_id()
    parse(service, name, "/greet")
    understood = {"intent": {"name": "inform"}, "entities": []}
    shown = go_on(service, name, "utter_ask_howcanhelp", {"event": "user", "text": "x", "parse_data": understood})
    assert (shown["next_action"], shown["tracker"]["latest_message"]) == ("utter_default", understood)


def test_a_followup_of_later_ages_comes_first(service: Service) -> None:
    name = new_id()
    assert go_on(service, name, None, {"event": "followup", "name": "suggest"})["next_action"] == "suggest"
    assert go_on(service, name, "suggest")["next_action"] == "utter_default"


def test_a_message_to_a_paused_bot_is_kept(service: Service) -> None:
    name = new_id()
    parse(service, name, "/handoff")
    assert go_on(service, name, "handoff_to_human", {"event": "pause"})["next_action"] == "action_listen"
    heard = parse(service, name, "/greet")
    assert (heard["next_action"], heard["info"]) == (None, "Bot is currently paused and no restart was received yet.")
    assert (heard["tracker"]["paused"], told(service, name)[-1]) == (True, ("user", "/greet"))
    assert parse(service, name, "/restart")["next_action"] == "action_restart"


def test_what_says_no_event_is_dropped_and_times_are_kept(service: Service) -> None:
    name = new_id()
    late = {"event": "slot", "name": "price", "value": "low", "timestamp": 1500000000.25}
    shown = go_on(service, name, None, {"no": "event"}, "slot", {"event": "bot", "text": "hi"}, late)
    assert shown["tracker"]["latest_event_time"] == 1500000000.25
    assert told(service, name) == [LISTENING, ("bot", "hi"), ("slot", "price")]


@pytest.mark.parametrize(
    ("what", "body", "error"),
    [
        ("parse", {}, "Invalid parse parameter specified"),
        ("parse", {"query": None}, "Invalid parse parameter specified"),
        ("parse", [], "The body must be a JSON object."),
        ("respond", {"query": 1}, "Invalid parse parameter specified"),
        ("continue", {"executed_action": "dance"}, "Can not execute action 'dance' as it is not listed"),
        ("continue", {"executed_action": ["suggest"]}, "Can not execute action '['suggest']' as it is not listed"),
        ("continue", {"events": 1}, "Events must be a list of objects, not 1"),
        ("continue", {"events": [{"event": "dance"}]}, "This is no event: {'event': 'dance'}"),
        ("continue", {"events": [{"event": "slot", "value": 1}]}, "This is no event: "),
        ("continue", {"events": [{"event": "user", "text": "hi"}]}, "The parse_data of a user event must hold"),
        ("tracker/events", {"event": "restart"}, "This is no event: "),
    ],
)
def test_a_wrong_request_is_told_in_one_sentence_and_leaves_nothing(
    service: Service, what: str, body: object, error: str
) -> None:
    name = new_id()
    answer = ask(service, name, what, body)
    assert (answer.status, list(answer.json())) == (400, ["error"])
    assert answer.json()["error"].startswith(error)
    assert name not in service.get("/conversations").json()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_bodies_in_other_encodings_are_read(service: Service, encoding: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("POST", f"/conversations/{new_id()}/parse", json.dumps({"query": "/greet"}).encode(encoding))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["next_action"] == "utter_ask_howcanhelp"


def test_messages_come_in_the_query_of_a_get(service: Service) -> None:
    name = new_id()
    assert service.get(f"/conversations/{name}/parse?q=%2Fgreet").json()["tracker"]["latest_message"] == GREET
    assert service.get(f"/conversations/{name}/respond?query=&q=%2Fgreet").json() == []
    assert told(service, name)[-3:] == [("user", ""), ("action", "utter_default"), LISTENING]


# --- written once -----------------------------------------------------------------------------------------------------


def test_messages_at_the_same_time_are_all_kept(service: Service) -> None:
    name, texts = new_id(), [f'/inform{{"people": {number}}}' for number in range(30)]
    with ThreadPoolExecutor(len(texts)) as pool:
        assert len(list(pool.map(lambda text: parse(service, name, text), texts))) == len(texts)
    events = told(service, name)
    assert sorted(event[1] for event in events if event[0] == "user") == sorted(texts)
    assert events.count(("slot", "people")) == len(texts)


def test_a_repeated_request_is_done_once_and_told_the_same(service: Service) -> None:
    name = new_id()
    for what, body in [
        ("parse", {"query": "/greet"}),
        ("continue", {"executed_action": "utter_ask_howcanhelp", "events": []}),
        ("respond", {"query": "/thankyou"}),
    ]:
        first, again = (ask(service, name, what, body, idempotency_key=what) for _ in range(2))
        assert (again.status, again.body, again.headers["etag"]) == (200, first.body, first.headers["etag"])
        assert again.headers["idempotency-replayed"] == "true"
    actions = [event for event in told(service, name) if event[0] == "action"]
    assert [action for _, action in actions][1::2] == ["utter_ask_howcanhelp", "utter_default"]


def test_a_condition_that_does_not_hold_refuses_the_request(service: Service) -> None:
    name = new_id()
    etag = ask(service, name, "parse", {"query": "/greet"}).headers["etag"]
    done = {"executed_action": "utter_ask_howcanhelp"}
    assert [ask(service, name, "continue", done, if_match=etag).status for _ in range(2)] == [200, 412]
    assert told(service, name).count(("action", "utter_ask_howcanhelp")) == 1


def test_what_is_repeated_after_a_worker_was_killed_is_done_once(service: Service) -> None:
    name = new_id()
    parse(service, name, "/greet")

    def insist(number: int) -> None:
        body = {"executed_action": None, "events": [{"event": "slot", "name": "people", "value": number}]}

        def is_done() -> bool:
            try:
                return ask(service, name, "continue", body, idempotency_key=str(number)).status == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(is_done, f"{number} is written")

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(insist, number) for number in range(60)]
        for number in (1, 2):
            wait_until(lambda: any(future.done() for future in work), "some is written")
            send_signal(service.pid_of(f"worker-{number}"), signal.SIGKILL)
        for future in work:
            future.result()
    slots = [event["value"] for event in tracker(service, name)["events"] if event["event"] == "slot"]
    assert sorted(slots) == list(range(60))


# --- trackers ---------------------------------------------------------------------------------------------------------


def test_a_conversation_begins_when_it_is_looked_at(service: Service) -> None:
    name = new_id()
    begun = tracker(service, name)
    assert [(event["event"], event["name"]) for event in begun["events"]] == [LISTENING]
    assert (begun["latest_message"], begun["slots"]) == (NOTHING_SAID, EMPTY)
    assert tracker(service, name) == begun


def test_events_are_shown_as_the_query_says(service: Service) -> None:
    name = new_id()
    go_on(service, name, None, {"event": "pause"}, {"event": "restart"})
    assert told(service, name, "") == [LISTENING]
    assert told(service, name) == [LISTENING, ("pause",), ("restart",), LISTENING]
    assert tracker(service, name, "?events=1")["events"] is None
    assert tracker(service, name, "?events=True&events=false")["events"] is not None


def test_a_tracker_is_shown_as_it_was_at_a_time(service: Service) -> None:
    name = new_id()
    slots = [
        {"event": "slot", "name": "people", "value": number, "timestamp": 1500000000.5 + number} for number in range(3)
    ]
    shown = service.request("PUT", f"/conversations/{name}/tracker", slots).json()
    assert (shown["slots"]["people"], [event["value"] for event in shown["events"]]) == (2, [0, 1, 2])
    assert tracker(service, name, "?until=1500000001.5")["slots"]["people"] == 1
    for never in ("0", "-1", "nan"):
        assert tracker(service, name, f"?until={never}")["latest_event_time"] is None
    assert service.get(f"/conversations/{name}/tracker?until=").status == 400


def test_a_replaced_conversation_may_be_empty(service: Service) -> None:
    name = new_id()
    parse(service, name, "/greet")
    assert service.request("PUT", f"/conversations/{name}/tracker", []).json()["events"] == []
    assert tracker(service, name)["events"] == []
    service.post(name, [{"event": "pause"}])
    assert told(service, name) == [("pause",)]


def test_posted_events_are_answered_without_events(service: Service) -> None:
    name = new_id()
    shown = service.post(name, [{"event": "slot", "name": "price", "value": "low"}]).json()
    assert (shown["events"], shown["slots"]["price"]) == (None, "low")
    assert service.post(name, []).json() == shown
    assert told(service, name) == [LISTENING, ("slot", "price")]


def test_a_reminder_keeps_its_action(service: Service) -> None:
    name = new_id()
    reminder = {"event": "reminder", "action": "suggest", "date_time": "2099-01-02T03:04:05.5Z", "name": "r"}
    go_on(service, name, None, reminder)
    shown = tracker(service, name)["events"][1]
    assert (shown["action"], shown["date_time"]) == ("suggest", "2099-01-02T03:04:05")


def test_no_file_is_written_for_an_export(service: Service, tmp_path: Path) -> None:
    target = tmp_path / "stories.md"
    name = new_id()
    assert ask(service, name, "continue", {"events": [{"event": "export", "timestamp": str(target)}]}).status == 400
    go_on(service, name, None, {"event": "export", "path": str(target)})
    assert (target.exists(), told(service, name)) == (False, [LISTENING, ("export",)])


def test_conversations_are_listed_in_order_of_creation(service: Service) -> None:
    names, client = [new_id() for _ in range(PAGE + 50)], Client(service.port)
    for name in reversed(names):
        assert client.send("PUT", f"/conversations/{name}/tracker", []).status == 200
    client.close()
    listed = service.get("/conversations")
    assert listed.headers["content-type"] == "application/json"
    assert [name for name in listed.json() if name in names] == names[::-1]


# --- answers in one request -------------------------------------------------------------------------------------------


def test_choices_are_called_data_in_an_answer(local: Service) -> None:
    name = new_id()
    answer = ask(local, name, "respond", {"query": "/inform"})
    assert answer.json() == [
        {"recipient_id": name, "text": "I'm on it"},
        {
            "data": [
                {"payload": '/inform{"cuisine": "mexican"}', "title": "Mexican"},
                {"payload": '/inform{"cuisine": "indian"}', "title": "Indian"},
            ],
            "recipient_id": name,
            "text": "what kind of cuisine would you like?",
        },
    ]


def test_an_answer_says_each_paragraph_and_what_is_said_comes_before_the_action(local: Service) -> None:
    name = new_id()
    answer = ask(local, name, "respond", {"query": "/goodbye"})
    assert [message["text"] for message in answer.json()] == ["goodbye :(", "see you, Zoë"]
    said = [("user", "/goodbye"), ("bot", "goodbye :(\n\nsee you, Zoë"), ("action", "utter_goodbye")]
    assert told(local, name) == [LISTENING, *said, LISTENING]


def test_a_repeated_answer_says_the_same_once_more(local: Service) -> None:
    name = new_id()
    first, again = (ask(local, name, "respond", {"query": "/inform"}, idempotency_key="k") for _ in range(2))
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    assert told(local, name).count(("user", "/inform")) == 1


def test_a_paused_bot_answers_nothing_but_a_restart(local: Service) -> None:
    name = new_id()
    local.post(name, [{"event": "pause"}])
    assert ask(local, name, "respond", {"query": "/greet"}).json() == []
    assert told(local, name) == [LISTENING, ("pause",), ("user", "/greet")]
    ask(local, name, "respond", {"query": "/restart"})
    assert (told(local, name, ""), tracker(local, name)["paused"]) == ([LISTENING], False)


# --- beside the protocol of today -------------------------------------------------------------------------------------


def test_the_loop_goes_where_the_protocol_is_that_of_today(today: Service) -> None:
    name = new_id()
    assert parse(today, name, "/greet")["next_action"] == "utter_ask_howcanhelp"
    assert go_on(today, name, "utter_ask_howcanhelp")["next_action"] == "action_listen"
    shown = today.get(f"/conversations/{name}/tracker").json()
    begun = [(event["event"], event.get("name")) for event in shown["events"][:3]]
    assert begun == [("action", "action_session_start"), ("session_started", None), LISTENING]
    assert (shown["latest_action_name"], shown["latest_message"]["text"]) == ("action_listen", "/greet")


def test_parameters_of_the_older_protocol_ask_for_its_state(today: Service) -> None:
    name = new_id()
    parse(today, name, "/greet")
    assert "active_loop" in tracker(today, name)
    assert tracker(today, name, "?events=false").keys() == parse(today, name, "/greet")["tracker"].keys()
    told_now = told(today, name)
    assert told_now == [("action", "action_session_start"), LISTENING, ("user", "/greet"), ("user", "/greet")]


def test_an_unknown_conversation_is_not_begun_where_the_protocol_is_that_of_today(today: Service) -> None:
    name = new_id()
    assert told(today, name) == [("action", "action_session_start"), LISTENING]
    assert name not in today.get("/conversations").json()


def test_every_route_of_conversations_has_its_early_name(today: Service) -> None:
    name = new_id()
    today.request("POST", f"/conversation/{name}/parse", {"query": "/greet"})
    singular, plural = (today.get(f"/{noun}/{name}/tracker") for noun in ("conversation", "conversations"))
    assert (singular.status, singular.body) == (200, plural.body)
    assert today.request("DELETE", f"/conversation/{name}/parse").status == 405
    assert today.get(f"/conversation/{name}/story").status == 200
