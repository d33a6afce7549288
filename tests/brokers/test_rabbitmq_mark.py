"""The mark at RabbitMQ: it follows what is confirmed, outlives whatever is killed, and tells an older database."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pika
import pytest
import structlog

from brokers import Mark, RelayStopped, Source, Window
from brokers.rabbitmq_mark import queue_of
from brokers.rabbitmq_options import RabbitMQOptions
from eventstore import EventStore
from tests.brokers import plain
from tests.brokers.running import (
    command,
    pika_section,
    post,
    relay_of,
    said,
    serving,
    wait_for_state,
    wait_until_published,
)
from tests.brokers.test_rabbitmq import LOG, SOURCE, Place, at, failure, messages, opened, publisher_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from eventstore import Database
    from tests.brokers.running import Section
    from tests.postgres import Server
    from tests.rabbitmq import RabbitMQ

OTHER_LOG: Final = UUID(int=8)
CHAIN: Final = b"\x01\xff"


@pytest.fixture
def place(rabbitmq: RabbitMQ) -> Iterator[Place]:
    """Nothing is declared there yet."""
    with Place.new(rabbitmq) as place:
        yield place


def window(count: int, first: int = 1, *, log: UUID = LOG) -> Window:
    """Messages of consecutive positions, and the mark that they reach."""
    return Window(tuple(messages(count, first)), Mark(log, first + count - 1, CHAIN, 3))


async def mark_at(section: dict[str, Any], source: Source = SOURCE) -> Mark | None:
    """The mark that a publisher finds."""
    publisher = publisher_of(section)
    try:
        mark = await publisher.open(source)
        assert publisher.keeps_mark == (mark is not None)
        return mark
    finally:
        await publisher.close()


async def publish(section: dict[str, Any], *windows: Window) -> None:
    """Publish windows over one connection."""
    async with opened(section) as publisher:
        for one in windows:
            await publisher.publish(one)


async def fail_after(place: Place, confirmed: int, first: int) -> None:
    """Publish a window of which only so many messages are confirmed, from position `first` on."""
    with place.channel() as channel:
        channel.queue_delete(place.queue)
        arguments = {"x-max-length": confirmed, "x-overflow": "reject-publish"}
        channel.queue_declare(place.queue, durable=True, arguments=arguments)
    async with opened(place.section(window=1)) as publisher:
        assert (await failure(publisher, messages(10, first))).confirmed == confirmed
    with place.channel() as channel:
        channel.queue_delete(place.queue)


def warnings(logged: list[Any]) -> list[tuple[str, str]]:
    """Reason and advice of each time that it was told that no mark is kept."""
    return [(line["reason"], line["advice"]) for line in logged if line["event"].startswith("no mark is kept")]


# ---- what it follows ----


async def test_there_is_none_before_the_first_window(place: Place) -> None:
    assert await mark_at(place.section()) is None


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_it_says_where_the_last_window_ended(place: Place, queue_type: str) -> None:
    section = place.section(queue_type=queue_type)
    await publish(section, window(2000), window(5, 2001), Window((), Mark(LOG, 2006, CHAIN, 3)))
    assert await mark_at(section) == Mark(LOG, 2006, CHAIN, 3)
    assert len(place.arrived()) == 2005
    await publish(section, window(3, 2007))
    assert await mark_at(section) == Mark(LOG, 2009, CHAIN, 3)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_it_may_be_read_any_number_of_times(place: Place, queue_type: str) -> None:
    section = place.section(queue_type=queue_type)
    await publish(section, window(1))
    for _ in range(25):  # a quorum queue drops what was given back more often than 20 times
        assert await mark_at(section) == Mark(LOG, 1, CHAIN, 3)
    assert len(place.arrived(place.mark_queue)) == 1


async def test_only_the_last_one_is_kept(place: Place) -> None:
    await publish(place.section(), *(window(1, position) for position in range(1, 21)))
    ((properties, body),) = place.arrived(place.mark_queue)
    assert properties.delivery_mode == 2
    assert json.loads(body) == {"log": str(LOG), "position": 20, "chain": "Af8=", "epoch": 3, "is_partial": False}


async def test_it_survives_a_restart(place: Place) -> None:
    await publish(place.section(), window(1))
    place.node.restart()
    assert await mark_at(place.section()) == Mark(LOG, 1, CHAIN, 3)


async def test_it_belongs_to_the_place_and_the_broker_and_not_to_a_log(place: Place) -> None:
    await publish(place.section(), window(1))
    assert await mark_at(place.section(), Source(OTHER_LOG, "pika")) == Mark(LOG, 1, CHAIN, 3)
    assert await mark_at(place.section(), Source(LOG, "other")) is None
    with place.channel() as channel:
        channel.queue_delete(f"turnlog-mark-other/{place.exchange}")


def test_a_name_that_is_too_long_for_amqp_is_shortened() -> None:
    names = {
        queue_of(RabbitMQOptions(host="h", username="u", password="p", exchange_name="é" * 127 + last), "b" * 100)
        for last in ("1", "2")
    }
    assert len(names) == 2
    assert all(len(name.encode()) <= 255 for name in names)


async def test_a_replay_neither_sees_nor_moves_it(place: Place) -> None:
    await publish(place.section(), window(5))
    replay = Source(LOG, "pika", "replay-1")
    publisher = publisher_of(place.section())
    assert await publisher.open(replay) is None
    await publisher.publish(window(2))
    await publisher.close()
    assert await mark_at(place.section()) == Mark(LOG, 5, CHAIN, 3)


async def test_it_is_set_by_hand(place: Place) -> None:
    await publish(place.section(), window(5, log=OTHER_LOG))
    publisher = publisher_of(place.section())
    assert publisher.keeps_mark
    await publisher.set_mark(SOURCE, Mark(LOG, 2, CHAIN, 4))
    await publisher.close()
    assert await mark_at(place.section()) == Mark(LOG, 2, CHAIN, 4)


# ---- windows that fail ----


async def test_a_window_of_which_nothing_is_confirmed_leaves_it(place: Place) -> None:
    await publish(place.section(), window(5))
    async with opened(place.section()) as publisher:
        with place.channel() as channel:
            channel.queue_delete(place.queue)
        assert (await failure(publisher, messages(5, 6))).confirmed == 0
    assert await mark_at(place.section()) == Mark(LOG, 5, CHAIN, 3)


async def test_after_a_part_of_a_window_the_relays_checkpoint_counts(place: Place) -> None:
    await publish(place.section(), window(5))
    await fail_after(place, 3, first=6)
    assert await mark_at(place.section()) is None
    await publish(place.section(), window(2, 9))
    assert await mark_at(place.section()) == Mark(LOG, 10, CHAIN, 3)


async def test_a_long_window_that_is_cut_off_lets_the_relays_checkpoint_count(place: Place) -> None:
    await publish(place.section(), window(5))
    async with opened(place.section(window=100)) as publisher:
        assert publisher._connection is not None
        publishing = asyncio.ensure_future(failure(publisher, messages(5000, 6)))
        sender, connection = publisher._sender, publisher._connection
        assert sender is not None
        await connection.until(lambda: sender._confirmations.reached >= 500)
        connection.abort()
        assert (await publishing).confirmed >= 500
    assert await mark_at(place.section()) is None


async def test_after_a_part_of_a_window_an_older_checkpoint_is_refused(place: Place) -> None:
    await publish(place.section(), window(10))
    await fail_after(place, 3, first=11)
    async with opened(place.section()) as publisher:
        with pytest.raises(RelayStopped) as caught:
            await publisher.publish(window(1, 10))
    assert str(caught.value) == (
        "the checkpoint lets position 10 be published next, and the broker has confirmed all up to 10: the database "
        "was restored from an older copy: `turnlog relay --broker pika --set-position N` goes on after position N of "
        "this log"
    )


async def test_after_a_part_of_a_window_another_log_is_still_noticed(place: Place) -> None:
    await fail_after(place, 3, first=1)
    found = await mark_at(place.section(), Source(OTHER_LOG, "pika"))
    assert found is not None
    assert found.log == LOG


# ---- kills, and people ----


async def test_whoever_reads_it_may_be_killed_at_any_moment(place: Place) -> None:
    section = place.section()
    await publish(section, window(1))
    for turns in [*range(0, 200, 4), *range(200, 1000, 25)]:
        publisher = publisher_of(section)
        opening = asyncio.ensure_future(publisher.open(SOURCE))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        if publisher._connection is not None:
            publisher._connection.abort()  # no orderly end
        await publisher.close()
    assert await mark_at(section) == Mark(LOG, 1, CHAIN, 3)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_one_that_was_taken_and_not_acknowledged_comes_back(place: Place, queue_type: str) -> None:
    section = place.section(queue_type=queue_type)
    await publish(section, window(1))
    with place.channel() as channel:
        assert channel.basic_get(place.mark_queue)[0] is not None
        await publish(section, window(1, 2))
    assert await mark_at(section) == Mark(LOG, 2, CHAIN, 3)


async def test_a_queue_that_is_deleted_is_made_again_with_the_next_window(place: Place) -> None:
    async with opened(place.section()) as publisher:
        await publisher.publish(window(1))
        with place.channel() as channel:
            channel.queue_delete(place.mark_queue)
        await publisher.publish(window(1, 2))
        assert publisher._marks is not None
        await publisher._marks.settle()  # a close ends what nobody waits for
    assert await mark_at(place.section()) == Mark(LOG, 2, CHAIN, 3)


@pytest.mark.parametrize("how", ["queue_delete", "queue_purge"])
async def test_one_that_a_person_removed_is_not_missed(place: Place, how: str) -> None:
    await publish(place.section(), window(1))
    with place.channel() as channel:
        getattr(channel, how)(place.mark_queue)
    with structlog.testing.capture_logs() as logged:
        assert await mark_at(place.section()) is None
    assert warnings(logged) == []


async def test_a_message_of_somebody_else_stops_the_relay_until_a_position_is_set(place: Place) -> None:
    section = place.section()
    await publish(section, window(1))
    with place.channel() as channel:
        channel.basic_publish("", place.mark_queue, b"?", pika.BasicProperties(delivery_mode=2))
    with pytest.raises(RelayStopped) as caught:
        await mark_at(section)
    assert f"queue {place.mark_queue}: the message there is not what this service wrote" in str(caught.value)
    assert "`turnlog relay --broker pika --set-position N`" in str(caught.value)
    publisher = publisher_of(section)
    await publisher.set_mark(SOURCE, Mark(LOG, 1, CHAIN))
    await publisher.close()
    assert await mark_at(section) == Mark(LOG, 1, CHAIN)


# ---- what RabbitMQ does not allow ----


@pytest.fixture
def user(place: Place) -> str:
    """A user without any right, whose password is `p`."""
    name = f"user-{uuid4()}"
    place.node.add_user(name, "p")
    return name


@pytest.mark.parametrize(
    ("right", "pattern"),
    [("configure", "^(exchange|queue)-"), ("read", "^(exchange|queue)-"), ("write", "^(exchange|queue)-")],
)
async def test_without_a_right_events_are_published_and_it_is_told_what_is_not_protected(
    place: Place, user: str, right: str, pattern: str
) -> None:
    await publish(place.section(), window(1))
    place.node.permit(user, **({"configure": ".*", "read": ".*", "write": ".*"} | {right: pattern}))
    section = place.section(**at(place.node.port, username=user, password="p"))
    with structlog.testing.capture_logs() as logged:
        assert await mark_at(section) is None
    ((reason, advice),) = warnings(logged)
    assert reason.startswith("ACCESS_REFUSED")
    assert advice == (
        f"let user {user!r} configure and read {place.mark_queue}, and write to {place.mark_queue} and to amq.default"
    )
    await publish(section, window(2, 2))
    assert place.positions() == [1, 2, 3]


async def test_a_right_that_the_first_mark_lacks_is_told(place: Place, user: str) -> None:
    place.node.permit(user, configure=".*", read=".*", write="^(exchange|queue)-")
    section = place.section(**at(place.node.port, username=user, password="p"))
    with structlog.testing.capture_logs() as logged:
        async with opened(section) as publisher:
            for position in range(1, 4):
                await publisher.publish(window(1, position))
    ((reason, _),) = warnings(logged)
    assert "amq.default" in reason
    assert place.positions() == [1, 2, 3]


async def test_a_queue_with_other_arguments_is_left_alone_and_told(place: Place) -> None:
    with place.channel() as channel:
        channel.queue_declare(place.mark_queue, durable=True)
    with structlog.testing.capture_logs() as logged:
        await publish(place.section(), window(1))
    ((reason, advice),) = warnings(logged)
    assert reason.startswith("PRECONDITION_FAILED - inequivalent arg")
    assert advice == "delete the queue: the relay makes it again"
    assert place.arrived(place.mark_queue) == []


async def test_it_stays_when_the_type_of_queues_is_changed(place: Place) -> None:
    await publish(place.section(), window(1))
    with structlog.testing.capture_logs() as logged:
        await publish(place.section(queue_type="quorum"), window(1, 2))
        assert await mark_at(place.section(queue_type="quorum")) == Mark(LOG, 2, CHAIN, 3)
    assert warnings(logged) == []


async def test_it_is_told_when_it_can_not_be_set(place: Place, user: str) -> None:
    place.node.permit(user)
    publisher = publisher_of(place.section(**at(place.node.port, username=user, password="p")))
    with structlog.testing.capture_logs() as logged:
        await publisher.set_mark(SOURCE, Mark(LOG, 1, CHAIN))
    await publisher.close()
    assert len(warnings(logged)) == 1


async def test_a_broker_that_blocks_does_not_hold_up_who_reads_it(place: Place) -> None:
    await publish(place.section(), window(1))
    with place.node.blocked():
        assert await mark_at(place.section()) == Mark(LOG, 1, CHAIN, 3)
    assert await mark_at(place.section()) == Mark(LOG, 1, CHAIN, 3)


# ---- databases ----


@pytest.fixture
def service_section(place: Place) -> Section:
    """The section of a service that publishes there."""
    return pika_section(place.node, exchange_name=place.exchange, queues=[place.queue])


@pytest.fixture
async def restored(server: Server, database: Database, service_section: Section, tmp_path: Path) -> AsyncIterator[str]:
    """The DSN of a copy that lacks conversation b: the broker has the events of a and b, which are 8."""
    copy = f"turnlog_copy_{secrets.token_hex(6)}"
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    await server.execute(f"CREATE DATABASE {copy} TEMPLATE {urlsplit(database.dsn).path[1:]}")
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "b")
        wait_until_published(service, "pika")
    yield server.dsn_of(copy)
    await server.execute(f"DROP DATABASE {copy} WITH (FORCE)")


def senders(place: Place) -> list[str]:
    """The conversations of all that was published."""
    return [delivery.json["sender_id"] for delivery in plain.drain(place.node, place.queue)]


def test_the_relay_of_an_older_copy_stops_until_somebody_says_where_it_goes_on(
    restored: str, service_section: Section, place: Place, tmp_path: Path
) -> None:
    with serving(tmp_path, restored, service_section) as service:
        wait_for_state(service, "pika", "stopped")
        post(service, "c", "d")
        reason = relay_of(service, "pika")["reason"]
        done = command(tmp_path, restored, "relay", "--broker", "pika", "--set-position", "4")
        assert (done.returncode, done.stdout) == (0, "the relay of pika goes on after position 4\n")
        wait_until_published(service, "pika")
        wait_for_state(service, "pika", "publishing")
        assert len([line for line in said(service.log, "error") if "relay stopped" in line]) == 1
    assert "it is at position 8, which this log does not reach" in reason
    assert "`turnlog relay --broker pika --set-position N` goes on after position N of this log" in reason
    assert senders(place) == [*"aaaabbbbccccdddd"]


def test_the_relay_stops_too_when_the_log_is_as_long_again(
    restored: str, service_section: Section, place: Place, tmp_path: Path
) -> None:
    with serving(tmp_path, restored, None) as service:
        post(service, "c", "d")
    with serving(tmp_path, restored, service_section) as service:
        wait_for_state(service, "pika", "stopped")
        assert "the history up to position 8 is another one" in relay_of(service, "pika")["reason"]
    assert senders(place) == [*"aaaabbbb"]


@pytest.mark.usefixtures("restored")
async def test_the_relay_of_another_database_stops(
    server: Server, service_section: Section, place: Place, tmp_path: Path
) -> None:
    async with server.database(migrated=False) as other:  # migrated ones are copies of one log
        with serving(tmp_path, other.dsn, service_section) as service:
            post(service, "c")
            wait_for_state(service, "pika", "stopped")
            assert "it was made on log" in relay_of(service, "pika")["reason"]
    assert senders(place) == [*"aaaabbbb"]


async def test_a_relay_that_was_killed_before_its_checkpoint_moved_goes_on_at_the_mark(
    database: Database, service_section: Section, place: Place, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    async with EventStore(database) as store:
        await store.read.fetch("DELETE FROM @schema@.checkpoint WHERE name = 'relay pika'")
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "b")
        wait_until_published(service, "pika")
    assert senders(place) == [*"aaaabbbb"]


def test_a_broker_that_was_forgotten_goes_on_at_the_mark(
    database: Database, service_section: Section, place: Place, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    assert command(tmp_path, database.dsn, "relay", "--forget", "pika").returncode == 0
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "b")
        wait_until_published(service, "pika")
    assert senders(place) == [*"aaaabbbb"]


def test_a_relay_without_a_mark_goes_on_at_its_checkpoint(
    database: Database, service_section: Section, place: Place, tmp_path: Path
) -> None:
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "a")
        wait_until_published(service, "pika")
    with place.channel() as channel:
        channel.queue_delete(place.mark_queue)
    with serving(tmp_path, database.dsn, service_section) as service:
        post(service, "b")
        wait_until_published(service, "pika")
        assert not any("no mark is kept" in line for line in said(service.log, "warning"))
    assert senders(place) == [*"aaaabbbb"]
