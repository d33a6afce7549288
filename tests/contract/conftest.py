"""The running service, one for each variant that a test asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.contract.service import running

Port = Callable[[str], int]


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    """The port on which a variant serves; it is started when it is first asked for, and stopped at the end."""
    folder, ports = tmp_path_factory.mktemp("contract"), dict[str, int]()
    with contextlib.ExitStack() as services:

        def of(variant: str) -> int:
            if variant not in ports:
                ports[variant] = 0  # one that does not start is not tried again
                ports[variant] = services.enter_context(running(variant, folder))
            assert ports[variant], f"the service {variant!r} did not start"
            return ports[variant]

        yield of
