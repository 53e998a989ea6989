"""What the bridge counts as it goes, for Prometheus: a registry of our own, and what code counts with.

What can be looked up when somebody asks (states, depths, lags) is in `bridge.scrape`. Labels have few values: no
instance, no address, no error text.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from supervisor import Change
from supervisor.snapshot import State

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

HTTP_REQUESTS = Counter(
    "bridge_http_requests", "HTTP requests by route and status.", ["method", "route", "status"], registry=REGISTRY
)
HTTP_IN_FLIGHT = Gauge("bridge_http_in_flight", "HTTP requests that are being answered.", registry=REGISTRY)
HTTP_SECONDS = Histogram(
    "bridge_http_request_seconds",
    "Time from an HTTP request to the end of its answer, by what the call does.",
    ["access"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
SEND_SECONDS = Histogram(
    "bridge_send_seconds",
    "Time that the engine took for a send until its outcome: sent, failed or unknown.",
    ["outcome"],
    registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)
EVENTS = Counter("bridge_events", "Events that were stored, by type, each once.", ("type",), registry=REGISTRY)
RESTARTS = Counter(
    "bridge_child_restarts",
    "Ends of children that are started again, by part of the tree.",
    ["part"],
    registry=REGISTRY,
)
PARKED = Counter(
    "bridge_child_parkings",
    "Children that ended too often and were left alone for a while.",
    ["part"],
    registry=REGISTRY,
)
LOOP_LAG_SECONDS = Histogram(
    "bridge_event_loop_lag_seconds",
    "How late a task runs that asked to be woken: everything in this process waits that long.",
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

METERS = (
    *(HTTP_REQUESTS, HTTP_IN_FLIGHT, HTTP_SECONDS, SEND_SECONDS, EVENTS),
    *(RESTARTS, PARKED, LOOP_LAG_SECONDS),
)


def counting(part: str) -> Callable[[Change], None]:
    """Return what a supervisor calls at each change of a child, so that its restarts are counted under `part`."""
    restarts, parked = RESTARTS.labels(part), PARKED.labels(part)

    def count(change: Change) -> None:
        if change.state is State.BACKOFF:
            restarts.inc()
        elif change.state is State.PARKED:
            parked.inc()

    return count
