"""The file broker: whole lines, each event once, whatever was left by a crash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokers import BrokerUnavailable, RelayStopped, Source, broker_of
from tests.brokers.scripted import published, relaying
from tests.projections.keeping import append, until

if TYPE_CHECKING:
    from pathlib import Path

    from brokers import Broker
    from eventstore import EventStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


def broker_to(path: Path) -> Broker:
    return broker_of({"type": "File", "path": str(path)}, {})


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def relay_all(store: EventStore, path: Path) -> None:
    async with relaying(store, broker_to(path)):
        await published(store, "file")


async def test_each_event_is_a_line(store: EventStore, path: Path) -> None:
    await append(store, "c", "slot", "bot")
    await relay_all(store, path)
    assert lines(path) == [{"sender_id": "c", "event": "slot"}, {"sender_id": "c", "event": "bot"}]


async def test_lines_of_others_stay_and_half_a_line_is_cut(store: EventStore, path: Path) -> None:
    path.write_text('{"sender_id":"old"}\n{"sender_id":"hal')
    await append(store, "c", "slot")
    await relay_all(store, path)
    assert lines(path) == [{"sender_id": "old"}, {"sender_id": "c", "event": "slot"}]


async def test_what_a_crash_left_unfinished_is_written_once(store: EventStore, path: Path) -> None:
    """Lines were written, but neither mark nor checkpoint moved."""
    await append(store, "c", "slot")
    await relay_all(store, path)
    with path.open("a") as file:
        file.write('{"sender_id":"c","event":"bot"}\n{"sender_id":"c","ev')
    await append(store, "c", "bot", "user")
    await relay_all(store, path)
    assert [line["event"] for line in lines(path)] == ["slot", "bot", "user"]


async def test_a_crash_between_mark_and_checkpoint_doubles_nothing(store: EventStore, path: Path) -> None:
    await append(store, "c", "slot", "bot")
    await relay_all(store, path)
    await store.read.fetch("UPDATE @schema@.checkpoint SET position = 0, chain = '' WHERE name = 'relay file'")
    await append(store, "c", "user")
    await relay_all(store, path)
    assert [line["event"] for line in lines(path)] == ["slot", "bot", "user"]


async def test_a_file_that_was_moved_away_is_begun_anew(store: EventStore, path: Path) -> None:
    await append(store, "c", "slot")
    await relay_all(store, path)
    path.rename(path.with_suffix(".1"))
    await append(store, "c", "bot")
    await relay_all(store, path)
    assert [line["event"] for line in lines(path)] == ["bot"]


async def test_another_process_with_the_file_is_waited_for(store: EventStore, path: Path) -> None:
    await append(store, "c", "slot")
    source = Source((await store.read.identity()).id, "file")
    first, second = broker_to(path).publisher(), broker_to(path).publisher()
    await first.open(source)
    with pytest.raises(BrokerUnavailable, match="another process publishes to it"):
        await second.open(source)
    await first.close()
    await second.open(source)
    await second.close()


async def test_a_folder_in_place_of_the_file_is_a_named_fault(store: EventStore, tmp_path: Path) -> None:
    publisher = broker_to(tmp_path).publisher()
    with pytest.raises(BrokerUnavailable, match=f"path: {tmp_path}: Is a directory"):
        await publisher.open(Source((await store.read.identity()).id, "file"))
    await publisher.close()


async def test_a_mark_that_is_not_ours_is_a_named_fault(store: EventStore, path: Path) -> None:
    path.with_name("events.log.turnlog-checkpoint").write_text("oh")
    publisher = broker_to(path).publisher()
    with pytest.raises(RelayStopped, match=r"events\.log\.turnlog-checkpoint"):
        await publisher.open(Source((await store.read.identity()).id, "file"))
    await publisher.close()


async def test_the_mark_of_another_log_stops_the_relay(store: EventStore, path: Path) -> None:
    content = {"log": "00000000-0000-0000-0000-000000000000", "position": 3, "chain": "00", "epoch": 1, "bytes": 0}
    path.with_name("events.log.turnlog-checkpoint").write_text(json.dumps(content))
    await append(store, "c", "slot")

    async def is_stopped() -> bool:
        rows = await store.read.fetch("SELECT reason FROM @schema@.relay WHERE state = 'stopped'")
        return bool(rows) and "it was made on log 00000000-0000-0000-0000-000000000000" in rows[0][0]

    async with relaying(store, broker_to(path)):
        await until(is_stopped)
    assert path.read_text() == ""
