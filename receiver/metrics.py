"""What Prometheus is told: counts since the start, and what waits now.

Names begin with `receiver_`. Counts are kept where they arise and read when somebody asks, so that a webhook costs
nothing more for being counted here; only its lag is noted on the way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from receiver.desk import Shown
from receiver.store import Backlog

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LAG_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is so at this moment; a handler's backlog is None while the database does not answer."""

    counts: Mapping[str, int]
    refused: Mapping[str, int]
    streams: int
    database_up: bool
    handlers: tuple[tuple[Shown, Backlog | None], ...] = ()


class Metrics:
    """The registry of one receiver."""

    def __init__(self) -> None:
        self._snapshot = Snapshot({}, {}, 0, False)
        self._registry = CollectorRegistry()
        self._lag = Histogram(
            "receiver_event_lag_seconds",
            "From the sender's own time of an event (its received_at) to the commit here, of events stored first",
            buckets=_LAG_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Families(self))
        ProcessCollector(namespace="receiver", registry=self._registry)

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def stored(self, lag_s: float | None) -> None:
        """Note how old an event was when it was stored; clocks that differ make it 0."""
        if lag_s is not None:
            self._lag.observe(max(lag_s, 0.0))

    def render(self, snapshot: Snapshot) -> bytes:
        """Return the text that Prometheus reads."""
        self._snapshot = snapshot
        return generate_latest(self._registry)


class _Families(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        yield from families(self._metrics.snapshot)


def families(now: Snapshot) -> Iterable[Metric]:
    """Give the metrics of a snapshot."""
    webhooks = CounterMetricFamily(
        "receiver_webhooks", "Webhooks that were verified, by what became of them", labels=["result"]
    )
    webhooks.add_metric(["stored"], now.counts.get("stored", 0))
    webhooks.add_metric(["duplicate"], now.counts.get("duplicates", 0))
    yield webhooks
    refused = CounterMetricFamily("receiver_refused", "Webhooks that were refused, by error code", labels=["reason"])
    for reason, count in now.refused.items():
        refused.add_metric([reason], count)
    yield refused
    yield CounterMetricFamily("receiver_commits", "Commits of webhooks", value=now.counts.get("batches", 0))
    yield GaugeMetricFamily("receiver_database_up", "1 when the database takes writes", value=float(now.database_up))
    yield GaugeMetricFamily("receiver_streams", "Clients that follow the events", value=now.streams)
    yield from _of_handlers(now)


def _of_handlers(now: Snapshot) -> Iterable[Metric]:
    up = GaugeMetricFamily("receiver_handler_up", "1 when a handler is loaded and called", labels=["handler"])
    starts = CounterMetricFamily("receiver_handler_starts", "Starts of a handler's process", labels=["handler"])
    calling = GaugeMetricFamily("receiver_handler_calls", "Calls under way", labels=["handler"])
    results = CounterMetricFamily("receiver_handler_results", "Calls by their end", labels=["handler", "result"])
    pending = GaugeMetricFamily("receiver_handler_pending", "Events that wait for a handler", labels=["handler"])
    parked = GaugeMetricFamily("receiver_handler_parked", "Events that a handler kept failing on", labels=["handler"])
    oldest = GaugeMetricFamily(
        "receiver_handler_oldest_pending_seconds", "Age of the oldest event that waits", labels=["handler"]
    )
    for shown, backlog in now.handlers:
        up.add_metric([shown.name], float(shown.state == "up"))
        starts.add_metric([shown.name], shown.starts)
        calling.add_metric([shown.name], shown.calling)
        for result, count in shown.results.items():
            results.add_metric([shown.name, result], count)
        if backlog is not None:
            pending.add_metric([shown.name], backlog.pending)
            parked.add_metric([shown.name], backlog.parked)
            oldest.add_metric([shown.name], backlog.oldest_s or 0.0)
    return (up, starts, calling, results, pending, parked, oldest)
