"""Up to where a topic is read that producers with transactions write to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka import TopicPartition

OPEN_SECONDS: Final = 3.0  #: after which a transaction that is not ended is taken for one that stays open
_PAUSE: Final = 0.02


async def committed_ends(
    consumer: AIOKafkaConsumer, bootstrap: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """The ends for a consumer of committed records, once all that was committed before this call is there.

    A producer hears that its transaction is committed a moment before consumers can read it. While one is open, what
    lies behind its first record can't be read at all.
    """
    every = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_uncommitted")
    await every.start()
    try:
        until = time.monotonic() + OPEN_SECONDS
        while True:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            if ends == await every.end_offsets(partitions) or time.monotonic() > until:
                return ends
            await asyncio.sleep(_PAUSE)  # a cluster tells nobody
    finally:
        await every.stop()
