"""The running service, one for each variant that a test asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pytest

from tests.contract.action_server import around_the_bot
from tests.contract.service import Running, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.action_server import Around

Service = Callable[[str], Running]
Port = Callable[[str], int]

AT_ONCE: Final = 4  #: services that run side by side: each takes memory, and connections of one Postgres


class _Services:
    """The services that run, the one that was asked for last at the end."""

    def __init__(self, folder: Path, around: Around) -> None:
        self._folder, self._around = folder, around
        self._running: dict[str, tuple[Running, contextlib.ExitStack]] = {}
        self._broken: set[str] = set()

    def of(self, variant: str) -> Running:
        """The service of a variant; one that did not start is not tried again."""
        assert variant not in self._broken, f"the service {variant!r} did not start"
        if variant not in self._running:
            self._start(variant)
        self._running[variant] = self._running.pop(variant)
        return self._running[variant][0]

    def close(self) -> None:
        """Stop all of them."""
        while self._running:
            self._stop_first()

    def _start(self, variant: str) -> None:
        if len(self._running) == AT_ONCE:
            self._stop_first()
        self._broken.add(variant)
        with contextlib.ExitStack() as stack:
            service = stack.enter_context(running(variant, self._folder, self._around))
            self._broken.remove(variant)
            self._running[variant] = service, stack.pop_all()

    def _stop_first(self) -> None:
        _, stack = self._running.pop(next(iter(self._running)))
        stack.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of a variant. It is started when it is asked for, and stopped when enough others were asked for."""
    with around_the_bot() as around, contextlib.ExitStack() as stack:
        services = _Services(tmp_path_factory.mktemp("contract"), around)
        stack.callback(services.close)
        yield services.of


@pytest.fixture(scope="session")
def port(service: Service) -> Port:
    """The port on which a variant serves."""
    return lambda variant: service(variant).port
