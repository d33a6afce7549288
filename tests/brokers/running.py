"""Services and commands that publish: their sections in endpoints.yml, and what is known of their relays."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from tests.service import PROGRAM, SECONDS, Service, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kafka import Kafka
    from tests.rabbitmq import RabbitMQ

SLOT: Final = {"event": "slot", "name": "n", "value": 1, "timestamp": 1700000000.125}
PER_CONVERSATION: Final = 4  #: events that the first slot brings: the session start, and itself

Section = dict[str, Any]


def pika_section(rabbitmq: RabbitMQ, **keys: Any) -> dict[str, Any]:
    """The section of a RabbitMQ as Rasa's documents print it, with the keys that differ."""
    url = urlsplit(rabbitmq.url)
    common = {"type": "pika", "url": url.hostname, "port": rabbitmq.port}
    return common | {"username": url.username, "password": url.password} | keys


def kafka_section(kafka: Kafka, **keys: Any) -> dict[str, Any]:
    """The section of a Kafka without passwords."""
    return {"type": "kafka", "url": kafka.bootstrap, "security_protocol": "PLAINTEXT", "partitions": 3} | keys


def configure(folder: Path, brokers: Section | list[Section] | None) -> None:
    """Write the endpoints.yml of what runs in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "" if brokers is None else yaml.safe_dump({"event_broker": brokers}, sort_keys=False)
    (folder / "endpoints.yml").write_text(text)


@contextmanager
def serving(folder: Path, dsn: str, brokers: Section | list[Section] | None, **environment: str) -> Iterator[Service]:
    """A service on a database that publishes to brokers."""
    configure(folder, brokers)
    with Service(folder, environment={"DATABASE_URL": dsn, **environment}) as service:
        service.wait_until_ready()
        yield service


def post(service: Service, *conversations: str) -> None:
    """Begin conversations, each with one slot."""
    for conversation in conversations:
        assert service.post(conversation, SLOT).status == 200


def relay_of(service: Service, name: str) -> dict[str, Any]:
    """What `/readyz` says of the relay of a broker; empty as long as it says nothing."""
    relays = service.get("/readyz").json()["relays"]
    return next((relay for relay in relays if relay["name"] == name), {})


def wait_for_state(service: Service, name: str, state: str) -> None:
    """Return when a relay says that it is in a state."""
    wait_until(lambda: relay_of(service, name).get("state") == state, f"the relay of {name} is {state}")


def wait_until_published(service: Service, *names: str) -> None:
    """Return when these brokers have confirmed all that is in the log by now."""
    position = service.get("/readyz").json()["position"]

    def is_published() -> bool:
        return all(relay_of(service, name).get("position", -1) >= position for name in names)

    wait_until(is_published, f"{', '.join(names)} have all events up to {position}")


def said(log: Path, level: str) -> list[str]:
    """The lines of a level in a log, each with its reason."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [f"{line['event']} {line.get('reason', '')}".strip() for line in lines if line.get("level") == level]


def command(folder: Path, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The end of a command of the program, with what it printed."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=_environment(dsn),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@contextmanager
def program(folder: Path, dsn: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the program at work, which is killed at the end if it still runs. `output.log` gets what it says."""
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [PROGRAM, *arguments], cwd=folder, env=_environment(dsn), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _environment(dsn: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DATABASE_URL": dsn}
