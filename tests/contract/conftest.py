"""The running service, one for each variant that a test asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.contract.action_server import around_the_bot
from tests.contract.service import Running, running

Service = Callable[[str], Running]
Port = Callable[[str], int]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of a variant; it is started when it is first asked for, and stopped at the end."""
    folder, found = tmp_path_factory.mktemp("contract"), dict[str, Running | None]()
    with around_the_bot() as around, contextlib.ExitStack() as services:

        def of(variant: str) -> Running:
            if variant not in found:
                found[variant] = None  # one that does not start is not tried again
                found[variant] = services.enter_context(running(variant, folder, around))
            service = found[variant]
            assert service, f"the service {variant!r} did not start"
            return service

        yield of


@pytest.fixture(scope="session")
def port(service: Service) -> Port:
    """The port on which a variant serves."""
    return lambda variant: service(variant).port
