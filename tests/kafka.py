"""Kafka for tests: a private node that is broker and controller, with its own data and ports.

``KAFKA_BOOTSTRAP`` names another one, `host:port` of a listener without TLS and password; then no node is started.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct

from tests import installing
from tests.certificates import Tls
from tests.servers import Guarded, Server, accepts, free_ports

if TYPE_CHECKING:
    from tests.certificates import Identity

USER: Final = "turnlog"
PASSWORD: Final = "correct-horse"
_LISTENERS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_JAVA: Final = (
    "java",
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # the full compiler pays off only after minutes
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-cp",
)
# A session's time-out is waited for at the start after a kill: until then the dead node counts as alive
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=CONTROLLER://127.0.0.1:{controller_port},{listeners}
advertised.listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={folder}/data
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={tls.authority}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"""
_LOGIN: Final = """\
listener.name.{listener}.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.{listener}.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.{listener}.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class Node(Struct, frozen=True):
    """A node of our own: where its files are, and where it listens. `ports` go by the listeners' names."""

    folder: Path
    tls: Tls
    controller_port: int
    ports: dict[str, int]

    @classmethod
    def make(cls, folder: Path) -> Node:
        """Write the files that it reads at its start, with its user, and prepare its data."""
        folder.mkdir(parents=True, exist_ok=True)
        controller_port, *ports = free_ports(1 + len(_LISTENERS))
        node = cls(folder, Tls.make(folder), controller_port, dict(zip(_LISTENERS, ports, strict=True)))
        (folder / "keystore.pem").write_text(node.tls.server.pem)
        node.settings.write_text(node._properties())
        node._format()
        return node

    @property
    def settings(self) -> Path:
        """The file of its settings."""
        return self.folder / "server.properties"

    def address(self, listener: str) -> str:
        """`host:port` of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def command(self, class_: str, *arguments: str | Path) -> list[str | Path]:
        """What runs one of Kafka's programs."""
        return [*_JAVA, f"{installing.kafka()}/*", class_, *arguments]

    def _properties(self) -> str:
        listeners = ",".join(f"{name}://{self.address(name)}" for name in self.ports)
        logins = [
            _LOGIN.format(listener=name.lower(), user=USER, password=PASSWORD)
            for name in self.ports
            if name.startswith("SASL")
        ]
        settings = _PROPERTIES.format(
            folder=self.folder, tls=self.tls, controller_port=self.controller_port, listeners=listeners
        )
        return settings + "".join(logins)

    def _format(self) -> None:
        identifier = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        named = f"--cluster-id={identifier}"  # in one word: it may begin with a dash
        command = self.command("kafka.tools.StorageTool", "format", named, "-c", self.settings)
        for mechanism in _SCRAM:
            command += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"Kafka's data could not be prepared:\n{done.stdout}{done.stderr}"


class Kafka(Server):
    """A Kafka. `bootstrap` is the address of the listener without TLS and password."""

    name: ClassVar = "Kafka"
    variable: ClassVar = "KAFKA_BOOTSTRAP"
    user: ClassVar = USER  #: of the listeners with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
    password: ClassVar = PASSWORD

    def __init__(self, bootstrap: str, node: Node | None = None) -> None:
        self.bootstrap = bootstrap
        self._node = node
        super().__init__(
            Guarded(node.command("kafka.Kafka", node.settings), node.folder / "output.log", os.environ)
            if node
            else None
        )

    @classmethod
    def start(cls, folder: Path) -> Kafka:
        """Start a node whose files are all in `folder`, or use the one that KAFKA_BOOTSTRAP names."""
        if named := os.environ.get(cls.variable):
            return cls(named)
        node = Node.make(folder)
        started = cls(node.address("PLAINTEXT"), node)
        started.start_again()
        return started

    @property
    def ssl_bootstrap(self) -> str:
        """Address of the listener that lets in nobody without a certificate of the authority."""
        return self.own(self._node).address("SSL")

    @property
    def sasl_bootstrap(self) -> str:
        """Address of the listener that wants `user` and `password`."""
        return self.own(self._node).address("SASL_PLAINTEXT")

    @property
    def sasl_ssl_bootstrap(self) -> str:
        """Address of the listener that wants `user` and `password` by TLS, and no certificate."""
        return self.own(self._node).address("SASL_SSL")

    @property
    def authority(self) -> Path:
        """Certificate of the authority that signed the server's."""
        return self.own(self._node).tls.authority

    @property
    def client(self) -> Identity:
        """A certificate for clients."""
        return self.own(self._node).tls.client

    @property
    def is_ready(self) -> bool:
        """Whether all its listeners accept; they do after all else that it does at its start."""
        return all(accepts(port) for port in self.own(self._node).ports.values())
