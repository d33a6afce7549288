"""ETags, conditions, and the state at a version or a time, against the running service."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.api.http import Client, envelope, new_id, slot, values

if TYPE_CHECKING:
    from tests.service import Service

ETAG = re.compile(r'"(\d+)-[0-9a-f]{16}"')


def version(etag: str) -> int:
    """The version that an ETag names."""
    match = ETAG.fullmatch(etag)
    assert match, etag
    return int(match[1])


class TestETag:
    def test_names_the_version_in_every_answer(self, client: Client) -> None:
        name = new_id()
        posted = client.post(name, slot(1))
        assert version(posted.headers["etag"]) == 4
        assert client.tracker(name).headers["etag"] == posted.headers["etag"]
        assert version(client.put(name, []).headers["etag"]) == 5

    def test_is_not_given_for_a_conversation_that_is_not_there(self, client: Client) -> None:
        answer = client.tracker(new_id(), if_none_match="*")
        assert answer.status == 200
        assert "etag" not in answer.headers

    @pytest.mark.parametrize("given", ["{}", "W/{}", '"1-a", {}', '"x",{} ', "*"])
    def test_that_is_known_spares_the_body(self, client: Client, given: str) -> None:
        name = new_id()
        etag = client.post(name, slot(1)).headers["etag"]
        answer = client.tracker(name, if_none_match=given.replace("{}", etag))
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)

    @pytest.mark.parametrize("given", ['"4"', '"3-0000000000000000"', "4", ""])
    def test_of_another_state_gets_the_body(self, client: Client, given: str) -> None:
        name = new_id()
        client.post(name, slot(1))
        assert client.tracker(name, if_none_match=given).status == 200

    def test_changes_with_every_event(self, client: Client) -> None:
        name = new_id()
        first = client.post(name, slot(1)).headers["etag"]
        client.post(name, slot(2))
        answer = client.tracker(name, if_none_match=first)
        assert (answer.status, version(answer.headers["etag"])) == (200, 5)


class TestIfMatch:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_writes_at_that_version(self, client: Client, method: str) -> None:
        name = new_id()
        etag = client.post(name, slot(1)).headers["etag"]
        write = client.post if method == "POST" else client.put
        assert write(name, [slot(2)], if_match=etag).status == 200

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_of_another_version_writes_nothing_and_tells_the_present_one(self, client: Client, method: str) -> None:
        name = new_id()
        first = client.post(name, slot(1)).headers["etag"]
        now = client.post(name, slot(2)).headers["etag"]
        write = client.post if method == "POST" else client.put
        answer = write(name, [slot(3)], if_match=first)
        error = envelope(answer, 412, "PreconditionFailed")
        assert (answer.headers["etag"], error["details"]) == (now, {"expected": first, "actual": 5})
        assert client.tracker(name).headers["etag"] == now

    def test_zero_is_a_new_conversation(self, client: Client) -> None:
        name = new_id()
        assert client.post(name, slot(1), if_match='"0"').status == 200
        answer = client.post(name, slot(1), if_match='"0"')
        assert (answer.status, version(answer.headers["etag"])) == (412, 4)

    def test_a_star_is_any_that_exists(self, client: Client) -> None:
        name = new_id()
        answer = client.post(name, slot(1), if_match="*")
        assert (answer.status, version(answer.headers["etag"])) == (412, 0)
        client.post(name, slot(1))
        assert client.post(name, slot(1), if_match="*").status == 200

    def test_takes_a_weak_tag_and_one_without_the_domain(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        assert client.post(name, slot(2), if_match='W/"4"').status == 200
        assert client.post(name, slot(2), if_match='"5"').status == 200

    @pytest.mark.parametrize("given", ["4", "", '""', '"x"', '"-1"', '"4', '"4", "5"', '"' + "9" * 19 + '"', "**"])
    def test_that_is_no_tag_of_a_conversation_is_refused(self, client: Client, given: str) -> None:
        error = envelope(client.post(new_id(), slot(1), if_match=given), 400, "BadRequest")
        assert error["details"] == {"parameter": "If-Match", "in": "header"}

    def test_lets_one_of_many_at_once_win(self, service: Service, client: Client) -> None:
        name = new_id()
        etag = client.post(name, slot(0)).headers["etag"]

        def write(number: int) -> int:
            other = Client(service.port)
            try:
                return other.post(name, slot(number), if_match=etag).status
            finally:
                other.close()

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(write, range(16)))
        assert sorted(statuses) == [200] + [412] * 15
        assert len(values(client.tracker(name))) == 2


class TestEarlier:
    def test_versions_are_shown_with_their_own_etag(self, client: Client) -> None:
        name = new_id()
        for value in range(3):
            client.post(name, slot(value))
        for at, expected in ((4, [0]), (5, [0, 1]), (6, [0, 1, 2])):
            answer = client.tracker(name, f"?version={at}")
            assert (values(answer), version(answer.headers["etag"])) == (expected, at)
            assert answer.json()["slots"]["city"] == expected[-1]

    def test_a_version_of_a_replaced_generation_is_shown(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        client.put(name, [slot(2)])
        assert values(client.tracker(name, "?version=4")) == [1]
        assert values(client.tracker(name)) == [2]

    @pytest.mark.parametrize("at", ["5", str(2**62)])
    def test_a_version_that_never_was_is_not_found(self, client: Client, at: str) -> None:
        name = new_id()
        client.post(name, slot(1))
        envelope(client.tracker(name, f"?version={at}"), 404, "Not found")

    @pytest.mark.parametrize(
        "at", ["-1", "x", "1.5", str(2**62 + 1), "9" * 20, "0" * 21 + "9" * 30, "9" * 5000, "1e3", "%EF%BC%91", "+1"]
    )
    def test_a_version_that_is_no_number_is_refused(self, client: Client, at: str) -> None:
        error = envelope(client.tracker(new_id(), f"?version={at}"), 400, "BadRequest")
        assert error["details"] == {"parameter": "version", "in": "query"}

    def test_a_time_shows_the_state_then(self, client: Client) -> None:
        name, moments = new_id(), []
        for value in range(3):
            client.post(name, slot(value))
            moments.append(time.time())
        for expected, moment in enumerate(moments):
            utc = datetime.fromtimestamp(moment, UTC)
            far = utc.astimezone(tz=None).isoformat()
            for text in (f"{moment:.6f}", utc.isoformat(), utc.replace(tzinfo=None).isoformat(), far):
                answer = client.tracker(name, f"?at={text}")
                assert (answer.status, values(answer)) == (200, list(range(expected + 1)))

    def test_a_time_before_the_first_event_shows_it_as_it_would_begin(self, client: Client) -> None:
        name = new_id()
        client.post(name, slot(1))
        before = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = client.tracker(name, f"?at={before}")
        assert (values(answer), len(answer.json()["events"])) == ([], 3)

    @pytest.mark.parametrize(
        "at", ["yesterday", "nan", "inf", "99999999999999", "2024-13-01", "0001-01-01T00:00:00%2B14:00"]
    )
    def test_a_time_that_is_none_is_refused(self, client: Client, at: str) -> None:
        name = new_id()
        client.post(name, slot(1))
        error = envelope(client.tracker(name, f"?at={at}"), 400, "BadRequest")
        assert error["details"] == {"parameter": "at", "in": "query"}

    @pytest.mark.parametrize(
        "at", ["0001-01-01", "9999-12-31T23:59:59.999999", "-62135596800", "253402300799", "1970-01-01"]
    )
    def test_the_ends_of_time_are_times(self, client: Client, at: str) -> None:
        name = new_id()
        client.post(name, slot(1))
        assert client.tracker(name, f"?at={at}").status == 200

    @pytest.mark.parametrize(
        ("until", "count"), [("10", 1), ("19.5", 1), ("1e3", 3), ("inf", 3), ("-inf", 0), ("x", 3), ("nan", 3)]
    )
    def test_until_ends_before_the_first_later_event(self, client: Client, until: str, count: int) -> None:
        name = new_id()
        client.put(name, [{**slot(n), "timestamp": 10 * n + 10} for n in range(3)])
        assert len(values(client.tracker(name, f"?until={until}"))) == count
