"""The shelf: what one process puts there is what all others find, and never half of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from api.endpoints import ModelServer
from api.shelf import Shelf
from assistant.endpoint import BasicAuth
from assistant.model import Model
from assistant.secret import Secret
from dialogue import Domain

if TYPE_CHECKING:
    from pathlib import Path

MODEL = Model(file="bot", id="0" * 32, domain=Domain.empty())
SERVER = ModelServer(
    url="http://localhost:8000/models",
    params={"stage": "live"},
    headers={"X-Team": "bots"},
    basic_auth=BasicAuth("me", Secret("p4ss")),
    token=Secret("t0ken"),
    pull_seconds=None,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf.create(tmp_path, MODEL, "models/bot")


def arrived(folder: Path, name: str = "arrived.tar.gz") -> Path:
    """An archive that somebody has loaded."""
    path = folder / name
    path.write_bytes(name.encode())
    return path


def test_it_begins_with_what_the_service_was_given(shelf: Shelf) -> None:
    current = shelf.current
    assert (shelf.generation, current.generation, current.archive) == (0, 0, None)
    assert (current.file, current.id, current.origin) == ("bot", MODEL.id, "models/bot")


def test_what_is_put_is_there_for_every_process(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(tmp_path)
    assert shelf.put(arrived(tmp_path), MODEL, origin="there", etag='"1"') == 1
    assert other.generation == 1
    assert (other.current.origin, other.current.etag) == ("there", '"1"')
    assert (tmp_path / str(other.current.archive)).read_bytes() == b"arrived.tar.gz"


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".zip"])
def test_an_archive_keeps_its_suffix(shelf: Shelf, tmp_path: Path, suffix: str) -> None:
    shelf.put(arrived(tmp_path, f"a.b{suffix}"), MODEL, origin="there")
    assert shelf.current.archive == f"1{suffix}"


def test_the_archives_of_the_last_two_generations_stay(shelf: Shelf, tmp_path: Path) -> None:
    for _ in range(5):
        shelf.put(arrived(tmp_path), MODEL, origin="there")
    assert sorted(path.name for path in tmp_path.glob("*.tar.gz")) == ["4.tar.gz", "5.tar.gz"]


def test_nothing_is_there_when_it_was_cleared(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(arrived(tmp_path), MODEL, origin="there")
    assert shelf.clear("somebody") == 2
    current = shelf.current
    assert (current.generation, current.archive, current.file, current.id) == (2, None, None, None)


def test_those_who_put_at_the_same_time_get_generations_of_their_own(shelf: Shelf, tmp_path: Path) -> None:
    def put(number: int) -> int:
        return Shelf(tmp_path).put(arrived(tmp_path, f"a{number}.zip"), MODEL, origin=str(number))

    with ThreadPoolExecutor(8) as threads:
        generations = list(threads.map(put, range(40)))
    assert sorted(generations) == list(range(1, 41))
    assert shelf.current.origin == str(generations.index(40))


def test_nobody_else_may_read_what_is_on_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.follow(SERVER)
    shelf.note_fault("there", "it is broken")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")}
    assert modes == dict.fromkeys(("current.json", "fault.json", "followed.json"), 0o600)


def test_the_last_fault_is_kept_until_it_is_over(shelf: Shelf) -> None:
    assert not shelf.fault
    shelf.note_fault("there", "it is away")
    shelf.note_fault("here", "it is broken")
    assert [(fault.origin, fault.reason) for fault in [shelf.fault] if fault] == [("here", "it is broken")]
    shelf.forget_fault()
    assert not shelf.fault


def test_a_server_to_follow_is_kept_with_all_that_it_wants_to_see(shelf: Shelf, tmp_path: Path) -> None:
    shelf.follow(SERVER)
    assert Shelf(tmp_path).followed == SERVER
    shelf.follow(None)
    assert Shelf(tmp_path).followed is None


async def test_the_bell_rings_when_there_is_another_server_to_follow(shelf: Shelf, tmp_path: Path) -> None:
    bell, rung = Shelf(tmp_path).bell(), asyncio.Event()
    asyncio.get_running_loop().add_reader(bell, rung.set)
    try:
        await asyncio.to_thread(shelf.follow, SERVER)
        await asyncio.wait_for(rung.wait(), 30)
    finally:
        asyncio.get_running_loop().remove_reader(bell)
        os.close(bell)


def test_it_can_ring_more_often_than_anybody_listens(shelf: Shelf) -> None:
    bell = shelf.bell()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(bell, bytes(1000))
    shelf.follow(None)
    assert select.select([bell], [], [], 0)[0] == [bell]
    os.close(bell)
