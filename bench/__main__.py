"""`make bench`: every promise about speed, measured. Nothing fails; a figure below its limit is marked."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from api import collector
from bench import bare, load, postgres, projects, relaying, replay, training
from bench.processes import appender, handler, service, worker_memory
from bench.report import Report
from tests.kafka import Kafka
from tests.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENT: Final = '{"event":"slot","name":"cuisine","value":"mexican"}'
MESSAGE: Final = "/greet"
CONVERSATIONS: Final = 1000
DOMAIN: Final = """
version: "3.1"
intents: [greet]
slots:
  cuisine: {type: text, mappings: [{type: custom}]}
  people: {type: float, mappings: [{type: custom}]}
"""


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs, whose median counts (default: 3)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    report = Report()
    for name in arguments.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="turnlog-bench-") as folder:
            BENCHMARKS[name](Path(folder), report, arguments.repeat)
    report.summary()


def append(folder: Path, report: Report, repeat: int) -> None:
    """Appends to a thousand conversations, beside a handler that returns the same bytes."""
    with _service(folder) as url:
        body = _answer_of_append(url)
        script = load.append_script(CONVERSATIONS, EVENT)
        with handler(_file(folder, body)) as limit:
            for connections, least, aim in ((16, 0.30, 0.50), (64, 0.45, 0.65)):
                ours, theirs = _pairs(url, limit, connections, script, repeat)
                report.rate(f"append, {connections} connections", ours, theirs, "bare handler", least=least, aim=aim)


def single(folder: Path, report: Report, repeat: int) -> None:
    """Appends over one connection, beside a handler and one raw commit."""
    with _service(folder) as url:
        script = load.append_script(CONVERSATIONS, EVENT)
        with handler(_file(folder, _answer_of_append(url))) as limit:
            ours, theirs, commits = [], [], []
            for _ in range(repeat):
                ours.append(load.run(url, 1, script=script).median)
                theirs.append(load.run(limit, 1, script=script).median)
                commits.append(asyncio.run(postgres.commit_seconds(folder / "data")))
    bound = [a + b for a, b in zip(theirs, commits, strict=True)]
    report.time("append, 1 connection, median", ours, bound, "handler + one raw commit", most=2.5)


def history(folder: Path, report: Report, repeat: int) -> None:
    """Appends to one conversation with a short and with a long history."""
    short: list[float] = []
    long: list[float] = []
    with _service(folder) as url:
        _post(url, "long-0", 10_000)
        for number in range(repeat):
            short.append(
                load.run(url, 1, script=load.append_script(1, EVENT, prefix=f"short-{number}-"), seconds=1).median
            )
            long.append(load.run(url, 1, script=load.append_script(1, EVENT, prefix="long-"), seconds=1).median)
    report.time("append at 10,000 events of history", long, short, "to a new one", most=1.25)


def read(folder: Path, report: Report, repeat: int) -> None:
    """Reads of a tracker with a thousand events, beside a handler that returns the same bytes."""
    path = "/conversations/read/tracker"
    with _service(folder) as url:
        _post(url, "read", 997)
        with handler(_file(folder, _answer("GET", url + path))) as limit:
            runs = [load.run(base + path, 16) for _ in range(repeat) for base in (url, limit)]
    report.rate("tracker of 1,000 events", _rates(runs[::2]), _rates(runs[1::2]), "bare handler", least=0.5)


def replays(folder: Path, report: Report, _repeat: int) -> None:
    """The log read and folded into a projection by one process."""
    report.absolute(
        "replay into a projection", asyncio.run(replay.events_per_second(folder)), "events/s", least=100_000
    )


def start(folder: Path, report: Report, repeat: int) -> None:
    """Start on a data directory that is there, and the memory of a worker after some load."""
    seconds: list[float] = []
    for _ in range(repeat + 1):
        with service(folder / "data", "-m", str(_domain(folder))) as (url, took):
            seconds.append(took)
            load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT), seconds=1)
            memory = worker_memory(folder / "data")
    report.absolute("start on an existing data directory", statistics.median(seconds[1:]), "s", most=1.0)
    report.absolute("memory of a worker", memory / 1e6, "MB", most=100)


def turns(folder: Path, report: Report, repeat: int) -> None:
    """Messages that one rule answers, over sixteen connections, beside a handler that commits as many rows."""
    script = load.turn_script(CONVERSATIONS, MESSAGE)
    with _assistant(folder) as url:
        body = json.dumps({"sender": "c1", "message": MESSAGE}).encode()
        answer = _answer("POST", f"{url}/webhooks/rest/webhook", body)
        with appender(folder / "data", _file(folder, answer)) as limit:
            ours, theirs = _pairs(url, limit, 16, script, repeat)
    report.rate("turns, 16 connections", ours, theirs, "handler + batched rows", least=0.10)
    report.absolute("turns, 16 connections", statistics.median(ours), "turns/s", least=1500)


def mix(folder: Path, report: Report, repeat: int) -> None:
    """Four reads of a tracker to each message, over sixteen connections: ten times what Rasa does is wanted."""
    script = load.mixed_script(CONVERSATIONS, MESSAGE)
    with _assistant(folder) as url:
        runs = [load.run(url, 16, script=script) for _ in range(repeat)]
    assert not any(run.failed for run in runs), runs
    rate = statistics.median(_rates(runs))
    report.absolute("80 % reads, 20 % messages", rate, "requests/s", least=2110)


def train(folder: Path, report: Report, repeat: int) -> None:
    """A bot of many rules and stories: how long it learns, loads, and thinks about its next action."""
    project = projects.write(folder / "project", projects.large())
    figures = [training.measured(project) for _ in range(repeat)]
    size = f"{projects.RULES:,} rules and {projects.STORIES:,} stories"
    report.absolute(f"{size}, trained", statistics.median(each.training for each in figures), "s", most=10)
    report.absolute(f"{size}, loaded", statistics.median(each.loading for each in figures), "s", most=2)
    report.absolute(f"{size}, prediction", 1000 * statistics.median(each.prediction for each in figures), "ms", most=1)


def rabbitmq(folder: Path, report: Report, repeat: int) -> None:
    """The log to a quorum queue, beside a bare publisher; and single events from the answer to the consumer."""
    with closing(RabbitMQ.start(folder / "rabbitmq")) as server:
        collector.spare()  # as in the process that relays
        ours, limits = asyncio.run(_to_rabbitmq(folder, server.url, repeat))
        report.rate("log to RabbitMQ, quorum queue", ours, limits, "bare pika, window 1,000", least=0.6)
        section = f"event_broker:\n  url: {server.url}\n  queue_type: quorum\n"
        latencies = _latencies(
            folder, section, repeat, lambda: relaying.rabbitmq_arrivals(server.url, "rasa_core_events")
        )
        _report_latency(report, "answer to RabbitMQ's consumer", latencies)


def kafka(folder: Path, report: Report, repeat: int) -> None:
    """The log to one partition, beside a bare producer; and single events, beside bare transactions."""
    with closing(Kafka.start(folder / "kafka")) as server:
        bootstrap = server.bootstrap
        collector.spare()  # as in the process that relays
        ours, limits = asyncio.run(_to_kafka(folder, bootstrap, repeat))
        report.rate("log to Kafka, transactions", ours, limits, "bare aiokafka, batches", least=0.5)
        arrivals = partial(relaying.kafka_arrivals, bootstrap, "rasa_core_events")
        section = f"event_broker:\n  type: kafka\n  url: {bootstrap}\n  security_protocol: PLAINTEXT\n  partitions: 1\n"
        plain = _latencies(folder, section + "  transactional: false\n  name: plain\n", repeat, arrivals)
        _report_latency(report, "answer to Kafka's consumer, plain", plain)
        transactions = _latencies(folder, section, repeat, arrivals)
        asyncio.run(relaying.make_topic(bootstrap, "bare-transactions"))
        bare = [asyncio.run(relaying.bare_latency(bootstrap, "bare-transactions")) for _ in range(repeat)]
        report.time(
            "answer to Kafka's consumer, transactions",
            [latency.median for latency in transactions],
            [latency.median for latency in bare],
            "bare transactions",
            most=1.5,
        )


def relay_cost(folder: Path, report: Report, repeat: int) -> None:
    """Appends while the relay works off a long log as fast as it can, beside appends without a relay.

    The broker is one that costs this machine nothing, as on another machine; with a RabbitMQ on the same processors
    and the same disk, the figure is mostly that of RabbitMQ.
    """
    with _service(folder) as url:
        for number in range(40):
            _post(url, f"backlog-{number}", 10_000)
    sink = "event_broker:\n  type: bench.sink.Sink\n  name: run-{}\n"
    report.rate("append, 16 connections, relay at work", *_relay_cost(folder, sink, repeat), "no relay", least=0.8)
    with closing(RabbitMQ.start(folder / "rabbitmq")) as server:
        section = f"event_broker:\n  url: {server.url}\n  name: rabbitmq-{{}}\n"
        report.rate("the same, RabbitMQ beside it", *_relay_cost(folder, section, repeat), "no relay", least=0)


def _relay_cost(folder: Path, section: str, repeat: int) -> tuple[list[float], list[float]]:
    """Appends a second with a relay that has much to do, and without one."""
    busy, calm = [], []
    for number in range(repeat):
        with _service(folder) as url:
            calm.append(load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT)).rate)
        with _service(folder, section.format(number)) as url:
            busy.append(load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT)).rate)
            relays = httpx.get(f"{url}/readyz").json()["relays"]
            assert any(relay["lag_events"] and relay["state"] == "publishing" for relay in relays), relays
    return busy, calm


async def _to_rabbitmq(folder: Path, url: str, repeat: int) -> tuple[list[float], list[float]]:
    ours, limits = [], []
    async with relaying.filled_log(folder) as store:
        for number in range(repeat):
            relaying.declare_quorum_queue(url, "bare")
            limits.append(await bare.rabbitmq(url, "bare", relaying.bodies()))
            ours.append(await relaying.relay_rate(store, relaying.rabbitmq_broker(url, number)))
    return ours, limits


async def _to_kafka(folder: Path, bootstrap: str, repeat: int) -> tuple[list[float], list[float]]:
    ours, limits = [], []
    async with relaying.filled_log(folder) as store:
        await relaying.make_topic(bootstrap, "bare")
        for number in range(repeat):
            limits.append(await bare.kafka(bootstrap, "bare", relaying.bodies()))
            ours.append(await relaying.relay_rate(store, relaying.kafka_broker(bootstrap, number)))
    return ours, limits


def _latencies(
    folder: Path, section: str, repeat: int, arriving: Callable[[], AbstractAsyncContextManager[relaying.Arrivals]]
) -> list[relaying.Latency]:
    with _service(folder / "latency", section) as url:
        _wait_until_published(url)
        return [asyncio.run(relaying.service_latency(url, arriving())) for _ in range(repeat)]


def _wait_until_published(url: str) -> None:
    """Return when no backlog is left."""
    while not (relays := httpx.get(f"{url}/readyz").json()["relays"]) or any(
        relay["lag_events"] for relay in relays if relay["state"] == "publishing"
    ):
        time.sleep(0.05)


def _report_latency(report: Report, name: str, latencies: list[relaying.Latency]) -> None:
    median = statistics.median(latency.median for latency in latencies)
    p99 = statistics.median(latency.p99 for latency in latencies)
    report.absolute(f"{name}, median", 1000 * median, "ms", most=15)
    report.absolute(f"{name}, p99", 1000 * p99, "ms", most=100)


BENCHMARKS: Final[dict[str, Callable[[Path, Report, int], None]]] = {
    "append": append,
    "single": single,
    "history": history,
    "read": read,
    "replay": replays,
    "start": start,
    "turns": turns,
    "mix": mix,
    "training": train,
    "rabbitmq": rabbitmq,
    "kafka": kafka,
    "relay-cost": relay_cost,
}


def _pairs(url: str, limit: str, connections: int, script: str, repeat: int) -> tuple[list[float], list[float]]:
    runs = [load.run(base, connections, script=script) for _ in range(repeat) for base in (url, limit)]
    assert not any(run.failed for run in runs), runs
    return _rates(runs[::2]), _rates(runs[1::2])


def _rates(runs: list[load.Load]) -> list[float]:
    return [run.rate for run in runs]


@contextmanager
def _service(folder: Path, endpoints: str = "") -> Iterator[str]:
    """The URL of a service with the benchmark's domain and these endpoints, after some warming up."""
    project = _domain(folder)
    file = project / "endpoints.yml"
    file.write_text(endpoints)
    with service(folder / "data", "-m", str(project), "--endpoints", str(file)) as (url, _):
        load.run(url, 16, script=load.append_script(CONVERSATIONS, EVENT), seconds=2)
        yield url


@contextmanager
def _assistant(folder: Path) -> Iterator[str]:
    """The URL of a service that runs a bot with one rule, after some warming up: every conversation has a session."""
    project = projects.write(folder / "project", projects.GREETER)
    with service(folder / "data", "-m", str(project)) as (url, _):
        load.run(url, 16, script=load.turn_script(CONVERSATIONS, MESSAGE), seconds=3)
        yield url


def _domain(folder: Path) -> Path:
    project = folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    (project / "domain.yml").write_text(DOMAIN)
    return project


def _answer_of_append(url: str) -> bytes:
    return _answer("POST", f"{url}/conversations/c1/tracker/events?include_events=NONE", EVENT.encode())


def _post(url: str, conversation: str, count: int) -> None:
    body = json.dumps([json.loads(EVENT)] * count).encode()
    _answer("POST", f"{url}/conversations/{conversation}/tracker/events?include_events=NONE", body)


def _answer(method: str, url: str, body: bytes | None = None) -> bytes:
    return httpx.request(method, url, content=body, timeout=60).raise_for_status().content


def _file(folder: Path, body: bytes) -> Path:
    file = folder / "body"
    file.write_bytes(body)
    return file


if __name__ == "__main__":
    main()
