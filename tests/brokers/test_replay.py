"""Replays: selected events again, in order and marked, with an exact count of what was confirmed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokers import BrokerUnavailable, PublishFailed
from brokers.replay import Plan, Replay, Replayed, ReplayFailed
from eventstore.feed import Selection
from tests.brokers.scripted import ScriptedBroker, ScriptedPublisher, published, relaying, status_of
from tests.projections.keeping import append

if TYPE_CHECKING:
    from eventstore import EventStore


async def plan(store: EventStore, **fields: Any) -> Plan:
    common: dict[str, Any] = {"id": "again", "broker": "scripted", "after": 0, "upto": await store.read.last_position()}
    return Plan(**(common | fields))


async def replay(store: EventStore, broker: ScriptedBroker, **fields: Any) -> Replayed:
    return await Replay(store, ScriptedPublisher(broker), await plan(store, **fields)).run()


@pytest.fixture
async def filled(store: EventStore) -> EventStore:
    """A log of twelve events in two conversations."""
    for _ in range(3):
        await append(store, "a", "slot", "user")
        await append(store, "b", "slot", "bot")
    return store


async def test_everything_is_sent_again_with_the_id_of_the_replay(filled: EventStore) -> None:
    broker = ScriptedBroker()
    assert await replay(filled, broker) == Replayed(12, 12)
    assert broker.positions == list(range(1, 13))
    assert {message.headers["turnlog-replay"] for message in broker.got} == {"again"}
    assert broker.sources[0].replay == "again"


@pytest.mark.parametrize(
    ("fields", "positions"),
    [
        ({"after": 5}, range(6, 13)),
        ({"upto": 4}, range(1, 5)),
        ({"selection": Selection(conversations=("b",))}, [3, 4, 7, 8, 11, 12]),
        ({"selection": Selection(types=("user", "bot"))}, [2, 4, 6, 8, 10, 12]),
        ({"selection": Selection(conversations=("b",), types=("bot",)), "after": 4}, [8, 12]),
        ({"selection": Selection(conversations=("nobody",))}, []),
        ({"selection": Selection(min_timestamp=1.5)}, []),
        ({"selection": Selection(max_timestamp=1.0)}, []),
        ({"selection": Selection(min_timestamp=1.0, max_timestamp=1.5)}, range(1, 13)),
    ],
)
async def test_a_selection_is_sent_in_the_order_of_the_log(
    filled: EventStore, fields: dict[str, Any], positions: list[int]
) -> None:
    broker = ScriptedBroker()
    done = await replay(filled, broker, **fields)
    assert broker.positions == list(positions)
    assert done == Replayed(fields.get("upto", 12), len(positions))


async def test_the_count_of_a_failed_replay_is_what_was_confirmed(filled: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse = [PublishFailed("nack", confirmed=5)]
    with pytest.raises(ReplayFailed, match="nack") as caught:
        await replay(filled, broker)
    assert caught.value.done == Replayed(5, 5)
    assert await replay(filled, ScriptedBroker(), after=caught.value.done.position) == Replayed(12, 7)


async def test_a_broker_that_is_away_ends_the_replay(filled: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse_open = [BrokerUnavailable("connection refused", setting="url")]
    with pytest.raises(ReplayFailed, match="url: connection refused") as caught:
        await replay(filled, broker)
    assert caught.value.done == Replayed(0, 0)


async def test_timestamps_can_be_moved(filled: EventStore) -> None:
    broker = ScriptedBroker()
    await filled.read.fetch("SELECT 1")
    await replay(filled, broker, upto=1, offset_seconds=60)
    assert json.loads(broker.got[0].body) == {"sender_id": "a", "event": "slot"}


async def test_the_live_relay_is_left_alone(filled: EventStore) -> None:
    broker = ScriptedBroker()
    async with relaying(filled, broker.broker()):
        await published(filled)
        await replay(filled, broker)
        await append(filled, "a", "slot")
        await published(filled)
    assert broker.positions == [*range(1, 13), *range(1, 13), 13]


async def test_a_parked_event_is_sent_whole_later(store: EventStore) -> None:
    broker = ScriptedBroker(max_message_bytes=60)
    await append(store, "c", "slot", "x" * 60, "bot")
    async with relaying(store, broker.broker()):
        await published(store)
    broker.got.clear()
    broker.max_message_bytes = 1000
    done = await Replay(store, ScriptedPublisher(broker), await plan(store)).run_parked()
    (message,) = broker.got
    assert json.loads(message.body) == {"sender_id": "c", "event": "x" * 60}
    assert message.headers["turnlog-replay"] == "again"
    assert "turnlog-parked" not in message.headers
    assert done.confirmed == 1
    status = await status_of(store)
    assert status is not None
    assert status.parked == 0


async def test_a_parked_event_that_is_still_too_large_is_named(store: EventStore) -> None:
    broker = ScriptedBroker(max_message_bytes=60)
    await append(store, "c", "x" * 60)
    async with relaying(store, broker.broker()):
        await published(store)
    with pytest.raises(ReplayFailed, match=r"position 1 has 88 bytes, and max_message_bytes of broker scripted is 60"):
        await Replay(store, ScriptedPublisher(broker), await plan(store)).run_parked()


async def test_a_replay_stops_after_the_window_under_way(filled: EventStore) -> None:
    broker = ScriptedBroker()
    work = Replay(filled, ScriptedPublisher(broker), await plan(filled))
    work.stop()
    assert await work.run() == Replayed(0, 0)
