"""Metrics for Prometheus, right over several processes: each writes to files of its own, and one adds them up.

``PROMETHEUS_MULTIPROC_DIR`` must name the folder of these files before this module is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import values as metric_values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from dialogue.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assistant.model import Model
    from brokers import RelayStatus
    from projections import Status

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# A process that uses this module never forks. Without this, each count would ask the system for the process's number.
_PROCESS: Final = os.getpid()
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    metric_values.ValueClass = metric_values.MultiProcessValue(  # type: ignore[no-untyped-call]  # it has no types
        lambda: _PROCESS
    )

SECONDS: Final = Histogram(
    "turnlog_http_request_seconds",
    "Time from a request's arrival to its answer; its count is the number of answers.",
    ["endpoint", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DATABASE_UP: Final = Gauge(
    "turnlog_database_up", "Whether the database answered the last scrape.", multiprocess_mode="mostrecent"
)
HEAD: Final = Gauge("turnlog_log_position", "Position of the log's last event.", multiprocess_mode="mostrecent")
PROJECTION_POSITION: Final = Gauge(
    "turnlog_projection_position",
    "Position that a projection has come to.",
    ["projection", "state"],
    multiprocess_mode="mostrecent",
)
PROJECTION_LAG: Final = Gauge(
    "turnlog_projection_lag_events",
    "Events that a projection has to read yet.",
    ["projection", "state"],
    multiprocess_mode="mostrecent",
)
PROJECTION_LAG_SECONDS: Final = Gauge(
    "turnlog_projection_lag_seconds",
    "Age of the first event still to read.",
    ["projection", "state"],
    multiprocess_mode="mostrecent",
)

RELAY_UP: Final = Gauge(
    "turnlog_relay_up",
    "Whether events are published to a broker: 0 while it is away, takes nothing, or nobody relays to it.",
    ["broker"],
    multiprocess_mode="mostrecent",
)
RELAY_POSITION: Final = Gauge(
    "turnlog_relay_position",
    "Position up to which a broker has confirmed.",
    ["broker"],
    multiprocess_mode="mostrecent",
)
RELAY_LAG: Final = Gauge(
    "turnlog_relay_lag_events", "Events that a broker has to get yet.", ["broker"], multiprocess_mode="mostrecent"
)
RELAY_LAG_SECONDS: Final = Gauge(
    "turnlog_relay_lag_seconds",
    "Age of the first event that a broker has to get yet.",
    ["broker"],
    multiprocess_mode="mostrecent",
)
RELAY_PARKED: Final = Gauge(
    "turnlog_relay_parked_events",
    "Events too large for a broker, which has a stub of each.",
    ["broker"],
    multiprocess_mode="mostrecent",
)
RELAY_RECONNECTS: Final = Gauge(
    "turnlog_relay_reconnects",
    "Times that the connection to a broker had to be made again.",
    ["broker"],
    multiprocess_mode="mostrecent",
)
REMINDERS: Final = Counter("turnlog_reminders_total", "Reminders by what became of them.", ["outcome"])
REMINDERS_WAITING: Final = Gauge(
    "turnlog_reminders_waiting", "Reminders that wait, in all conversations.", multiprocess_mode="mostrecent"
)
CHANNEL_FAILURES: Final = Counter(
    "turnlog_channel_failures_total", "Messages of users not answered, or of the bot not delivered.", ["channel"]
)


MODELS: Final = Counter(
    "turnlog_models_total", "Models that were to be served with, by what became of them.", ["outcome"]
)


class EndpointMetrics:
    """The metrics of one endpoint, with their labels looked up once."""

    def __init__(self, endpoint: str, method: str) -> None:
        self._endpoint, self._method = endpoint, method
        self._observe: dict[int, Callable[[float], None]] = {}

    def count(self, status: int, seconds: float) -> None:
        """Count an answer."""
        observe = self._observe.get(status)
        if observe is None:
            observe = self._observe[status] = SECONDS.labels(self._endpoint, self._method, str(status)).observe
        observe(seconds)


def count_model(outcome: str) -> None:
    """Count a model that was to be served with."""
    MODELS.labels(outcome).inc()


def count_reminders(outcome: str, number: int) -> None:
    """Count reminders of which the same has become."""
    REMINDERS.labels(outcome).inc(number)


def show_log(position: int, projections: list[Status], relays: list[RelayStatus], reminders: int) -> None:
    """Set what is known of the log at this moment; the latest word of any process counts."""
    HEAD.set(position)
    REMINDERS_WAITING.set(reminders)
    for projection in projections:
        labels = (projection.name, projection.state)
        PROJECTION_POSITION.labels(*labels).set(projection.position)
        PROJECTION_LAG.labels(*labels).set(projection.lag_events)
        PROJECTION_LAG_SECONDS.labels(*labels).set(projection.lag_seconds)
    for relay in relays:
        RELAY_UP.labels(relay.name).set(relay.state == "publishing")
        RELAY_POSITION.labels(relay.name).set(relay.position)
        RELAY_LAG.labels(relay.name).set(relay.lag_events)
        RELAY_LAG_SECONDS.labels(relay.name).set(relay.lag_seconds)
        RELAY_PARKED.labels(relay.name).set(relay.parked)
        RELAY_RECONNECTS.labels(relay.name).set(relay.reconnects)


class _ModelInfo(Collector):
    """The model as a metric. Not a gauge, whose every label ever seen would stay."""

    def __init__(self, model: Model) -> None:
        self._labels = {"file": storable(model.file), "id": model.id}

    def collect(self) -> Iterator[Metric]:
        """The one metric."""
        family = GaugeMetricFamily(
            "turnlog_model_info", "The model that the service serves with.", labels=[*self._labels]
        )
        family.add_metric([*self._labels.values()], 1)
        yield family


def exposition(model: Model | None) -> bytes:
    """The metrics of all processes as text, with what the model is."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library does not annotate it
    if model is not None:
        registry.register(_ModelInfo(model))
    return generate_latest(registry)
