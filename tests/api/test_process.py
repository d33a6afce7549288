"""The model of the moment in a process: who took it keeps it, who begins later has the newest, and no other stays."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import api.process
from api.exchanging import arrivals, from_path, install
from api.process import Process
from api.settings import load
from api.shelf import Shelf
from assistant import Collector, Message
from assistant.archive import load_model
from assistant.project import InvalidModel
from tests.api.models import texts_of, write_archive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eventstore import Database

SWAPS = 100
HOME = {"HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of bots; gamma has another slot than the others."""
    folder = tmp_path_factory.mktemp("process")
    write_archive(folder, "alpha")
    write_archive(folder, "beta")
    write_archive(folder, "gamma", slot="country")
    return folder


@pytest.fixture
async def process(database: Database, folder: Path, tmp_path: Path) -> AsyncIterator[Process]:
    """A process that serves with alpha."""
    async with opened(database, folder, tmp_path) as process:
        yield process


@asynccontextmanager
async def opened(database: Database, folder: Path, shelf: Path) -> AsyncIterator[Process]:
    model = load_model(folder / "alpha.tar.gz").model
    process = Process(load({}, HOME), database, model, Shelf.create(shelf, model, "alpha"))
    await process.open()
    try:
        yield process
    finally:
        await process.close()


async def put(process: Process, archive: Path) -> None:
    """What a request or another process does with a new model."""
    with arrivals(process.shelf) as folder:
        fetched = await from_path(archive, folder, understands_elsewhere=False)
        await install(process.shelf, fetched, origin=str(archive))


def put_garbage(process: Process) -> None:
    with arrivals(process.shelf) as folder:
        (folder / "garbage.tar.gz").write_bytes(b"no archive")
        model = process.service.loaded_model()
        process.shelf.put(folder / "garbage.tar.gz", model, origin="garbage")


async def said(process: Any, conversation: str) -> list[str]:
    """What a process or a service answers."""
    output = Collector()
    await process.answer(Message(conversation=conversation, text="/ask"), output)
    return [message["text"] for message in output.messages]


async def test_what_begins_after_a_swap_meets_the_new_model(process: Process, folder: Path) -> None:
    await put(process, folder / "beta.tar.gz")
    assert await said(process, "c") == texts_of("beta")


async def test_what_began_before_a_swap_keeps_its_model(process: Process, folder: Path) -> None:
    service = await process.now()
    await put(process, folder / "gamma.tar.gz")
    assert (await process.now()).loaded_model().file == "gamma.tar.gz"
    assert await said(service, "c") == texts_of("alpha")
    assert await said(process, "c") == texts_of("gamma")


async def test_a_model_is_loaded_once_for_all_that_wait(
    process: Process, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load_slowly(path: Path, **options: Any) -> Any:
        loaded.append(path)
        return load_model(path, **options)

    monkeypatch.setattr(api.process, "load_model", load_slowly)
    await put(process, folder / "beta.tar.gz")
    services = await asyncio.gather(*(process.now() for _ in range(50)))
    assert len(set(map(id, services))) == len(loaded) == 1


async def test_a_request_that_gives_up_waiting_does_not_end_the_load(process: Process, folder: Path) -> None:
    await put(process, folder / "beta.tar.gz")
    waiting = asyncio.create_task(process.now())
    await asyncio.sleep(0)
    waiting.cancel()
    assert (await process.now()).loaded_model().file == "beta.tar.gz"


async def test_a_former_service_is_gone_with_its_last_user(process: Process, folder: Path) -> None:
    """At once: nothing in it waits for the garbage collector."""
    await said(process, "c")
    former = weakref.ref(process.service)
    trackers, model = weakref.ref(process.service.trackers), weakref.ref(process.service.assistant())
    await put(process, folder / "gamma.tar.gz")
    gc.disable()
    try:
        await process.now()
        assert (former(), trackers(), model()) == (None, None, None)
    finally:
        gc.enable()


async def test_memory_is_flat_over_many_swaps(process: Process, folder: Path) -> None:
    archives = [folder / f"{name}.tar.gz" for name in ("beta", "gamma")]

    async def swap(times: int) -> int:
        for number in range(times):
            await put(process, archives[number % 2])
            await (await process.now()).ledger.read("c")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    await said(process, "c")
    tracemalloc.start()
    try:
        before = await swap(10)
        assert await swap(SWAPS) - before < SWAPS * 1_000  # of the ten times as much that each model has
    finally:
        tracemalloc.stop()


async def test_conversations_in_hand_stay_where_the_model_has_the_same_slots(process: Process, folder: Path) -> None:
    before = process.service
    await put(process, folder / "beta.tar.gz")
    after = await process.now()
    assert (after.trackers, after.ledger) == (before.trackers, before.ledger)
    await put(process, folder / "gamma.tar.gz")
    assert (await process.now()).trackers is not after.trackers


async def test_another_model_shows_a_conversation_with_its_own_slots_and_entity_tag(
    process: Process, folder: Path
) -> None:
    await said(process, "c")
    before = await process.now()
    await put(process, folder / "gamma.tar.gz")
    after = await process.now()
    view = await after.trackers.current("c")
    assert view is not None
    assert "country" in view.tracker.slots
    assert "city" not in view.tracker.slots
    assert before.etag(view.version) != after.etag(view.version)


async def test_a_model_that_cannot_be_loaded_changes_nothing_and_is_not_tried_again(
    process: Process, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_garbage(process)
    assert (await process.now()).loaded_model().file == "alpha.tar.gz"
    monkeypatch.delattr(api.process, "load_model")
    assert (await process.now()).loaded_model().file == "alpha.tar.gz"
    monkeypatch.undo()
    await put(process, folder / "beta.tar.gz")
    assert await said(process, "c") == texts_of("beta")


async def test_of_a_model_that_was_replaced_while_it_was_loaded_nothing_is_missed(
    process: Process, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    def load_late(_path: Path, **_options: Any) -> Any:
        monkeypatch.undo()
        asyncio.run_coroutine_threadsafe(put(process, folder / "gamma.tar.gz"), loop).result()
        raise InvalidModel("its archive is gone")

    await put(process, folder / "beta.tar.gz")
    monkeypatch.setattr(api.process, "load_model", load_late)
    assert (await process.now()).loaded_model().file == "gamma.tar.gz"


async def test_a_process_that_starts_later_takes_what_is_on_the_shelf(
    process: Process, database: Database, folder: Path
) -> None:
    await put(process, folder / "beta.tar.gz")
    later = Process(load({}, HOME), database, load_model(folder / "alpha.tar.gz").model, process.shelf)
    await later.open()
    try:
        assert later.service.loaded_model().file == "beta.tar.gz"
    finally:
        await later.close()
