"""Errors and odd requests: each is answered with the envelope, a status that says whose fault it is, and an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import ORIGIN
from tests.api.http import Client, envelope, events_of, new_id, raw, slot, status_of, values

if TYPE_CHECKING:
    from tests.service import Service

BAD_EVENT = {"event": "nope"}
HOSTS = b"Host: x\r\nConnection: close\r\n"


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"{", b"nonsense", b"\xff\xfe", b"[1,]", b'{"a":1}{', b"'x'", b'{"event":"pause","timestamp":NaN}',
            b'{"event":"slot","name":"a","value":Infinity}', b'{"event":"slot","name":"a","value":1e999}',
            b'{"event":"slot","name":"a","value":' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 100_000,
            b"[" * 501 + b"]" * 501, b"\xef\xbb\xbf{}", b"\0", b'"\x01"',
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_that_are_not_json_within_limits_are_refused(self, client: Client, method: str, body: bytes) -> None:
        error = envelope(client.send(method, events_of("x"), body), 400, "BadRequest")
        assert error["message"].startswith("Failed when parsing body as json")
        assert len(error["message"]) < 400

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            (BAD_EVENT, ["event"]), ([slot(1), BAD_EVENT], [1, "event"]), ({}, []), ([[]], [0]), ("x", []), (7, []),
            (True, []), ({"event": None}, ["event"]), ({"event": {}}, ["event"]),
            ({"event": "tracker_replaced"}, ["event"]), ({"event": "slot", "name": "a"}, []),
            ({"event": "action"}, ["name"]), ({"event": "pause", "timestamp": "1"}, ["timestamp"]),
            ({"event": "pause", "timestamp": True}, ["timestamp"]), ({"event": "pause", "metadata": []}, ["metadata"]),
            ({"event": "pause", "timestamp": 10**400}, ["timestamp"]),
            ({"event": "reminder", "date_time": "x"}, ["date_time"]),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_that_are_no_events_are_refused_with_the_path(
        self, client: Client, method: str, body: object, path: list[Any]
    ) -> None:
        name = new_id()
        error = envelope(client.send(method, events_of(name), body), 400, "BadRequest")
        assert error["message"].startswith("Failed to validate the events format.")
        assert error["help"] == "https://rasa.com/docs/rasa/pages/http-api"
        assert error["details"]["path"] == path
        assert len(client.tracker(name).json()["events"]) == 3

    def test_that_are_missing_are_refused(self, client: Client) -> None:
        for method in ("POST", "PUT"):
            envelope(client.send(method, events_of("x")), 400, "BadRequest")

    def test_an_empty_list_is_no_event_to_post_and_an_empty_conversation_to_put(self, client: Client) -> None:
        name = new_id()
        error = envelope(client.post(name, []), 400, "BadRequest")
        assert error["details"] == {"parameter": "", "in": "body"}
        assert client.put(name, []).json()["events"] == []

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\xe9", ""]
    )
    def test_are_read_whatever_their_type(self, client: Client, kind: str) -> None:
        answer = client.post(new_id(), slot(1), content_type=kind)
        assert (answer.status, values(answer)) == (200, [1])

    @pytest.mark.parametrize("value", [10**4000, -(10**30), -0.0, 5e-324, 1.7976931348623157e308, 0.1, 10**16, 1e22])
    def test_keep_numbers_exactly(self, client: Client, value: float) -> None:
        name = new_id()
        client.post(name, slot(value))
        shown = client.tracker(name).json()
        assert [repr(item) for item in (values_of(shown)[0], shown["slots"]["city"])] == [repr(value)] * 2

    def test_may_come_in_chunks(self, service: Service) -> None:
        head = f"POST {events_of(new_id())} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".encode() + HOSTS
        assert status_of(raw(service.port, head + b'\r\n8\r\n{"event"\r\n9\r\n:"pause"}\r\n0\r\n\r\n')) == 200


def values_of(document: dict[str, Any]) -> list[Any]:
    """The values of the slot events in a document."""
    return [event["value"] for event in document["events"] if event["event"] == "slot"]


class TestOrder:
    def test_the_schema_is_checked_before_the_query_and_the_query_before_the_list_is_found_empty(
        self, client: Client
    ) -> None:
        wrong = "?include_events=x"
        assert "events format" in envelope(client.post("x", BAD_EVENT, wrong), 400, "BadRequest")["message"]
        assert "include_events" in envelope(client.post("x", [], wrong), 400, "BadRequest")["message"]

    def test_verbosity_is_checked_before_conditions(self, client: Client) -> None:
        error = envelope(client.post("x", slot(1), "?include_events=x", if_match="bad"), 400, "BadRequest")
        assert error["details"] == {"parameter": "include_events", "in": "query"}

    def test_the_token_is_checked_before_everything(self, guest: Client) -> None:
        envelope(guest.send("POST", "/conversations/%00/tracker/events", b"{"), 401, "NotAuthenticated")
        envelope(guest.get("/status"), 401, "NotAuthenticated")
        envelope(guest.post("x", BAD_EVENT, "?include_events=x"), 401, "NotAuthenticated")

    def test_nothing_is_written_when_any_of_it_is_wrong(self, client: Client) -> None:
        name = new_id()
        client.post(name, [slot(1), BAD_EVENT])
        client.post(name, slot(1), "?include_events=x")
        client.post(name, slot(1), if_match="bad")
        client.post(name, slot(1), idempotency_key="")
        envelope(client.get(f"/conversations/{name}/story"), 404, "Not found")


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("a/b", "a/b"), ("a%2Fb", "a/b"), ("%C3%BC%20x", "ü x"), ("..", ".."), ("../..", "../.."), ("%2e%2e", ".."),
            ("", "default"), ("a%25b", "a%b"), ("%", "%"), ("a%zz", "a%zz"), ("a+b", "a+b"), ("%F0%9F%98%80", "😀"),
            ("a//b", "a//b"), ("a;b=c", "a;b=c"), ("%0A%0D%09", "\n\r\t"), ("%3Cx%3E", "<x>"), ("x" * 1024, "x" * 1024),
            ("%C3%BC" * 512, "ü" * 512), ("tracker/events", "tracker/events"), ("a%3Fb%23c", "a?b#c"), ("%2525", "%25"),
        ],
    )  # fmt: skip
    def test_name_a_conversation(self, client: Client, path: str, name: str) -> None:
        posted = client.send("POST", f"/conversations/{path}/tracker/events", slot(1))
        assert (posted.status, posted.json()["sender_id"]) == (200, name)
        assert client.tracker(name).headers["etag"] == posted.headers["etag"]

    @pytest.mark.parametrize("path", ["%00", "a%00b", "%FF", "%C3", "%ED%A0%80", "%C0%AF", "x" * 1025, "%C3%BC" * 513])
    def test_that_can_be_no_conversation_are_refused(self, client: Client, path: str) -> None:
        for answer in (
            client.get(f"/conversations/{path}/tracker"),
            client.get(f"/conversations/{path}/story"),
            client.get(f"/turnlog/v1/conversations/{path}/events"),
            client.send("POST", f"/conversations/{path}/tracker/events", slot(1)),
        ):
            error = envelope(answer, 400, "BadRequest")
            assert error["details"] == {"parameter": "conversation_id", "in": "path"}

    @pytest.mark.parametrize(
        "target",
        [
            b"/conversations/\xff\xfe/tracker", b"/conversations/\xc3\xbc/tracker", b"/conversations/a\x01b/tracker",
            b"/conversations/x/tracker?until=\xff", b"/conversations/x/tracker?\xff=%ff&%",
            b"//conversations/x/tracker", b"http://other/conversations/x/tracker", b"*", b"conversations", b"",
            b"/?" + b"&" * 5000, b"/\x00",
            b"http://[/x", b"/conversations/x/tracker?include_events=%00",
        ],
    )  # fmt: skip
    def test_in_odd_bytes_are_never_our_fault(self, service: Service, target: bytes) -> None:
        answer = raw(service.port, b"GET " + target + b" HTTP/1.1\r\n" + HOSTS + b"\r\n")
        assert status_of(answer) < 500

    @pytest.mark.parametrize("path", ["/version/", "/conversations/x/tracker/", "/status/", "/turnlog/v1/events/"])
    def test_may_end_with_a_slash(self, client: Client, path: str) -> None:
        assert client.get(path).status == 200

    @pytest.mark.parametrize("path", ["/nope", "/conversation", "/conversations/x", "/turnlog", "/turnlog/v1", "/auth"])
    def test_that_lead_nowhere_are_not_found(self, client: Client, path: str) -> None:
        envelope(client.get(path), 404, "NotFound")

    @pytest.mark.parametrize("channel", ["nope", "%00", "callback"])
    def test_of_unknown_channels_are_not_found(self, client: Client, channel: str) -> None:
        body = {"sender": "x", "message": "hi"}
        envelope(client.send("POST", f"/webhooks/{channel}/webhook", body), 404, "NotFound")

    @pytest.mark.parametrize("path", ["/conversations/x/predict", "/model/predict"])
    def test_of_a_dialogue_model_need_one(self, client: Client, path: str) -> None:
        envelope(client.send("POST", path, [{"event": "restart"}]), 409, "Conflict")


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/version"), ("DELETE", "/conversations/x/tracker"), ("PATCH", "/conversations/x/tracker/events"),
            ("GET", "/conversations/x/tracker/events"), ("PUT", "/status"), ("DELETE", "/turnlog/v1/events"),
        ],
    )  # fmt: skip
    def test_that_a_path_does_not_have_are_not_allowed(self, client: Client, method: str, path: str) -> None:
        answer = client.send(method, path)
        envelope(answer, 405, "MethodNotAllowed")
        assert answer.headers["allow"]

    @pytest.mark.parametrize("path", ["/version", "/conversations/x/tracker", "/status"])
    def test_head_is_not_allowed(self, client: Client, path: str) -> None:
        answer = client.send("HEAD", path)
        assert (answer.status, answer.body) == (405, b"")

    @pytest.mark.parametrize("path", ["/", "/version", "/conversations/a/b/tracker", "/conversations/x/tracker/events"])
    def test_options_need_no_authentication(self, guest: Client, path: str) -> None:
        answer = guest.send("OPTIONS", path)
        assert (answer.status, answer.body) == (200, b"")

    @pytest.mark.parametrize(
        "line", [b"BREW / HTTP/1.1", b"GET /", b"GET / HTTP/9.9", b"\x00\x01", b"GET  / HTTP/1.1", b" "]
    )
    def test_that_nobody_knows_are_never_our_fault(self, service: Service, line: bytes) -> None:
        assert status_of(raw(service.port, line + b"\r\n" + HOSTS + b"\r\n")) < 500

    @pytest.mark.parametrize(
        "headers",
        [
            b"Content-Length: x", b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6", b"no colon",
            b"Transfer-Encoding: nope", b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"\xff: \xff",
            b"Expect: nothing", b"If-None-Match: \xff", b"Origin: \xff", b"X-Request-ID: \xff", b"Authorization: \xff",
            b"X: " + b"a" * 20_000, b"Cookie: \xff=\x01", b"Accept: \xff", b"Host: \xff", b"X-Forwarded-For: \xff",
            b"Forwarded: for=\"", b"Upgrade: websocket\r\nConnection: Upgrade", b"Content-Length: " + b"9" * 5000,
        ],
    )  # fmt: skip
    def test_headers_of_nonsense_are_never_our_fault(self, service: Service, headers: bytes) -> None:
        request = f"POST {events_of('x')} HTTP/1.1\r\n".encode() + HOSTS + headers + b"\r\n\r\n0\r\n\r\n"
        assert status_of(raw(service.port, request, 5)) < 500


class TestRequestId:
    @pytest.mark.parametrize("path", ["/version", "/nope", "/conversations/%00/tracker"])
    def test_is_echoed(self, client: Client, path: str) -> None:
        assert client.get(path, x_request_id="abc-1").headers["x-request-id"] == "abc-1"

    @pytest.mark.parametrize("given", ["", "x" * 201, "a b", "a\tb", "\u00fc"])
    def test_is_made_when_the_given_one_is_odd(self, client: Client, given: str) -> None:
        assert client.get("/version", x_request_id=given).headers["x-request-id"] not in ("", given)

    def test_differs_from_request_to_request(self, client: Client) -> None:
        assert len({client.get("/version").headers["x-request-id"] for _ in range(20)}) == 20


class TestCors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/version", 200), ("GET", "/nope", 404), ("POST", "/version", 405),
            ("GET", "/conversations/%00/tracker", 400), ("GET", "/conversations/x/story?x", 404),
        ],
    )  # fmt: skip
    def test_an_allowed_origin_may_read_every_answer(self, client: Client, method: str, path: str, status: int) -> None:
        answer = client.send(method, path, headers={"Origin": ORIGIN})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert answer.headers["vary"] == "Origin"
        assert "ETag" in answer.headers["access-control-expose-headers"]

    @pytest.mark.parametrize("origin", ["http://b.example", "null", ORIGIN + ".evil", "*", ""])
    def test_another_origin_may_not(self, client: Client, origin: str) -> None:
        answer = client.get("/version", origin=origin)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"

    def test_preflight_allows_what_a_page_asks_for(self, client: Client) -> None:
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "if-match"}
        answer = client.send("OPTIONS", events_of("x"), headers=asked)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "if-match"
        assert answer.headers["access-control-max-age"] == "600"

    def test_preflight_of_another_origin_allows_nothing(self, client: Client) -> None:
        asked = {"Origin": "http://b.example", "Access-Control-Request-Method": "PUT"}
        answer = client.send("OPTIONS", events_of("x"), headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_a_header_that_is_echoed_ends_no_line(self, service: Service) -> None:
        asked = f"Origin: {ORIGIN}\r\nAccess-Control-Request-Headers: a\nX-Evil: 1\r\n".encode()
        answer = raw(service.port, b"OPTIONS / HTTP/1.1\r\n" + HOSTS + asked + b"\r\n")
        assert b"\nX-Evil" not in answer
