"""Brokers that are away delay publishing, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.broker_away import away

if TYPE_CHECKING:
    from pathlib import Path

    from eventstore import Database
    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

SECONDS = 4.0
FLAT = 60_000_000
"""Bytes by which the process may grow while it works off a backlog; the backlog's own size would be more."""


async def test_requests_go_on_and_the_backlog_arrives_in_order(
    rabbitmq: RabbitMQ, kafka: Kafka, database: Database, tmp_path: Path
) -> None:
    seen = await away(tmp_path, (rabbitmq, kafka), database.dsn, SECONDS)
    print(seen)
    assert seen.got.violations == []
    assert seen.lags[-1] > seen.lags[0]
    assert seen.memory_after - seen.memory_before < FLAT
