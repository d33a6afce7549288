"""Idempotency keys: a repeated request appends once and gets the first answer again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from eventstore import Appended, EventStore, IdempotencyKeyReused, WrongExpectedVersion, maintain
from tests.eventstore.helpers import append, bodies, events, together, version

if TYPE_CHECKING:
    from eventstore import Database
    from eventstore.database import Connection

KEY = {"key": "k", "fingerprint": b"one"}


async def test_a_repeated_request_gets_the_first_answer(store: EventStore) -> None:
    await store.append(append("a", 1, 2, **KEY))
    await store.append(append("a", 3))
    assert await store.append(append("a", 1, 2, **KEY)) == Appended(0, 2, 1, opened=False, repeated=True)
    assert await version(store, "a") == 3


async def test_a_repeated_opening_is_not_appended_again(store: EventStore) -> None:
    await store.append(append("a", 1, opening=events("o"), **KEY))
    answer = await store.append(append("a", 1, opening=events("o"), **KEY))
    assert (answer.base, answer.version, answer.opened) == (0, 2, False)


async def test_a_repeated_request_in_one_batch_gets_the_first_ones_answer(store: EventStore) -> None:
    answers = await together(store, [append("a", 1, **KEY), append("a", 1, **KEY)])
    assert [(answer.version, answer.repeated) for answer in answers if isinstance(answer, Appended)] == [
        (1, False),
        (1, True),
    ]


async def test_a_key_with_other_content_is_refused(store: EventStore) -> None:
    await store.append(append("a", 1, **KEY))
    with pytest.raises(IdempotencyKeyReused):
        await store.append(append("a", 2, key="k", fingerprint=b"two"))
    assert await bodies(store, "a") == ["1"]


async def test_a_key_is_looked_at_before_the_expected_version(store: EventStore) -> None:
    first = await store.append(append("a", 1, expected=0, **KEY))
    assert (await store.append(append("a", 1, expected=0, **KEY))).version == first.version
    with pytest.raises(IdempotencyKeyReused):
        await store.append(append("a", 1, expected=0, key="k", fingerprint=b"two"))


async def test_a_key_belongs_to_its_conversation(store: EventStore) -> None:
    answers = await together(store, [append("a", 1, **KEY), append("b", 1, **KEY)])
    assert [answer.repeated for answer in answers if isinstance(answer, Appended)] == [False, False]


async def test_a_key_of_a_refused_request_is_free(store: EventStore) -> None:
    with pytest.raises(WrongExpectedVersion):
        await store.append(append("a", 1, expected=4, **KEY))
    assert not (await store.append(append("a", 2, key="k", fingerprint=b"two"))).repeated


async def test_keys_that_race_append_once(store: EventStore, database: Database) -> None:
    async with EventStore(database) as other:
        answers = await asyncio.gather(*(each.append(append("a", 1, **KEY)) for each in [store, other] * 8))
    assert [answer.repeated for answer in answers].count(False) == 1
    assert await bodies(store, "a") == ["1"]


async def test_a_key_with_every_character_is_kept(store: EventStore) -> None:
    key = "ключ '\"\\% 🔑"
    await store.append(append("a", 1, key=key, fingerprint=b"\x00\xff"))
    assert (await store.append(append("a", 1, key=key, fingerprint=b"\x00\xff"))).repeated


async def test_maintenance_keeps_keys_for_a_day(store: EventStore, connection: Connection) -> None:
    await store.append(append("a", 1, **KEY))
    await connection.execute("UPDATE turnlog.idempotency_key SET created = now() - interval '23 hours 59 minutes'")
    assert (await maintain(store.read)).keys == 0
    assert (await store.append(append("a", 1, **KEY))).repeated


async def test_maintenance_forgets_keys_after_a_day(store: EventStore, connection: Connection) -> None:
    await together(store, [append("a", 1, **KEY), append("b", 1, **KEY), append("c", 1, **KEY)])
    await connection.execute(
        "UPDATE turnlog.idempotency_key SET created = now() - interval '25 hours' WHERE conversation <> 'b'"
    )
    assert (await maintain(store.read)).keys == 2
    assert [(await store.append(append(name, 1, **KEY))).repeated for name in "abc"] == [False, True, False]


async def test_maintenance_forgets_more_keys_than_one_statement_deletes(
    store: EventStore, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.maintenance._AT_ONCE", 2)
    await together(store, [append(name, 1, **KEY) for name in "abcde"])
    await connection.execute("UPDATE turnlog.idempotency_key SET created = now() - interval '25 hours'")
    assert (await maintain(store.read)).keys == 5
