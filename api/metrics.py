"""Metrics for Prometheus, right over several processes: each writes to files of its own, and one adds them up.

``PROMETHEUS_MULTIPROC_DIR`` must name the folder of these files before this module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS: Final = Counter("turnlog_http_requests_total", "Answered requests.", ["endpoint", "method", "status"])
SECONDS: Final = Histogram(
    "turnlog_http_request_seconds",
    "Time from a request's arrival to its answer.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS: Final = Counter("turnlog_events_appended_total", "Events that were appended over HTTP.")
HEAD: Final = Gauge("turnlog_log_position", "Position of the log's last event.", multiprocess_mode="max")
PROJECTION_POSITION: Final = Gauge(
    "turnlog_projection_position", "Position up to which a projection has come.", ["projection"], multiprocess_mode="max"
)
PROJECTION_LAG: Final = Gauge(
    "turnlog_projection_lag_events", "Events that a projection has still to read.", ["projection"], multiprocess_mode="max"
)
PROJECTION_LAG_SECONDS: Final = Gauge(
    "turnlog_projection_lag_seconds", "Age of the first event still to read.", ["projection"], multiprocess_mode="max"
)


class EndpointMetrics:
    """The metrics of one endpoint, with their labels looked up once."""

    def __init__(self, endpoint: str, method: str) -> None:
        self._endpoint, self._method = endpoint, method
        self._observe: Callable[[float], None] = SECONDS.labels(endpoint).observe
        self._requests: dict[int, Callable[[], None]] = {}

    def count(self, status: int, seconds: float) -> None:
        """Count an answer."""
        increment = self._requests.get(status)
        if increment is None:
            increment = self._requests[status] = REQUESTS.labels(self._endpoint, self._method, str(status)).inc
        increment()
        self._observe(seconds)


def exposition() -> bytes:
    """The metrics of all processes as text."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library does not annotate it
    return generate_latest(registry)
