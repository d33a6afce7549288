"""`turnlog relay`: a relay in a process of its own, and what a person may ask of relays and tell them."""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.brokers import plain
from tests.brokers.running import (
    PER_CONVERSATION,
    command,
    configure,
    kafka_section,
    post,
    program,
    relay_of,
    serving,
    wait_for_state,
    wait_until_published,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from eventstore import Database
    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ
    from tests.service import Service


@pytest.fixture
def quiet(tmp_path: Path, database: Database) -> Iterator[Service]:
    """A service on the same database that publishes nothing."""
    with serving(tmp_path / "quiet", database.dsn, None) as service:
        yield service


@contextmanager
def relaying(folder: Path, dsn: str, section: Section) -> Iterator[subprocess.Popen[bytes]]:
    """A relay at work in a process of its own, which runs in a folder of its own."""
    configure(folder, section)
    with program(folder, dsn, "relay") as process:
        yield process


def positions(rabbitmq: RabbitMQ, queue: str) -> list[int]:
    """Those of the events in a queue."""
    return [delivery.position for delivery in plain.drain(rabbitmq, queue)]


def test_a_process_of_its_own_publishes_what_a_service_without_brokers_logs(
    quiet: Service, section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    post(quiet, "before")
    with relaying(tmp_path, database.dsn, section):
        wait_for_state(quiet, "pika", "publishing")
        post(quiet, "after")
        wait_until_published(quiet, "pika")
    assert positions(rabbitmq, exchange) == list(range(1, 2 * PER_CONVERSATION + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order(
    quiet: Service, section: Section, database: Database, tmp_path: Path, number: signal.Signals
) -> None:
    with relaying(tmp_path, database.dsn, section) as process:
        wait_for_state(quiet, "pika", "publishing")
        process.send_signal(number)
        assert process.wait() == 0
    assert relay_of(quiet, "pika")["state"] == "absent"


def test_another_process_takes_over_from_one_that_was_killed(
    quiet: Service, section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    with (
        relaying(tmp_path / "first", database.dsn, section) as first,
        relaying(tmp_path / "second", database.dsn, section) as second,
    ):
        post(quiet, "a")
        wait_until_published(quiet, "pika")
        first.kill()
        post(quiet, "b")
        wait_until_published(quiet, "pika")
        second.send_signal(signal.SIGTERM)
        assert second.wait() == 0
    assert positions(rabbitmq, exchange) == list(range(1, 2 * PER_CONVERSATION + 1))


def test_without_a_broker_it_has_nothing_to_do(database: Database, tmp_path: Path) -> None:
    configure(tmp_path, None)
    done = command(tmp_path, database.dsn, "relay")
    assert (done.returncode, done.stderr) == (1, "turnlog: endpoints.yml: there is no event_broker to publish to\n")


# --- status -----------------------------------------------------------------------------------------------------------


def test_the_status_of_no_relay(database: Database, tmp_path: Path) -> None:
    done = command(tmp_path, database.dsn, "relay", "--status")
    assert (done.returncode, done.stdout) == (0, "no broker was ever published to\n")


def test_the_status_shows_every_relay(
    section: Section, kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    sections = [section, kafka_section(kafka, topic=missing_topic, name="to-kafka")]
    with serving(tmp_path, database.dsn, sections) as service:
        post(service, "a")
        wait_until_published(service, "pika", "to-kafka")
        at_work = command(tmp_path, database.dsn, "relay", "--status")
    stopped = command(tmp_path, database.dsn, "relay", "--status")
    state = "at position 4, 0 events and 0.0 s behind, 0 parked"
    assert at_work.stdout == f"pika (pika, publishing): {state}\nto-kafka (kafka, publishing): {state}\n"
    assert stopped.stdout == at_work.stdout.replace("publishing", "absent")
    assert (at_work.returncode, stopped.returncode) == (0, 0)


def test_the_service_shows_how_far_its_relay_is(section: Section, database: Database, tmp_path: Path) -> None:
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
        assert relay_of(service, "pika") == {
            "name": "pika",
            "kind": "pika",
            "state": "publishing",
            "reason": "",
            "position": 4,
            "lag_events": 0,
            "lag_seconds": 0,
            "reconnects": 0,
            "parked": 0,
        }
        assert metrics(service) == {"up": 1, "position": 4, "lag_events": 0, "lag_seconds": 0} | {
            "parked_events": 0,
            "reconnects": 0,
        }


def test_the_service_shows_how_far_a_broker_is_behind(section: Section, database: Database, tmp_path: Path) -> None:
    with serving(tmp_path, database.dsn, section | {"port": 1}) as service:
        wait_for_state(service, "pika", "unreachable")
        post(service, "a")
        assert service.answers("/readyz")
        relay, shown = relay_of(service, "pika"), metrics(service)
    assert relay["reason"].startswith("endpoints.yml:1: event_broker.url: no answer from 127.0.0.1:1")
    assert (relay["lag_events"], shown["lag_events"], shown["up"]) == (4, 4, 0)
    assert shown["lag_seconds"] > 0


def metrics(service: Service) -> dict[str, float]:
    """The metrics of the relay of `pika`, by the end of their names."""
    text = service.get("/metrics").body.decode()
    found = re.findall(r'^turnlog_relay_(\w+)\{broker="pika"\} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


# --- set the position -------------------------------------------------------------------------------------------------


def test_the_position_of_a_relay_at_work_can_not_be_set(
    section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
        done = command(tmp_path, database.dsn, "relay", "--set-position", "0")
        post(service, "b")
        wait_until_published(service, "pika")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the relay of 'pika' is at work" in done.stderr
    assert positions(rabbitmq, exchange) == list(range(1, 2 * PER_CONVERSATION + 1))


def test_a_relay_goes_on_at_the_position_that_was_set(
    section: Section, rabbitmq: RabbitMQ, exchange: str, database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    done = command(tmp_path, database.dsn, "relay", "--set-position", "2")
    assert (done.returncode, done.stdout) == (0, "the relay of pika goes on after position 2\n")
    with serving(tmp_path, database.dsn, section) as service:
        wait_until_published(service, "pika")
    assert positions(rabbitmq, exchange) == [1, 2, 3, 4, 3, 4]


async def test_the_position_is_set_at_a_broker_that_keeps_it(
    kafka: Kafka, missing_topic: str, database: Database, tmp_path: Path
) -> None:
    section = kafka_section(kafka, topic=missing_topic)
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, "kafka")
    done = command(tmp_path, database.dsn, "relay", "--set-position", "0")
    assert done.returncode == 0, done.stderr
    with serving(tmp_path, database.dsn, section) as service:
        wait_until_published(service, "kafka")
    found = [int(plain.headers_of(record)["turnlog-position"]) for record in await plain.records(kafka, missing_topic)]
    assert found == [1, 2, 3, 4] * 2


def test_a_position_beyond_the_log_is_refused(section: Section, database: Database, tmp_path: Path) -> None:
    configure(tmp_path, section)
    done = command(tmp_path, database.dsn, "relay", "--set-position", "5")
    assert (done.returncode, done.stderr) == (1, "turnlog: position 5 is not in this log, which ends at 0\n")


def test_of_several_brokers_one_must_be_named(section: Section, database: Database, tmp_path: Path) -> None:
    configure(tmp_path, [section, section | {"name": "other"}])
    done = command(tmp_path, database.dsn, "relay", "--set-position", "0")
    assert (done.returncode, done.stderr) == (1, "turnlog: say which broker is meant: endpoints.yml has pika, other\n")
    named = command(tmp_path, database.dsn, "relay", "--set-position", "0", "--broker", "other")
    assert (named.returncode, named.stdout) == (0, "the relay of other goes on after position 0\n")


# --- forget -----------------------------------------------------------------------------------------------------------


def test_a_broker_that_is_gone_is_forgotten(
    quiet: Service, section: Section, database: Database, tmp_path: Path
) -> None:
    with relaying(tmp_path, database.dsn, section) as process:
        wait_for_state(quiet, "pika", "publishing")
        process.send_signal(signal.SIGTERM)
        process.wait()
    done = command(tmp_path, database.dsn, "relay", "--forget", "pika")
    assert (done.returncode, done.stdout) == (0, "no broker was ever published to\n")
    assert relay_of(quiet, "pika") == {}
    assert metrics(quiet) == {}


def test_what_is_not_known_can_not_be_forgotten(database: Database, tmp_path: Path) -> None:
    done = command(tmp_path, database.dsn, "relay", "--forget", "nobody")
    assert (done.returncode, done.stderr) == (1, "turnlog: nothing is known of a broker named 'nobody'\n")
