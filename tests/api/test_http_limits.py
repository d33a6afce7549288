"""Large, slow and many requests: each gets its answer, and none harms its neighbours."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.api.conftest import MAX_SIZE, RECEIVE_SECONDS
from tests.api.http import HOST, Client, envelope, events_of, new_id, raw, received, slot, status_of, values

if TYPE_CHECKING:
    from tests.service import Service

DEEPEST = 499  #: levels of a value in a posted event, the deepest that is accepted


def nested(levels: int, opening: str, closing: str) -> bytes:
    """A slot event with a value of many levels."""
    return f'{{"event":"slot","name":"city","value":{opening * levels}1{closing * levels}}}'.encode()


class TestSize:
    def test_ten_megabytes_are_stored_and_shown(self, client: Client) -> None:
        name, value = new_id(), "x" * 10_000_000
        assert client.post(name, slot(value), "?include_events=NONE").status == 200
        assert values(client.tracker(name)) == [value]

    def test_fifty_thousand_events_are_stored_and_shown(self, client: Client) -> None:
        name, body = new_id(), b"[" + b",".join([b'{"event":"pause"}'] * 50_000) + b"]"
        assert client.post(name, body, "?include_events=NONE").status == 200
        assert client.tracker(name).body.count(b'"event":"pause"') == 50_000

    def test_one_event_more_is_refused(self, client: Client) -> None:
        body = b"[" + b",".join([b'{"event":"pause"}'] * 50_001) + b"]"
        error = envelope(client.post(new_id(), body), 413, "TooLarge")
        assert error["details"] == {"limit": 50_000, "count": 50_001}

    def test_what_takes_too_much_room_in_the_log_is_refused(self, client: Client) -> None:
        name, body = new_id(), b'{"event":"user","text":"' + "é".encode() * 5_500_000 + b'"}'  # six bytes each, twice
        error = envelope(client.post(name, body), 413, "TooLarge")
        assert error["details"]["size"] > error["details"]["limit"]
        assert "etag" not in client.tracker(name).headers

    def test_more_than_the_limit_is_refused(self, service: Service) -> None:
        head = f"POST {events_of('x')} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_SIZE + 1}\r\n\r\n"
        answer = raw(service.port, head.encode())
        assert status_of(answer) == 413
        assert f'"limit":{MAX_SIZE}'.encode() in answer

    def test_more_than_the_limit_in_chunks_is_refused(self, service: Service) -> None:
        head = f"POST {events_of('x')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"%x\r\n" % 2_000_000 + b" " * 2_000_000 + b"\r\n"
        with socket.create_connection((HOST, service.port), timeout=20) as connection:
            with contextlib.suppress(OSError):  # it closed already
                connection.sendall(head.encode() + chunk * 10)
            assert status_of(received(connection)) in (0, 413)


class TestDepth:
    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
    def test_the_deepest_value_is_stored_shown_and_taken_back(self, client: Client, opening: str, closing: str) -> None:
        name = new_id()
        assert client.send("POST", events_of(name), nested(DEEPEST, opening, closing)).status == 200
        assert client.post(name, [{"event": "action", "name": "utter_x"}, {"event": "undo"}]).status == 200
        for verbosity in ("NONE", "APPLIED", "AFTER_RESTART", "ALL"):
            assert client.tracker(name, f"?include_events={verbosity}").status == 200
        assert client.get(f"/conversations/{name}/story").status == 200
        assert client.tracker(name, "?version=4").status == 200

    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
    def test_one_level_more_is_refused(self, client: Client, opening: str, closing: str) -> None:
        envelope(client.send("POST", events_of("x"), nested(DEEPEST + 1, opening, closing)), 400, "BadRequest")

    def test_a_deep_message_that_begins_a_form_is_shown(self, client: Client) -> None:
        name, deep = new_id(), nested(DEEPEST - 2, "[", "]").decode().partition('"value":')[2][:-1]
        user = f'{{"event":"user","text":"x","parse_data":{{"entities":[],"more":{deep}}}}}'
        assert client.send("POST", events_of(name), user.encode()).status == 200
        assert client.post(name, {"event": "active_loop", "name": "f"}).status == 200
        assert client.tracker(name).status == 200


class TestSlowClients:
    @pytest.mark.parametrize(
        "begin",
        [b"", b"GET /ver", b"POST /conversations/x/tracker/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"],
    )
    def test_are_let_go_and_others_are_served_meanwhile(self, service: Service, client: Client, begin: bytes) -> None:
        began = time.monotonic()
        with socket.create_connection((HOST, service.port), timeout=20) as slow:
            slow.sendall(begin)
            assert client.post(new_id(), slot(1)).status == 200
            assert status_of(received(slow)) in (0, 408)
        assert time.monotonic() - began < 5 * RECEIVE_SECONDS

    def test_that_drip_bytes_are_let_go(self, service: Service) -> None:
        head = f"POST {events_of('x')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        began = time.monotonic()
        with socket.create_connection((HOST, service.port), timeout=0.2) as slow:
            slow.sendall(head.encode())
            answer = dripped(slow)
        assert status_of(answer) in (0, 408)
        assert time.monotonic() - began < 5 * RECEIVE_SECONDS

    def test_that_hang_up_leave_their_neighbours_alone(self, service: Service, client: Client) -> None:
        body = b'[{"event":"pause"}]'
        head = f"POST {events_of('gone')} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(50):
            with socket.create_connection((HOST, service.port), timeout=20) as connection:
                connection.sendall(head + body)
        assert client.post(new_id(), slot(1)).status == 200


def dripped(slow: socket.socket) -> bytes:
    """What comes back while a byte is sent every now and then."""
    for _ in range(1000):
        try:
            slow.sendall(b" ")
            return slow.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return b""
    return b"never let go"


class TestMany:
    def test_pipelined_requests_are_answered_in_order(self, service: Service) -> None:
        ids = [f"r{n}" for n in range(200)]
        last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        requests = [f"GET /version HTTP/1.1\r\nHost: x\r\nX-Request-ID: {name}\r\n\r\n".encode() for name in ids]
        answer = raw(service.port, b"".join(requests) + last).decode()
        assert [name for name in answer.lower().split() if name in set(ids)] == ids

    def test_bad_requests_leave_nothing_behind(self, service: Service) -> None:
        worker = service.pid_of("worker-1")
        send_bad(service.port, 2_000)
        before = resident(worker)
        send_bad(service.port, 10_000)
        assert resident(worker) - before < 10_000_000


def send_bad(port: int, count: int) -> None:
    """Send requests that are wrong in many ways, over a few connections."""
    for start in range(0, count, 500):
        answer = raw(port, b"".join(bad_request(number) for number in range(start, start + 500)) + LAST)
        assert answer.count(b"HTTP/1.1 4") == 500


LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def bad_request(number: int) -> bytes:
    """One of them; names, ids and keys are new each time."""
    body, path, more = (
        (b"{", events_of(f"bad-{number}"), ""),
        (b'{"event":"nope-%d"}' % number, events_of(f"bad-{number}"), ""),
        (b'{"event":"pause"}', events_of(f"bad-{number}"), "If-Match: bad\r\n"),
        (b'{"event":"pause"}', events_of(f"bad-{number}"), 'If-Match: "7"\r\n'),
        (b'{"event":"pause"}', events_of(f"bad-{number}"), f'If-Match: "7"\r\nIdempotency-Key: k{number}\r\n'),
        (b"", f"/conversations/%00{number}/tracker/events", ""),
        (b"", f"/nope/{number}", f"X-Request-ID: r{number}\r\n"),
        (b'{"event":"pause"}', f"/conversations/bad-{number}/tracker", ""),
        (b"", f"/webhooks/channel-{number}/webhook", ""),
        (b'[{"event":"slot","name":"a","value":NaN}]', events_of(f"bad-{number}") + f"?q{number}=1", ""),
    )[number % 10]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024
