"""A write that is repeated with its Idempotency-Key happens once, and is answered as the first time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.api.http import Client, envelope, events_of, new_id, raw, slot, status_of, values

if TYPE_CHECKING:
    from tests.service import Service


class TestRepeated:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_is_answered_with_the_first_state_and_writes_nothing(self, client: Client, method: str) -> None:
        name = new_id()
        write = client.post if method == "POST" else client.put
        first = write(name, [slot(1)], idempotency_key="k")
        client.post(name, [slot(2), {"event": "restart"}])
        again = write(name, [slot(1)], idempotency_key="k")
        assert (again.status, again.body, again.headers["etag"]) == (200, first.body, first.headers["etag"])
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        assert values(client.tracker(name, "?include_events=ALL")) == [1, 2]

    def test_is_answered_in_the_verbosity_that_it_asks_for(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1), idempotency_key="k")
        again = client.post(name, slot(1), "?include_events=NONE", idempotency_key="k")
        assert (again.json()["events"], again.headers["idempotency-replayed"]) == (None, "true")

    def test_is_the_same_with_another_token_in_its_query(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1), "?token=a", idempotency_key="k")
        again = client.post(name, slot(1), "?token=b", idempotency_key="k")
        assert again.headers["idempotency-replayed"] == "true"

    def test_after_a_replacement_shows_the_generation_before(self, client: Client) -> None:
        name = new_id()
        first = client.post(name, slot(1), idempotency_key="k")
        client.put(name, [slot(2)])
        assert client.post(name, slot(1), idempotency_key="k").body == first.body

    def test_is_looked_at_before_the_version(self, client: Client) -> None:
        name = new_id()
        first = client.post(name, slot(1), idempotency_key="k", if_match='"0"')
        again = client.post(name, slot(1), idempotency_key="k", if_match='"0"')
        assert (again.status, again.body) == (200, first.body)

    def test_at_the_same_time_is_written_once(self, service: Service, client: Client) -> None:
        name = new_id()

        def write(_number: int) -> tuple[int, bytes, bool]:
            other = Client(service.port)
            try:
                answer = other.post(name, slot(1), idempotency_key="k")
            finally:
                other.close()
            return answer.status, answer.body, "idempotency-replayed" in answer.headers

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(write, range(16)))
        assert sorted(replayed for _, _, replayed in answers) == [False] + [True] * 15
        assert len({body for _, body, _ in answers}) == 1
        assert values(client.tracker(name)) == [1]


class TestAnotherRequest:
    @pytest.mark.parametrize(
        ("method", "body", "query"),
        [
            ("POST", [slot(2)], ""),
            ("POST", [slot(1)], "?output_channel=x"),
            ("PUT", [slot(1)], ""),
            ("POST", slot(1), ""),
        ],
    )
    def test_with_the_key_is_refused(self, client: Client, method: str, body: object, query: str) -> None:
        name = new_id()
        client.post(name, [slot(1)], idempotency_key="k")
        write = client.post if method == "POST" else client.put
        error = envelope(write(name, body, query, idempotency_key="k"), 422, "IdempotencyKeyReused")
        assert error["details"] == {"parameter": "Idempotency-Key", "in": "header"}
        assert values(client.tracker(name)) == [1]

    def test_of_another_conversation_has_the_key_to_itself(self, client: Client) -> None:
        for name in (new_id(), new_id()):
            assert "idempotency-replayed" not in client.post(name, slot(1), idempotency_key="k").headers

    def test_is_accepted_after_one_that_was_refused(self, client: Client) -> None:
        name = new_id()
        assert client.post(name, {"event": "nope"}, idempotency_key="k").status == 400
        assert client.post(name, slot(1), idempotency_key="k", if_match='"7"').status == 412
        assert client.post(name, slot(2), idempotency_key="k").status == 200


class TestKey:
    @pytest.mark.parametrize("key", ["k" * 255, "with spaces and ~!", "7", "'--"])
    def test_is_any_printable_text(self, client: Client, key: str) -> None:
        name = new_id()
        client.post(name, slot(1), idempotency_key=key)
        assert client.post(name, slot(1), idempotency_key=key).headers["idempotency-replayed"] == "true"

    @pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
    def test_that_is_empty_or_long_or_unprintable_is_refused(self, client: Client, key: str) -> None:
        error = envelope(client.post(new_id(), slot(1), idempotency_key=key), 400, "BadRequest")
        assert error["details"] == {"parameter": "Idempotency-Key", "in": "header"}

    @pytest.mark.parametrize(
        ("key", "status"), [("ü€😀".encode(), 200), (b"\xff", 400), (b"a\x00b", 400), ("é" * 128, 400)]
    )
    def test_is_counted_in_bytes_of_utf8(self, service: Service, key: bytes | str, status: int) -> None:
        key = key.encode() if isinstance(key, str) else key
        head = f"POST {events_of(new_id())} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 17\r\n"
        answer = raw(service.port, head.encode() + b"Idempotency-Key: " + key + b'\r\n\r\n{"event":"pause"}')
        assert status_of(answer) == status


MESSAGE = {"text": "/greet", "sender": "user"}


class TestTurns:
    def test_a_repeated_message_is_taken_in_once(self, client: Client) -> None:
        path = f"/conversations/{new_id()}/messages"
        first, again = (client.send("POST", path, MESSAGE, {"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.status, again.status, again.body) == (200, 200, first.body)
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        assert again.headers["etag"] == first.headers["etag"]

    def test_a_repeated_action_runs_once(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        path = f"/conversations/{name}/execute"
        first, again = (
            client.send("POST", path, {"name": "action_listen"}, {"Idempotency-Key": "k"}) for _ in range(2)
        )
        assert (first.status, again.status, again.body) == (200, 200, first.body)
        listens = [event for event in client.tracker(name).json()["events"] if event.get("name") == "action_listen"]
        assert len(listens) == 2

    def test_another_message_with_the_key_is_refused(self, client: Client) -> None:
        path = f"/conversations/{new_id()}/messages"
        client.send("POST", path, MESSAGE, {"Idempotency-Key": "k"})
        again = client.send("POST", path, MESSAGE | {"text": "/bye"}, {"Idempotency-Key": "k"})
        envelope(again, 422, "IdempotencyKeyReused")

    def test_a_message_for_another_version_is_refused(self, client: Client) -> None:
        path = f"/conversations/{new_id()}/messages"
        version = client.send("POST", path, MESSAGE).headers["etag"]
        envelope(client.send("POST", path, MESSAGE, {"If-Match": '"0"'}), 412, "PreconditionFailed")
        assert client.send("POST", path, MESSAGE, {"If-Match": version}).status == 200
