"""`turnlog replay` and `turnlog export` as their users run them: what they print is true, and nothing is left out."""

from __future__ import annotations

import json
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any, Final

import pika
import pytest

from tests.brokers import plain
from tests.brokers.running import (
    command,
    configure,
    kafka_section,
    post,
    program,
    relay_of,
    serving,
    wait_until_published,
)
from tests.service import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore import Database
    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.postgres import Server
    from tests.rabbitmq import RabbitMQ

MANY: Final = 3_000
BEGUN: Final = 100  #: messages in the queue at which something happens; some of them are confirmed then
LARGE: Final = "x" * 4_000  # so that many events are several windows
_RESUME: Final = re.compile(r"^(\d+) events replayed, up to position (\d+); go on with:\n  (turnlog .*)$", re.MULTILINE)


def slots(*timestamps: float, value: object = 1) -> list[dict[str, Any]]:
    """A slot event for each timestamp."""
    return [{"event": "slot", "name": "n", "value": value, "timestamp": timestamp} for timestamp in timestamps]


@pytest.fixture(scope="module")
async def filled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """Conversations a and b, with four events each at 100 and 200 seconds, and then one more each, at 300 and 400.

    Nobody writes to it any more: what replays and exports read, they leave as it is.
    """
    async with server.database() as database:
        with serving(tmp_path_factory.mktemp("filling"), database.dsn, None) as service:
            for conversation, *timestamps in (("a", 100), ("b", 200), ("a", 300), ("b", 400)):
                assert service.post(conversation, slots(*timestamps)).status == 200
        yield database


def depth(rabbitmq: RabbitMQ, queue: str) -> int:
    """Messages in a queue, 0 before it is there."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        try:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
        except pika.exceptions.ChannelClosedByBroker:
            return 0


# --- to standard output -----------------------------------------------------------------------------------------------


def replayed(folder: Path, database: Database, *arguments: str) -> list[tuple[str, str, float]]:
    """Conversation, type and time of the lines on standard output."""
    done = command(folder, database.dsn, "replay", "--output", "-", *arguments)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr.splitlines()[-1].split()[0]) == (0, str(len(lines)))
    return [(line["sender_id"], line["event"], line["timestamp"]) for line in lines]


def test_the_log_comes_as_lines(filled: Database, tmp_path: Path) -> None:
    begun = ["action", "session_started", "action", "slot"]
    assert replayed(tmp_path, filled) == [
        *(("a", name, 100) for name in begun),
        *(("b", name, 200) for name in begun),
        ("a", "slot", 300),
        ("b", "slot", 400),
    ]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--conversation", "a", "--type", "slot"], [("a", "slot", 100), ("a", "slot", 300)]),
        (["--after-position", "8"], [("a", "slot", 300), ("b", "slot", 400)]),
        (["--upto-position", "9", "--type", "slot"], [("a", "slot", 100), ("b", "slot", 200), ("a", "slot", 300)]),
        (["--since", "2999-01-01"], []),
        (["--until", "2000-01-01T00:00:00Z"], []),
    ],
)
def test_a_part_of_the_log_is_chosen(
    filled: Database, tmp_path: Path, arguments: list[str], lines: list[tuple[str, str, float]]
) -> None:
    assert replayed(tmp_path, filled, *arguments) == lines


def test_a_file_is_appended_to(filled: Database, tmp_path: Path) -> None:
    for _ in range(2):
        assert command(tmp_path, filled.dsn, "replay", "--output", "lines", "--after-position", "9").returncode == 0
    assert [json.loads(line)["timestamp"] for line in (tmp_path / "lines").read_text().splitlines()] == [400, 400]


# --- to a broker ------------------------------------------------------------------------------------------------------


def test_a_replay_is_marked_and_leaves_the_live_relay_alone(
    section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
        done = command(tmp_path, database.dsn, "replay", "--to", "pika", "--id", "again")
        post(service, "b")
        wait_until_published(service, "pika")
        assert relay_of(service, "pika")["position"] == 8
    assert (done.returncode, done.stderr) == (0, "4 events replayed, up to position 4\n")
    found = plain.drain(rabbitmq, exchange)
    assert [delivery.position for delivery in found] == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8]
    marks = [delivery.properties.headers.get("turnlog-replay") for delivery in found]
    assert marks == [None] * 4 + ["again"] * 4 + [None] * 4


async def test_a_replay_to_kafka_leaves_the_live_relay_alone(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, kafka_section(kafka, topic=missing_topic)) as service:
        post(service, "a")
        wait_until_published(service, "kafka")
        done = command(tmp_path, database.dsn, "replay", "--id", "again")
        post(service, "a")
        wait_until_published(service, "kafka")
    assert (done.returncode, done.stderr) == (0, "4 events replayed, up to position 4\n")
    found = [plain.headers_of(record) for record in await plain.records(kafka, missing_topic)]
    assert [(int(headers["turnlog-position"]), headers.get("turnlog-replay")) for headers in found] == [
        *((position, None) for position in (1, 2, 3, 4)),
        *((position, "again") for position in (1, 2, 3, 4)),
        (5, None),
    ]


@pytest.fixture(scope="module")
async def long(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """A log of several windows, to which nobody writes any more."""
    async with server.database() as database:
        with serving(tmp_path_factory.mktemp("filling"), database.dsn, None) as service:
            assert service.post("a", slots(*range(1, MANY + 1), value=LARGE)).status == 200
        yield database


@pytest.fixture
def many(long: Database, section: Section, tmp_path: Path) -> Database:
    """That log, and a broker to which nothing was published. One message at a time is under way."""
    configure(tmp_path, section | {"window": 1})
    return long


def resumed(folder: Path, database: Database, output: str) -> subprocess.CompletedProcess[str]:
    """The end of the command that a replay which ended early has printed."""
    found = _RESUME.search(output)
    assert found is not None, output
    confirmed, position, line = int(found[1]), int(found[2]), shlex.split(found[3])
    assert 0 < confirmed == position < MANY
    return command(folder, database.dsn, *line[1:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_interrupted_says_how_to_go_on(
    many: Database, rabbitmq: RabbitMQ, exchange: str, tmp_path: Path, number: signal.Signals
) -> None:
    with program(tmp_path, many.dsn, "replay", "--to", "pika", "--id", "r 1") as process:
        wait_until(lambda: depth(rabbitmq, exchange) > BEGUN, "the replay has begun")
        process.send_signal(number)
        assert process.wait() == 130
    rest = resumed(tmp_path, many, (tmp_path / "output.log").read_text())
    assert rest.returncode == 0, rest.stderr
    found = plain.drain(rabbitmq, exchange)
    assert [delivery.position for delivery in found] == list(range(1, MANY + 4))
    assert {delivery.properties.headers["turnlog-replay"] for delivery in found} == {"r 1"}


@pytest.mark.usefixtures("settled")
def test_a_replay_whose_broker_dies_says_how_to_go_on(
    many: Database, rabbitmq: RabbitMQ, exchange: str, tmp_path: Path
) -> None:
    with program(tmp_path, many.dsn, "replay", "--to", "pika") as process:
        wait_until(lambda: depth(rabbitmq, exchange) > BEGUN, "the replay has begun")
        with rabbitmq.down():
            assert process.wait() == 1
    output = (tmp_path / "output.log").read_text()
    assert "turnlog: the connection to 127.0.0.1" in output
    rest = resumed(tmp_path, many, output)
    assert rest.returncode == 0, rest.stderr
    found = [delivery.position for delivery in plain.drain(rabbitmq, exchange)]
    assert sorted(set(found)) == list(range(1, MANY + 4))
    assert len(found) <= MANY + 3 + 1  # at most the one that was under way came twice


def test_a_replay_to_a_broker_that_is_away_begins_nothing(filled: Database, section: Section, tmp_path: Path) -> None:
    configure(tmp_path, section | {"port": 1})
    done = command(tmp_path, filled.dsn, "replay")
    assert done.returncode == 1
    assert done.stderr.startswith("turnlog: url: no answer from 127.0.0.1:1 (connection refused)\n0 events replayed")


def test_what_was_parked_is_sent_whole(
    section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, section | {"max_message_bytes": 1000}) as service:
        assert service.post("a", slots(1) + slots(2, value=LARGE) + slots(3)).status == 200
        wait_until_published(service, "pika")
        assert relay_of(service, "pika")["parked"] == 1
    configure(tmp_path, section)
    done = command(tmp_path, database.dsn, "replay", "--parked")
    assert (done.returncode, done.stderr) == (0, "1 events replayed, up to position 5\n")
    *_, stub, last, whole = plain.drain(rabbitmq, exchange)
    assert stub.json["metadata"] == {"turnlog_parked": {"position": 5, "bytes": len(whole.body)}}
    assert (stub.position, last.position, whole.position) == (5, 6, 5)
    assert whole.json["value"] == LARGE
    assert command(tmp_path, database.dsn, "replay", "--parked").stderr.startswith("0 events replayed")


# --- with the flags of rasa export ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "times"),
    [
        ([], [100] * 4 + [200] * 4 + [300, 400]),
        (["--minimum-timestamp", "200"], [200] * 4 + [300, 400]),
        (["--maximum-timestamp", "300"], [100] * 4 + [200] * 4),
        (["--minimum-timestamp", "150", "--maximum-timestamp", "400"], [200] * 4 + [300]),
        (["--conversation-ids", "b,unknown"], [200] * 4 + [400]),
        (["--offset-timestamps-by-seconds", "1000", "--conversation-ids", "a"], [1100] * 4 + [1300]),
    ],
)
def test_an_export_publishes_as_many_events_as_it_says(
    filled: Database,
    section: Section,
    rabbitmq: RabbitMQ,
    exchange: str,
    tmp_path: Path,
    flags: list[str],
    times: list[float],
) -> None:
    configure(tmp_path, section)
    done = command(tmp_path, filled.dsn, "export", "--endpoints", "endpoints.yml", *flags)
    assert (done.returncode, done.stdout) == (0, f"Done! Successfully published {len(times)} events 🎉\n")
    found = plain.drain(rabbitmq, exchange)
    assert [delivery.json["timestamp"] for delivery in found] == times
    (process,) = {delivery.properties.headers["rasa-export-process-id"] for delivery in found}
    assert re.fullmatch("[0-9a-f]{32}", process)
