"""Connections to the servers of a Kafka cluster, and what is where in it.

Of aiokafka only the part is used that speaks the protocol. Its producer tries again for ever, in tasks that nobody
outside can end, and keeps the reason to itself; a relay needs an end in time, and the reason.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ConcurrentTransactions,
    KafkaError,
    StaleMetadata,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataRequest
from msgspec import Struct

from brokers.errors import BrokerUnavailable
from brokers.kafka_faults import unreachable
from brokers.kafka_options import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from brokers.kafka_options import KafkaOptions

_T = TypeVar("_T")

CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 10.0
FIRST_PAUSE: Final = 0.002  #: seconds between two tries of what the cluster can't do yet; each time somewhat longer
LONGEST_PAUSE: Final = 0.1

# These lines would show passwords, and the content of every event.
logging.getLogger("aiokafka.conn").addFilter(lambda record: record.levelno > logging.DEBUG)


class Topic(Struct, frozen=True):
    """What the cluster says of a topic. `leaders` maps each partition to a server, -1 for none."""

    name: str
    error: int
    leaders: dict[int, int]
    replicas: int


class Cluster:
    """The servers of one cluster, connected to when they are needed. It belongs to one task, which closes it.

    Every verb that asks something raises BrokerUnavailable if a server can't be reached or does not answer, and
    KafkaError if the connection breaks.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._security: dict[str, Any] | None = None
        self._servers: dict[int, Address] = {}
        self._connections: dict[Address, Any] = {}
        self._topics: dict[str, Topic] = {}
        self._connecting = asyncio.Lock()
        self.controller = -1  #: the server that makes topics

    async def describe(self, *topics: str) -> list[Topic]:
        """Look where the partitions of topics are. A topic that is missing is not made by this."""
        answer = await self.ask_any(MetadataRequest(list(topics), allow_auto_topic_creation=False))
        self._servers = {server: Address(host, port) for server, host, port, *_ in answer.brokers}
        self.controller = answer.controller_id
        found = {name: _topic(error, name, partitions) for error, name, _internal, partitions in answer.topics}
        self._topics |= found
        return [found[name] for name in topics]

    async def refresh(self) -> None:
        """Look again at all topics that were looked at."""
        await self.describe(*self._topics)

    def leader(self, topic: str, partition: int) -> int:
        """The server to ask about a partition of a topic that was looked at."""
        server = self._topics[topic].leaders.get(partition)
        if server is None:
            raise UnknownTopicOrPartitionError(topic)
        return server

    async def ask(self, server: int, request: Any) -> Any:
        """The answer to a request."""
        address = self._servers.get(server)
        if address is None:
            raise StaleMetadata(f"server {server} is not in the cluster")
        return await self._ask(address, request)

    async def close(self) -> None:
        """Cut all connections."""
        connections, self._connections = list(self._connections.values()), {}
        if connections:
            await asyncio.wait([_cut(connection) for connection in connections])
        await asyncio.sleep(0)  # in which the readers of connections that failed end

    async def ask_any(self, request: Any) -> Any:
        """The answer of any server to a request."""
        for address in list(self._connections):
            try:
                return await self._ask(address, request)
            except (KafkaError, BrokerUnavailable):
                self._drop(address)
        return await self._ask_first(request)

    async def _ask_first(self, request: Any) -> Any:
        """Ask the first of all servers that answers. What cuts the connection here does not speak as we do."""
        refusals: list[BrokerUnavailable] = []
        for address in dict.fromkeys([*self._options.servers, *self._servers.values()]):
            try:
                return await self._ask(address, request)
            except BrokerUnavailable as error:
                refusals.append(error)
            except KafkaError as error:
                self._drop(address)
                refusals.append(unreachable(error, address, self._options))
        raise BrokerUnavailable("; ".join(refusal.reason for refusal in refusals), setting=refusals[0].setting)

    async def _ask(self, address: Address, request: Any) -> Any:
        connection = await self._connection(address)
        try:
            return await connection.send(request)
        except TimeoutError as error:
            self._drop(address)
            raise unreachable(error, address, self._options) from error

    async def _connection(self, address: Address) -> Any:
        async with self._connecting:
            connection = self._connections.get(address)
            if connection is None or not connection.connected():
                self._drop(address)
                connection = self._connections[address] = await self._connect(address)
            return connection

    async def _connect(self, address: Address) -> Any:
        options = self._options
        self._security = self._security or _security(options)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await create_conn(
                    address.host,
                    address.port,
                    client_id=options.client_id,
                    request_timeout_ms=int(REQUEST_SECONDS * 1000),
                    max_idle_ms=540_000,
                    **self._security,
                )
        except (OSError, KafkaError) as error:
            raise unreachable(error, address, options) from error

    def _drop(self, address: Address) -> None:
        connection = self._connections.pop(address, None)
        if connection is not None:
            _cut(connection)


async def persist(attempt: Callable[[], Awaitable[_T]], deadline: float) -> _T:
    """Try until it works, as long as what hinders may pass; `deadline` is a time of the loop.

    Raises:
        BrokerUnavailable, KafkaError: what hindered it last.
    """
    last: Exception | None = None
    pause = FIRST_PAUSE
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                return await attempt()
        except TimeoutError as error:
            raise last or BrokerUnavailable("the cluster does not answer", setting="url") from error
        except (BrokerUnavailable, KafkaError) as error:
            if not may_pass(error) or asyncio.get_running_loop().time() + pause > deadline:
                raise
            last = error
        await asyncio.sleep(pause)  # the cluster tells nobody when it is ready
        pause = min(pause * 1.25, LONGEST_PAUSE)


def may_pass(error: BaseException) -> bool:
    """Whether the same may work a little later."""
    return isinstance(error, BrokerUnavailable | ConcurrentTransactions) or getattr(error, "retriable", False)


def _topic(error: int, name: str, partitions: list[Any]) -> Topic:
    leaders = {partition: leader for _error, partition, leader, *_ in partitions}
    return Topic(name, error, leaders, max((len(replicas) for _, _, _, replicas, *_ in partitions), default=0))


def _cut(connection: Any) -> Any:
    """Close without waiting until everything is sent: nobody needs it any more, and a server that hangs takes nothing.

    Returns a future that is done when the connection is closed.
    """
    if connection._writer is not None:
        connection._writer.transport.abort()
    return connection.close()


def _security(options: KafkaOptions) -> dict[str, Any]:
    """How to connect, in aiokafka's words."""
    given: dict[str, Any] = {"security_protocol": options.security_protocol}
    if options.has_tls:
        given["ssl_context"] = _tls(options)
    if options.has_sasl:
        given["sasl_mechanism"] = options.sasl_mechanism
        given["sasl_plain_username"] = options.sasl_username
        given["sasl_plain_password"] = options.sasl_password
    return given


def _tls(options: KafkaOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ssl_cafile)
    except OSError as error:  # ssl.SSLError is one
        raise BrokerUnavailable(f"{options.ssl_cafile}: {_reason(error)}", setting="ssl_cafile") from error
    context.check_hostname = options.ssl_check_hostname
    if options.ssl_certfile:
        try:  # the password keeps OpenSSL from asking for one at the terminal
            context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile, password="")
        except OSError as error:
            files = ", ".join(filter(None, (options.ssl_certfile, options.ssl_keyfile)))
            raise BrokerUnavailable(f"{files}: {_reason(error)}", setting="ssl_certfile") from error
    return context


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
