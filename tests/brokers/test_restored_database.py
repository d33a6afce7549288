"""A database that was restored from an older copy: a broker that knows better stops its relay, and nothing else."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.brokers import plain
from tests.brokers.running import (
    command,
    kafka_section,
    post,
    relay_of,
    said,
    serving,
    wait_for_state,
    wait_until_published,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore import Database
    from tests.brokers.running import Section
    from tests.kafka import Kafka
    from tests.postgres import Server


@pytest.fixture
async def restored(server: Server, database: Database, section: Section, tmp_path: Path) -> AsyncIterator[str]:
    """The DSN of a copy that lacks conversation b: the broker has the events of a and b, which are 8."""
    copy = f"turnlog_copy_{secrets.token_hex(6)}"
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "a")
        wait_until_published(service, section["type"])
    await server.execute(f"CREATE DATABASE {copy} TEMPLATE {urlsplit(database.dsn).path[1:]}")
    with serving(tmp_path, database.dsn, section) as service:
        post(service, "b")
        wait_until_published(service, section["type"])
    yield server.dsn_of(copy)
    await server.execute(f"DROP DATABASE {copy} WITH (FORCE)")


@pytest.fixture(params=["kafka", "file"])
def section(request: pytest.FixtureRequest, kafka: Kafka, missing_topic: str) -> Section:
    """A broker that itself keeps how far it is."""
    return kafka_section(kafka, topic=missing_topic) if request.param == "kafka" else {"type": "file", "path": "events"}


async def senders(section: Section, kafka: Kafka, folder: Path) -> list[str]:
    """The conversations of all that was published, sorted."""
    if section["type"] == "file":
        return sorted(json.loads(line)["sender_id"] for line in (folder / "events").read_text().splitlines())
    return sorted(plain.value_of(record)["sender_id"] for record in await plain.records(kafka, section["topic"]))


async def test_its_relay_stops_until_somebody_says_where_it_goes_on(
    restored: str, section: Section, kafka: Kafka, tmp_path: Path
) -> None:
    name = section["type"]
    with serving(tmp_path, restored, section) as service:
        wait_for_state(service, name, "stopped")
        post(service, "c", "d")
        advice = f"`turnlog relay --broker {name} --set-position N` goes on after position N of this log"
        assert advice in relay_of(service, name)["reason"]
        status = command(tmp_path, restored, "relay", "--status")
        done = command(tmp_path, restored, "relay", "--broker", name, "--set-position", "4")
        assert (done.returncode, done.stdout) == (0, f"the relay of {name} goes on after position 4\n")
        wait_until_published(service, name)
        wait_for_state(service, name, "publishing")
        (line,) = [line for line in said(service.log, "error") if "relay stopped" in line]
    assert advice in line
    assert "it is at position 8, which this log does not reach" in line
    assert (status.returncode, f"{name} ({name}, stopped)" in status.stdout) == (1, True)
    assert await senders(section, kafka, tmp_path) == [*"aaaabbbbccccdddd"]


async def test_its_relay_stops_too_when_the_log_is_as_long_again(
    restored: str, section: Section, kafka: Kafka, tmp_path: Path
) -> None:
    name = section["type"]
    with serving(tmp_path, restored, None) as service:
        post(service, "c", "d")
    with serving(tmp_path, restored, section) as service:
        wait_for_state(service, name, "stopped")
        assert "the history up to position 8 is another one" in relay_of(service, name)["reason"]
    assert await senders(section, kafka, tmp_path) == [*"aaaabbbb"]
