"""RabbitMQ for tests: a private node with its own data, ports, cookie and port mapper.

``AMQP_URL`` names another server, on which its user may do everything; then no node is started.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

from msgspec import Struct

from tests import installing
from tests.certificates import Tls
from tests.servers import Guarded, Server, accepts, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.certificates import Identity

_HELLO: Final = b"AMQP\x00\x00\x09\x01"
_CONF: Final = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {tls.authority}
ssl_options.certfile = {tls.server.certificate}
ssl_options.keyfile = {tls.server.key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
disk_free_limit.absolute = 1MB
"""


class Node(Struct, frozen=True):
    """A node of our own: where its files are, and where it listens."""

    folder: Path
    tls: Tls
    port: int
    tls_port: int
    distribution_port: int
    epmd_port: int

    @classmethod
    def make(cls, folder: Path) -> Node:
        """Write the files that it reads at its start."""
        folder.mkdir(parents=True, exist_ok=True)
        node = cls(folder, Tls.make(folder), *free_ports(4))
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(_CONF.format(port=node.port, tls_port=node.tls_port, tls=node.tls))
        return node

    @property
    def environment(self) -> dict[str, str]:
        """Of the node and of `rabbitmqctl`. In HOME is the cookie by which they know each other."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": "turnlog@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RUNNING_UNDER_SYSTEMD": "true",  # its shell becomes the node, and does not stay in between
        }


class RabbitMQ(Server):
    """A RabbitMQ. `url` is that of the plain listener and holds the user's name and password."""

    name: ClassVar = "RabbitMQ"
    variable: ClassVar = "AMQP_URL"

    def __init__(self, url: str, node: Node | None = None) -> None:
        self.url = url
        self._node = node
        program = installing.rabbitmq("rabbitmq-server") if node else ""
        super().__init__(Guarded([program], node.folder / "output.log", node.environment) if node else None)

    @classmethod
    def start(cls, folder: Path) -> RabbitMQ:
        """Start a node whose files are all in `folder`, or use the server that AMQP_URL names."""
        if named := os.environ.get(cls.variable):
            return cls(named)
        node = Node.make(folder)
        started = cls(f"amqp://guest:guest@127.0.0.1:{node.port}", node)
        started.start_again()
        return started

    @property
    def port(self) -> int:
        """Of the plain listener."""
        return urlsplit(self.url).port or 5672

    @property
    def tls_port(self) -> int:
        """Of the listener that lets in nobody without a certificate of the authority."""
        return self.own(self._node).tls_port

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
        """Whether it greets; it listens after all else that it does at its start."""
        return accepts(self.own(self._node).port, _HELLO)

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints at a command, in about a second; AssertionError when it fails."""
        environment = self.own(self._node).environment
        program = installing.rabbitmq("rabbitmqctl")
        done = subprocess.run(
            [program, "--quiet", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def add_vhost(self, name: str) -> None:
        """Make a virtual host, on which nobody has a right yet."""
        self.control("add_vhost", name)

    def add_user(self, name: str, password: str) -> None:
        """Make a user without any right."""
        self.control("add_user", name, password)

    def permit(
        self, user: str, vhost: str = "/", *, configure: str = "^$", write: str = "^$", read: str = "^$"
    ) -> None:
        """Give a user exactly these rights, which are regular expressions of names; by default none fits."""
        self.control("set_permissions", "-p", vhost, user, configure, write, read)

    def queues(self, vhost: str = "/") -> dict[str, int]:
        """How many messages each queue holds, counted a moment ago."""
        listed = json.loads(self.control("list_queues", "-p", vhost, "--formatter", "json", "name", "messages"))
        return {queue["name"]: queue["messages"] for queue in listed}

    def close_connections(self, reason: str) -> None:
        """Close every connection, as an operator may."""
        self.control("close_all_connections", reason)

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """It says that it is short of memory, and takes no message."""
        self.control("set_vm_memory_high_watermark", "0")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")
