"""The relay: every event to the broker, in order, after the commit, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import structlog

from brokers import BrokerUnavailable, Mark, PublishFailed, RelayStopped
from brokers.relay import Relay
from eventstore import EventStore
from tests.brokers.scripted import ScriptedBroker, has_state, published, relaying, status_of
from tests.eventstore.helpers import session
from tests.projections.keeping import append, until

if TYPE_CHECKING:
    from eventstore import Database


async def test_every_event_is_published_in_the_order_of_the_log(store: EventStore) -> None:
    broker = ScriptedBroker()
    for number in range(30):
        await append(store, f"c{number % 3}", "slot", "bot")
    async with relaying(store, broker.broker()):
        await published(store)
        await append(store, "c1", "user")
        await published(store)
    assert broker.positions == list(range(1, 62))


async def test_a_message_carries_rasas_body_and_our_headers(store: EventStore) -> None:
    broker = ScriptedBroker()
    await append(store, 'with "quotes" \u00e9', "slot")
    async with relaying(store, broker.broker()):
        await published(store)
    log = (await store.read.identity()).id
    (message,) = broker.got
    assert json.loads(message.body) == {"sender_id": 'with "quotes" \u00e9', "event": "slot"}
    assert message.body.isascii()
    assert message.id == f"{log}-1"
    assert message.headers == {
        "turnlog-log": str(log),
        "turnlog-position": 1,
        "turnlog-version": 1,
        "turnlog-generation": 1,
        "turnlog-type": "slot",
    }


async def test_news_are_published_without_waiting_for_the_poll(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokers.relay.POLL", 3600)
    broker = ScriptedBroker()
    async with relaying(store, broker.broker()) as relay:
        await has_state(store, "publishing")
        await append(store, "c", "slot")
        relay.notify()
        await published(store)


async def test_what_was_not_confirmed_is_sent_again_from_the_first_such_message_on(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse = [PublishFailed("the connection was lost", confirmed=3)]
    await append(store, "c", *["slot"] * 10)
    async with relaying(store, broker.broker()):
        await published(store)
    assert broker.positions == [1, 2, 3, 4, *range(4, 11)]


async def test_a_relay_that_ends_is_followed_by_one_that_goes_on(store: EventStore) -> None:
    broker = ScriptedBroker()
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await published(store)
    await append(store, "c", "bot")
    async with relaying(store, broker.broker()):
        await published(store)
    assert broker.positions == [1, 2]


async def test_of_two_relays_one_works(database: Database, store: EventStore) -> None:
    broker = ScriptedBroker()
    async with EventStore(database) as other, relaying(store, broker.broker()), relaying(other, broker.broker()):
        for _ in range(20):
            await append(store, "c", "slot")
        await published(store)
    assert broker.positions == list(range(1, 21))
    assert len(broker.sources) == 1


async def test_a_relay_that_was_stopped_publishes_at_most_the_window_under_way(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease runs out while a window waits; the next one is not begun."""
    monkeypatch.setattr("eventstore.leading.SECONDS", 0.3)
    monkeypatch.setattr("eventstore.leading.RENEW_EVERY", 3600)
    monkeypatch.setattr("brokers.relay.STAND_BY", 3600)
    broker = ScriptedBroker()
    broker.gate.clear()
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await until(lambda: _is_true(bool(broker.sources)))
        await asyncio.get_running_loop().run_in_executor(None, _pass_half_a_second)
        await append(store, "c", "slot")
        broker.gate.set()
        await until(lambda: _is_true(all(publisher.is_closed for publisher in broker.publishers)))
    assert broker.windows == [1]


async def test_an_unreachable_broker_is_tried_again_and_said_to_be_away(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse_open = [BrokerUnavailable("no answer (connection refused)", setting="url")] * 3
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await has_state(store, "unreachable")
        away = await status_of(store)
        assert away is not None
        assert away.reason == "endpoints.yml:1: event_broker.url: no answer (connection refused)"
        assert away.lag_events == 1
        await published(store)
        back = await status_of(store)
    assert back is not None
    assert (back.state, back.reason, back.reconnects, back.lag_events, back.lag_seconds) == ("publishing", "", 1, 0, 0)


async def test_a_broker_that_stays_away_is_logged_once(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse_open = [BrokerUnavailable("no answer (connection refused)", setting="url")] * 3
    with structlog.testing.capture_logs() as logged:
        async with relaying(store, broker.broker()):
            await has_state(store, "publishing")
    assert [line["event"] for line in logged if line["log_level"] == "error"] == [
        "endpoints.yml:1: event_broker.url: no answer (connection refused); events wait in the log, 0 behind"
    ]


async def test_a_connection_that_is_lost_while_nothing_happens_is_made_anew(store: EventStore) -> None:
    broker = ScriptedBroker()
    async with relaying(store, broker.broker()):
        await has_state(store, "publishing")
        broker.publishers[0].breaks.set()
        await until(lambda: _is_true(len(broker.publishers) == 2))


async def test_a_publisher_that_fails_in_an_unforeseen_way_does_not_end_the_relay(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse = [ZeroDivisionError("oh")]
    await append(store, "c", "slot", "bot")
    async with relaying(store, broker.broker()):
        await published(store)
    assert broker.positions[-2:] == [1, 2]


async def test_a_new_broker_can_start_now(store: EventStore) -> None:
    broker = ScriptedBroker()
    await append(store, "c", "slot", "slot")
    async with relaying(store, broker.broker(start="now")):
        await published(store)
        await append(store, "c", "bot")
        await published(store)
    assert broker.positions == [3]


async def test_a_new_broker_that_keeps_marks_can_start_now_and_again(store: EventStore) -> None:
    broker = ScriptedBroker(keeps_mark=True)
    await append(store, "c", "slot", "slot")
    async with relaying(store, broker.broker(start="now")):
        await published(store)
    await append(store, "c", "bot")
    async with relaying(store, broker.broker(start="now")):
        await published(store)
    assert broker.positions == [3]


async def test_imported_events_carry_a_header(database: Database, store: EventStore) -> None:
    broker = ScriptedBroker()
    await append(store, "c", "slot")
    async with EventStore(database, origin="import") as importing:
        await append(importing, "d", "slot", "bot")
    await append(store, "c", "bot")
    async with relaying(store, broker.broker()):
        await published(store)
    assert [message.headers.get("turnlog-imported") for message in broker.got] == [None, True, True, None]


async def test_imported_events_can_be_left_out(database: Database, store: EventStore) -> None:
    broker = ScriptedBroker()
    async with EventStore(database, origin="import") as importing:
        await append(importing, "d", "slot", "bot")
    await append(store, "c", "bot")
    async with relaying(store, broker.broker(publish_imported=False)):
        await published(store)
    assert broker.positions == [3]


async def test_an_event_that_is_too_large_is_parked_behind_a_stub(store: EventStore) -> None:
    broker = ScriptedBroker(max_message_bytes=50)
    await append(store, "c", "slot", "x" * 60, "bot")
    async with relaying(store, broker.broker()):
        await published(store)
        status = await status_of(store)
    stub = broker.got[1]
    assert broker.positions == [1, 2, 3]
    assert json.loads(stub.body) == {
        "sender_id": "c",
        "event": "x" * 60,
        "timestamp": 1.0,
        "metadata": {"turnlog_parked": {"position": 2, "bytes": 88}},
    }
    assert stub.headers["turnlog-parked"] is True
    assert stub.headers["turnlog-version"] == 2
    assert status is not None
    assert status.parked == 1


async def test_the_mark_of_a_broker_that_keeps_one_counts_more_than_the_checkpoint(store: EventStore) -> None:
    """As after a crash between the broker's commit and ours."""
    broker = ScriptedBroker(keeps_mark=True)
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await published(store)
    await append(store, "c", "slot", "slot")
    broker.mark = await _mark_at(store, 2)
    async with relaying(store, broker.broker()):
        await published(store)
    assert broker.positions == [1, 3]


async def test_a_checkpoint_that_moves_late_lets_nothing_be_published_twice(
    database: Database, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the broker keeps the mark, the next window is read while the copy of the one before is on its way."""
    monkeypatch.setattr("brokers.relay.BACKLOG", 3)
    broker = ScriptedBroker(keeps_mark=True)
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await published(store)
        async with session(database) as connection, connection.transaction():
            await connection.execute(f"SELECT 1 FROM {database.schema}.checkpoint FOR UPDATE")
            await append(store, "c", *["slot"] * 5)
            await until(lambda: _is_true(len(broker.got) > 1))
            await until(lambda: _waits(store))
        await append(store, "c", "slot")
        await published(store)
    assert broker.positions == list(range(1, 8))


async def test_a_broker_that_lost_its_mark_waits_for_a_person(store: EventStore) -> None:
    broker = ScriptedBroker(keeps_mark=True)
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await published(store)
    broker.mark = None
    async with relaying(store, broker.broker()):
        await has_state(store, "stopped")
        status = await status_of(store)
    assert status is not None
    assert "turnlog relay --broker scripted --set-position 1" in status.reason
    assert broker.positions == [1]


async def test_a_log_that_lost_what_was_published_is_noticed_and_not_followed(store: EventStore) -> None:
    broker = ScriptedBroker()
    await append(store, "c", "slot", "slot", "slot")
    async with relaying(store, broker.broker()):
        await published(store)
    await store.read.fetch("UPDATE @schema@.checkpoint SET position = 9 WHERE name = 'relay scripted'")
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await has_state(store, "stopped")
        status = await status_of(store)
        assert status is not None
        assert "position 9, which this log does not reach" in status.reason
        assert "--set-position" in status.reason
        await store.read.fetch("UPDATE @schema@.checkpoint SET position = 3 WHERE name = 'relay scripted'")
        await published(store)
    assert broker.positions == [1, 2, 3, 4]


async def test_a_relay_goes_on_when_a_person_has_decided(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.refuse_open = [RelayStopped("ask a person")]
    await append(store, "c", "slot", "slot")
    async with relaying(store, broker.broker()):
        await has_state(store, "stopped")
        lease = await store.leases.acquire("relay scripted")
        assert lease is not None  # it was given back
        await store.checkpoints.move("relay scripted", 0, 1, lease)
        await store.leases.release(lease)
        await published(store)
    assert broker.positions == [2]


async def test_a_pause_is_told(store: EventStore) -> None:
    broker = ScriptedBroker()
    broker.gate.clear()
    await append(store, "c", "slot")
    async with relaying(store, broker.broker()):
        await until(lambda: _is_true(bool(broker.sources)))
        broker.publishers[0].paused("low on memory")
        await has_state(store, "paused")
        broker.publishers[0].paused(None)
        broker.gate.set()
        await has_state(store, "publishing")


async def test_a_status_without_a_process_is_absent(store: EventStore) -> None:
    broker = ScriptedBroker()
    async with relaying(store, broker.broker()):
        await has_state(store, "publishing")
    await has_state(store, "absent")


async def test_a_relay_that_takes_over_says_anew_how_it_is(database: Database, store: EventStore) -> None:
    """Another one may have said something else meanwhile."""
    broker = ScriptedBroker()
    async with relaying(store, broker.broker()):
        await has_state(store, "publishing")
        await store.read.fetch("UPDATE @schema@.relay SET state = 'unreachable', reason = 'of another'")
        broker.publishers[0].breaks.set()
        await has_state(store, "publishing")


async def test_a_cancelled_relay_ends_and_closes_its_publisher(store: EventStore) -> None:
    broker = ScriptedBroker()
    task = asyncio.create_task(Relay(store, broker.broker()).run())
    await has_state(store, "publishing")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert broker.publishers[0].is_closed


async def _mark_at(store: EventStore, position: int) -> Mark:
    commit = (await store.read.commits(position, position))[-1]
    return Mark((await store.read.identity()).id, position, commit.chain, 1)


async def _waits(store: EventStore) -> bool:
    """Whether a session waits for what another one has locked."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await store.read.fetch(waiting))


async def _is_true(value: bool) -> bool:
    return value


def _pass_half_a_second() -> None:
    import time

    time.sleep(0.5)
