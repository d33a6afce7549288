"""A short run of `python -m tests.faults`: one round for each kind of fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.brokers import KINDS as BROKER_KINDS
from tests.faults.kills import KINDS
from tests.faults.rounds import Chaos, Load, chaos

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

ALL = (*KINDS, *BROKER_KINDS)


@pytest.fixture(scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, kafka: Kafka) -> AsyncIterator[Chaos]:
    """Two services on one embedded Postgres, with both brokers; the rounds of all tests go to one log."""
    async with chaos(tmp_path_factory.mktemp("faults"), "make test", servers=(rabbitmq, kafka)) as run:
        yield run


@pytest.mark.parametrize("kind", ALL)
async def test_nothing_is_lost_or_doubled_whatever_is_killed(run: Chaos, kind: str) -> None:
    """Neither in the log nor at the consumers."""
    figures = await run.round(ALL.index(kind), Load(events=15, kills=1, kinds=(kind,)))
    assert figures.kills == {kind: 1}
    assert figures.violations == []
    assert (figures.duplicates, figures.lost) == (0, 0)
    assert figures.acknowledged + figures.left_unknown >= 16 * 15


async def test_the_whole_log_holds_what_all_rounds_were_told(run: Chaos) -> None:
    await run.round(len(ALL), Load(events=5, kills=0))
    assert await run.check_all() == []
