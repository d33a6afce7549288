"""The topics of a Kafka broker: looked at before anything is sent, and made where that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidReplicationFactorError,
    LeaderNotAvailableError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from brokers.errors import BrokerUnavailable
from brokers.kafka_cluster import persist
from brokers.kafka_faults import explained, failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.errors import KafkaError

    from brokers.kafka_cluster import Cluster, Topic
    from brokers.kafka_options import KafkaOptions

log = structlog.get_logger("turnlog.relay")

# Small segments are compacted soon, so that there is little to read at the next start.
_OF_CHECKPOINTS: Final = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.1"}
_TOPIC: Final = 2  # among the things that have a configuration
_MAKING_MS: Final = 5_000


class Topics:
    """The topic of the events, and that of the marks beside it."""

    def __init__(self, cluster: Cluster, options: KafkaOptions, deadline: float) -> None:
        """`deadline` is the time of the loop at which a topic that was made must be there."""
        self._cluster, self._options, self._deadline = cluster, options, deadline

    async def find(self) -> Topic:
        """The topic of the events, which is made if that was allowed.

        Raises:
            BrokerUnavailable, KafkaError: it can't be used.
        """
        options = self._options
        (topic,) = await self._cluster.describe(options.topic)
        error = failed(topic.error)
        if isinstance(error, UnknownTopicOrPartitionError):
            if not options.partitions:
                raise BrokerUnavailable(
                    f"{options.topic} does not exist; make it, or say how many `partitions` it shall be made with",
                    setting="topic",
                )
            return await self._make(options.topic, options.partitions, options.replication_factor, {})
        return self._checked(topic)

    async def find_checkpoints(self, replicas: int) -> Topic:
        """The topic of the marks. One that is made has as many replicas as the topic of the events.

        Raises:
            BrokerUnavailable, KafkaError: it can't be used.
        """
        name = self._options.checkpoint_topic
        (topic,) = await self._cluster.describe(name)
        if isinstance(failed(topic.error), UnknownTopicOrPartitionError):
            return await self._make(name, 1, self._options.replication_factor or replicas, _OF_CHECKPOINTS)
        topic = self._checked(topic)
        policy = (await self._configuration(name)).get("cleanup.policy", "compact")
        if len(topic.leaders) != 1 or policy != "compact":
            raise BrokerUnavailable(
                f"{name} has {len(topic.leaders)} partitions and cleanup.policy={policy}, and must have one partition "
                "and cleanup.policy=compact: change or delete it, or publish with `transactional: false`",
                setting="topic",
            )
        return topic

    async def largest_batch(self) -> int | None:
        """How many bytes of records the topic of the events takes at once; None if that is not told to us."""
        value = (await self._configuration(self._options.topic)).get("max.message.bytes")
        return int(value) if value else None

    async def _configuration(self, topic: str) -> Mapping[str, str]:
        """What we may see of a topic's configuration."""
        wanted = [(_TOPIC, topic, ["cleanup.policy", "max.message.bytes"])]
        try:
            answer = await self._cluster.ask_any(DescribeConfigsRequest(wanted))
        except (IncompatibleBrokerVersion, NotImplementedError):  # what speaks Kafka's protocol need not be Kafka
            return {}
        return {name: value for _code, _, _, _, entries in answer.resources for name, value, *_ in entries}

    async def _make(self, name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> Topic:
        wanted: Any = (name, partitions, replicas or -1, [], list(settings.items()))
        request = CreateTopicsRequest([wanted], timeout=_MAKING_MS, validate_only=False)
        answer = await self._cluster.ask(self._cluster.controller, request)
        code, message = answer.topic_errors[0][1:3]
        error = failed(code)
        if code and not isinstance(error, TopicAlreadyExistsError):
            raise self._not_made(name, error, message)
        log.info("topic made", topic=name, partitions=partitions)
        return await persist(lambda: self._made(name), self._deadline)

    async def _made(self, name: str) -> Topic:
        topic = self._checked(*await self._cluster.describe(name))
        if -1 in topic.leaders.values():
            raise LeaderNotAvailableError(name)
        return topic

    def _checked(self, topic: Topic) -> Topic:
        if topic.error:
            raise failed(topic.error, topic.name)
        return topic

    def _not_made(self, name: str, error: KafkaError, message: Any) -> BrokerUnavailable:
        reason = f"{name} does not exist, and can't be made: {message or explained(error, self._options)[0]}"
        if isinstance(error, InvalidReplicationFactorError):
            return BrokerUnavailable(reason, setting="replication_factor")
        if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
            settings = " ".join(f"--config {key}={value}" for key, value in _OF_CHECKPOINTS.items())
            advice = f" (--partitions 1 {settings})" if name == self._options.checkpoint_topic else ""
            return BrokerUnavailable(f"{reason}; let somebody make it who may{advice}", setting="topic")
        return BrokerUnavailable(reason, setting="topic")
