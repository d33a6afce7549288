"""What is killed. Services are started again, as an init system would do it; everything else must come back itself."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.faults.brokers import KINDS as BROKER_KINDS
from tests.service import Postgres, Service, is_alive, is_free, send_signal, wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.faults.brokers import Brokers

STORAGE_TIMEOUT: Final = 2.0  #: seconds that services wait for their database


class World:
    """The services of a run and the one embedded Postgres that they share."""

    def __init__(self, services: Sequence[Service], dice: random.Random, brokers: Brokers | None = None) -> None:
        self.services = services
        self._brokers = brokers
        self.postgres = Postgres(services[0].data_dir)
        self.violations: list[str] = []
        self._dice = dice

    def kill(self, kind: str) -> None:
        """Kill something of this kind and start again what can't start itself; returns when it is started."""
        if kind in BROKER_KINDS:
            assert self._brokers is not None, f"a fault of kind {kind} needs brokers"
            BROKER_KINDS[kind](self._brokers)
        else:
            KINDS[kind](self)

    def wait_until_ready(self) -> None:
        """Return when every service serves."""
        for service in self.services:
            wait_until(partial(self._is_ready, service), f"service on port {service.port} is ready")

    def _is_ready(self, service: Service) -> bool:
        """A service that could not start because of a fault is started again; one that served may not end by itself."""
        if not service.is_running:
            if service.has_served:
                self.violations.append(f"the service on port {service.port} ended with status {service.status()}")
            service.start()
        return service.answers("/readyz")

    def kill_process(self, name: str) -> None:
        """Kill -9 a process of a service, which starts it again."""
        service = self._dice.choice(self.services)
        wait_until(lambda: self._runs(service, name), f"{name} was started")
        send_signal(service.pid_of(name), signal.SIGKILL)

    def _runs(self, service: Service, name: str) -> bool:
        if not service.is_running:
            self._is_ready(service)
        return service.pid_of(name) in service.processes

    def kill_worker(self) -> None:
        """Kill -9 a worker."""
        self.kill_process("worker-1")

    def kill_background(self) -> None:
        """Kill -9 a background process."""
        self.kill_process("background")

    def kill_service(self) -> None:
        """Kill -9 the parent of a service; its children must end by themselves."""
        service = self._dice.choice(self.services)
        orphans = service.processes
        service.kill()
        self._start_again(service, orphans)

    def kill_backend(self) -> None:
        """Kill -9 a process of Postgres that serves a connection, which makes Postgres end all of them."""
        wait_until(lambda: self.postgres.backends, "somebody is connected to Postgres")
        for pid in self.postgres.backends[:1]:
            send_signal(pid, signal.SIGKILL)

    def kill_postgres(self) -> None:
        """Kill -9 every process of Postgres."""
        self._kill_all(self._running_postgres())

    def kill_supervisor(self) -> None:
        """Kill -9 the process that watches over Postgres."""
        self._running_postgres()
        self._kill_all([self.postgres.supervisor])

    def kill_everything(self) -> None:
        """Kill -9 the services with all their processes, Postgres and its supervisor, as when a machine dies."""
        orphans = [pid for service in self.services for pid in service.processes]
        self._kill_all([*orphans, self.postgres.supervisor, *self.postgres.processes])
        for service in self.services:
            service.status()
            self._start_again(service, [])

    def freeze_postgres(self) -> None:
        """Stop every process of Postgres for longer than anybody waits, and let them go on where they were."""
        pids = self._running_postgres()
        for pid in pids:
            send_signal(pid, signal.SIGSTOP)
        time.sleep(STORAGE_TIMEOUT + 0.5)  # the fault itself
        for pid in pids:
            send_signal(pid, signal.SIGCONT)

    def _running_postgres(self) -> list[int]:
        wait_until(lambda: self.postgres.processes, "Postgres runs")
        return self.postgres.processes

    @staticmethod
    def _kill_all(pids: Sequence[int]) -> None:
        for pid in filter(None, pids):
            send_signal(pid, signal.SIGKILL)

    def _start_again(self, service: Service, orphans: Sequence[int]) -> None:
        wait_until(lambda: is_free(service.port), f"what a killed service left behind lets go of port {service.port}")
        service.start()
        wait_until(lambda: not any(map(is_alive, orphans)), "the children of a killed service have ended")


KINDS: Final[dict[str, Callable[[World], None]]] = {
    "worker": World.kill_worker,
    "background": World.kill_background,
    "service": World.kill_service,
    "backend": World.kill_backend,
    "postgres": World.kill_postgres,
    "supervisor": World.kill_supervisor,
    "everything": World.kill_everything,
    "freeze": World.freeze_postgres,
}
