"""The processes of a service: they start, stop, come back, and never stay behind, whatever is killed."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest

from eventstore import Database, embedded
from tests.eventstore.helpers import holding_lock, wait_for_backends
from tests.service import Postgres, Service, is_alive, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENT = {"event": "slot", "name": "number", "value": 1}
SERVER_LINE = "the embedded Postgres does not start"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedPostgres]:
    """A server that the services of these tests join, which is quicker than to make one for each."""
    with closing(embedded.start(tmp_path_factory.mktemp("processes"))) as server:
        yield server


@pytest.fixture
def started(tmp_path: Path, postgres: embedded.EmbeddedPostgres) -> Iterator[Any]:
    """Starts services, each with a log of its own, and ends them."""
    services: list[Service] = []

    def start(*flags: str | Path, **environment: str) -> Service:
        names = {"POSTGRESQL_SCHEMA": f"test_{token_hex(6)}", **environment}
        service = Service(tmp_path, flags or ("--enable-api",), environment=names, data_dir=postgres.data_dir)
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        service.close()


@pytest.fixture
def running(started: Any) -> Service:
    """A service that serves."""
    service: Service = started()
    service.wait_until_ready()
    return service


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Service]:
    """A service that serves, and whose Postgres nobody else uses."""
    with Service(tmp_path) as service:
        service.wait_until_ready()
        yield service


def schema_of(service: Service) -> str:
    return str(next(line["schema"] for line in service.lines() if "schema" in line))


def faults(service: Service) -> list[str]:
    """What it logged as errors, and what it printed without the log."""
    plain = [line for line in service.log.read_text().splitlines() if not line.startswith("{")]
    return [line["event"] for line in service.lines() if line["level"] == "error"] + plain


# ------------------------------------------------------------------------------------------------------------- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_with_status_0(running: Service, number: int) -> None:
    processes = running.processes
    assert running.stop(number) == 0
    assert not any(map(is_alive, processes))


async def test_a_request_under_way_is_answered_before_the_service_stops(
    running: Service, postgres: embedded.EmbeddedPostgres
) -> None:
    """It is the last one of its connection, so that a busy client does not hold the service back."""
    database = Database(postgres.dsn, schema_of(running))
    with ThreadPoolExecutor() as threads:
        async with holding_lock(database) as holder:
            under_way = threads.submit(running.post, "busy", EVENT)
            await wait_for_backends(holder, 1)
            running.send(signal.SIGTERM)
            wait_until(lambda: not running.answers("/livez"), "the service takes no new requests")
        answer = under_way.result()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert running.status() == 0


def test_a_second_signal_stops_at_once(running: Service) -> None:
    frozen = running.pid_of("worker-1")
    send_signal(frozen, signal.SIGSTOP)
    running.send(signal.SIGTERM)
    wait_until(lambda: not is_alive(running.pid_of("background")), "the service is stopping")
    assert running.stop(signal.SIGTERM) == 0
    assert not is_alive(frozen)


# -------------------------------------------------------------------------------------------------------------- killing


@pytest.mark.parametrize("name", ["worker-1", "background"])
def test_a_killed_process_is_started_again(running: Service, name: str) -> None:
    killed = running.pid_of(name)
    send_signal(killed, signal.SIGKILL)
    wait_until(lambda: running.pid_of(name) not in (0, killed), f"{name} was started again")
    assert running.post("after", EVENT).status == 200
    assert [line["process"] for line in running.logged("process died, it is started again")] == [name]


def test_a_killed_parent_leaves_no_orphans(alone: Service) -> None:
    postgres = Postgres(alone.data_dir)
    everything = [*alone.processes, postgres.supervisor, *postgres.processes]
    alone.kill()
    wait_until(lambda: not any(map(is_alive, everything)), "all processes have ended")


def test_after_everything_was_killed_all_events_are_there(alone: Service) -> None:
    for number in range(20):
        assert alone.post("kept", EVENT | {"value": number}).status == 200
    postgres = Postgres(alone.data_dir)
    for pid in [*alone.processes, postgres.supervisor, *postgres.processes]:
        send_signal(pid, signal.SIGKILL)
    alone.status()
    alone.start()
    alone.wait_until_ready()
    events = alone.get("/conversations/kept/tracker?include_events=ALL").json()["events"]
    assert [event["value"] for event in events if event["event"] == "slot"] == list(range(20))


def test_a_database_that_does_not_come_back_is_waited_for_and_requests_get_503(tmp_path: Path) -> None:
    with Service(tmp_path, environment={"TURNLOG_STORAGE_TIMEOUT": "1"}) as service:
        service.wait_until_ready()
        version = service.data_dir / "postgres" / "PG_VERSION"
        real = version.read_text()
        version.write_text("9.1\n")
        send_signal(Postgres(service.data_dir).supervisor, signal.SIGKILL)
        wait_until(lambda: service.logged(SERVER_LINE), "the server was tried in vain")
        answer = service.post("a", EVENT)
        assert (answer.status, answer.json()["details"]["outcome"]) == (503, "not_written")
        version.write_text(real)
        wait_until(lambda: service.answers("/readyz"), "it serves again by itself")
        assert service.post("a", EVENT).status == 200


# ------------------------------------------------------------------------------------------------------------- starting


def test_a_port_that_is_taken_is_one_clear_line(running: Service, tmp_path: Path) -> None:
    other = Service(tmp_path / "other", port=running.port, data_dir=running.data_dir)
    other.start()
    assert other.status() == 1
    assert faults(other) == [f"can't listen on 127.0.0.1 port {running.port}: Address already in use"]


def test_two_services_share_the_postgres_of_a_data_directory(alone: Service, tmp_path: Path) -> None:
    """The one that started it may go."""
    postmaster = Postgres(alone.data_dir).postmaster
    assert alone.post("shared", EVENT).status == 200
    with Service(tmp_path / "second", data_dir=alone.data_dir) as second:
        second.wait_until_ready()
        assert alone.stop() == 0
        assert second.get("/conversations/shared/tracker").json()["slots"]["number"] == 1
        assert Postgres(alone.data_dir).postmaster == postmaster


def test_metrics_add_up_over_workers(started: Any) -> None:
    service = started(SANIC_WORKERS="2")
    service.wait_until_ready()
    answered: set[str] = set()
    count = 0
    while len(answered) < 2 and count < 500:
        request_id = service.post("counted", EVENT).headers["x-request-id"]
        answered.add(request_id.partition("-")[0])
        count += 1
    assert len(answered) == 2
    name = r'turnlog_http_request_seconds_count\{endpoint="post_events",method="POST",status="200"\} ([\d.]+)'
    counted = re.findall(name, service.get("/metrics").body.decode())
    assert [float(number) for number in counted] == [count]


def test_a_log_file_that_was_moved_is_opened_anew_on_sighup(started: Any, tmp_path: Path) -> None:
    file, moved = tmp_path / "turnlog.log", tmp_path / "turnlog.log.1"
    service = started("--enable-api", "--access-log", "--log-file", file)
    service.wait_until_ready()
    file.rename(moved)
    service.send(signal.SIGHUP)
    wait_until(file.exists, "the log file was made again")
    service.get("/conversations/after-the-move/tracker")
    wait_until(lambda: "after-the-move" in file.read_text(), "requests are logged into the new file")
    assert "after-the-move" not in moved.read_text()
    assert service.is_running


def test_without_api_and_without_model_there_is_nothing_to_serve(started: Any) -> None:
    service = started("-m", "nowhere")
    assert service.status() == 1
    assert [re.sub(r" at \S+,", "", line) for line in faults(service)] == [
        "turnlog: there is no model no `models` in endpoints.yml and no --remote-storage; "
        "to serve the HTTP API without a model, give --enable-api"
    ]


def test_without_api_only_probes_metrics_and_webhooks_are_served(started: Any, tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text('version: "3.1"\nintents: [greet]\n')
    service = started("-m", tmp_path / "domain.yml")
    service.wait_until_ready()
    served = ["/", "/livez", "/readyz", "/metrics", "/webhooks/rest"]
    hidden = ["/version", "/status", "/domain", "/conversations/a/tracker", "/turnlog/v1/events"]
    hidden += ["/openapi.json", "/asyncapi.json"]
    assert [service.get(path).status for path in served + hidden] == [200] * len(served) + [404] * len(hidden)
    assert service.post("a", EVENT).status == 404


def test_a_broken_model_is_logged_fault_by_fault_and_the_log_is_served(started: Any, tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text("slots:\n  a: {type: nonsense}\n  b: {type: absurd}\n")
    service = started("--enable-api", "-m", tmp_path / "domain.yml")
    service.wait_until_ready()
    found = " ".join(line["fault"] for line in service.logged("the model can't be used"))
    assert "nonsense" in found
    assert "absurd" in found
    assert service.post("a", EVENT).status == 200
    assert service.get("/status").status == 409
