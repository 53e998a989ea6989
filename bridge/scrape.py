"""What Prometheus is told when it asks: the counters of `bridge.meters`, and what is looked up at that moment.

A family is a row of `FAMILIES`; its samples come from the process tree and from one statement. When PostgreSQL does not
answer, what is in it is missing from the answer, and `bridge_store_up` says so.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge import meters
from bridge.api.server import HttpServer
from bridge.domain.pacing import Reason
from bridge.domain.session import State
from bridge.store.census import Census
from bridge.store.errors import StoreError
from bridge.store.store import Store
from bridge.webhooks.dispatcher import Dispatcher
from supervisor import Snapshot
from supervisor.snapshot import State as ChildState

MAX_ENDPOINTS = 100
"""Endpoints with a line of their own: those that wait longest. The sums are over all."""
SUPERVISORS = ("engines", "instances")
"""Children of the root that have children."""
CENSUS_S = 5.0
"""How long a count of what is in PostgreSQL is good for: several may ask."""
GAUGE, COUNTER = "gauge", "counter"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric that is looked up: its kind, what it means, its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "bridge_build_info": Family(GAUGE, "Always 1; the labels say what runs.", ("version", "python", "neonize")),
    "bridge_ready": Family(GAUGE, "Whether /readyz says yes."),
    "bridge_store_up": Family(GAUGE, "Whether PostgreSQL answers."),
    "bridge_instances": Family(GAUGE, "Instances by state.", ("state",)),
    "bridge_children": Family(
        GAUGE, "Children of the process tree by part (root, engines, instances) and state.", ("part", "state")
    ),
    "bridge_mailbox_messages": Family(GAUGE, "Messages that wait in the mailboxes of all instances."),
    "bridge_mailbox_messages_max": Family(GAUGE, "Messages that wait in the fullest mailbox; 1000 is full."),
    "bridge_held_sends": Family(GAUGE, "Sends that pacing holds, of all instances, by reason.", ("reason",)),
    "bridge_engine_hosts": Family(GAUGE, "Engine processes: shared ones, and those of one pairing.", ("kind",)),
    "bridge_engine_sessions": Family(GAUGE, "WhatsApp sessions in the engine processes.", ("kind",)),
    "bridge_engine_memory_bytes": Family(GAUGE, "Resident memory of the engine processes, all together.", ("kind",)),
    "bridge_engine_memory_max_bytes": Family(GAUGE, "Resident memory of the largest engine process.", ("kind",)),
    "bridge_deliveries": Family(COUNTER, "Attempts to deliver by result; failed ones are tried again.", ("result",)),
    "bridge_deliveries_in_flight": Family(GAUGE, "Lanes that are being delivered now."),
    "bridge_endpoints": Family(GAUGE, "Webhook endpoints by state; held: its breaker is open.", ("state",)),
    "bridge_undelivered_events": Family(GAUGE, "Deliveries that wait, of all endpoints."),
    "bridge_oldest_undelivered_seconds": Family(GAUGE, "Age of the oldest delivery that waits; 0 when none does."),
    "bridge_endpoint_lag_events": Family(
        GAUGE, "Deliveries that wait, by endpoint, of the 100 that wait longest.", ("endpoint",)
    ),
    "bridge_endpoint_oldest_undelivered_seconds": Family(
        GAUGE, "Age of the oldest delivery that waits, by endpoint, of the 100 that wait longest.", ("endpoint",)
    ),
    "bridge_commands": Family(
        GAUGE, "Sends without an outcome: queued ones wait, running ones are at WhatsApp.", ("state",)
    ),
    "bridge_events_waiting": Family(GAUGE, "Events that wait for their commit."),
    "bridge_pool_connections": Family(GAUGE, "Connections to PostgreSQL, in use and idle.", ("state",)),
    "bridge_pool_size": Family(GAUGE, "How many connections to PostgreSQL there may be."),
    "bridge_pool_waiting": Family(GAUGE, "Tasks that wait for a connection."),
    "bridge_pool_timeouts": Family(COUNTER, "Waits for a connection that were given up."),
    "bridge_pool_opened": Family(COUNTER, "Connections that were opened."),
    "bridge_pool_discarded": Family(COUNTER, "Connections that were thrown away."),
    "bridge_http_connections": Family(GAUGE, "HTTP connections that are open."),
}

Samples = dict[tuple[str, ...], float]


@dataclass(slots=True)
class Reading:
    """The samples of one moment: by family, then by the values of its labels."""

    families: dict[str, Samples] = field(default_factory=dict)

    def put(self, name: str, value: float, *labels: str) -> None:
        """Add to a sample; the family has to be in the table."""
        assert len(labels) == len(FAMILIES[name].labels), name
        samples = self.families.setdefault(name, {})
        samples[labels] = samples.get(labels, 0) + value

    def fill(self, name: str, values: Iterable[str]) -> None:
        """See to it that each of these values has a sample: a series that is absent is no zero."""
        for value in values:
            self.families.setdefault(name, {}).setdefault((value,), 0)


def read_tree(reading: Reading, root: Snapshot) -> None:
    """Add what the process tree shows."""
    mailboxes = [0.0]
    reading.fill("bridge_held_sends", (reason.value for reason in Reason))
    for part in (root, *(child for child in root.children if child.name in SUPERVISORS)):
        counts = Counter(child.state for child in part.children)
        for state in ChildState:
            reading.put("bridge_children", counts[state], part.name, state.value)
    for path, node in root.walk():
        if path[1:2] == ("instances",) and "mailbox" in node.detail:
            mailboxes.append(_number(node.detail["mailbox"]))
            held = node.detail.get("held")
            for reason, count in held.items() if isinstance(held, Mapping) else ():
                reading.put("bridge_held_sends", _number(count), str(reason))
    reading.put("bridge_mailbox_messages", sum(mailboxes))
    reading.put("bridge_mailbox_messages_max", max(mailboxes))
    _read_hosts(reading, root.child("engines"))


def _read_hosts(reading: Reading, engines: Snapshot | None) -> None:
    largest = {"shared": 0.0, "pairing": 0.0}
    for name in ("bridge_engine_hosts", "bridge_engine_sessions", "bridge_engine_memory_bytes"):
        reading.fill(name, largest)
    for host in engines.children if engines is not None else ():
        if host.state is not ChildState.RUNNING:
            continue
        kind = "pairing" if host.name.startswith("host p") else "shared"
        memory = _number(host.detail.get("rss_mb", 0)) * 1024 * 1024
        reading.put("bridge_engine_hosts", 1, kind)
        reading.put("bridge_engine_sessions", _number(host.detail.get("sessions", 0)), kind)
        reading.put("bridge_engine_memory_bytes", memory, kind)
        largest[kind] = max(largest[kind], memory)
    for kind, memory in largest.items():
        reading.put("bridge_engine_memory_max_bytes", memory, kind)


def read_census(reading: Reading, census: Census, held: int) -> None:
    """Add what PostgreSQL counts. `held` is how many endpoints the dispatcher only probes now."""
    reading.fill("bridge_instances", (state.value for state in State))
    for state, count in census.instances.items():
        reading.put("bridge_instances", count, state)
    reading.fill("bridge_endpoints", ("active", "paused", "disabled", "held"))
    for state, count in census.endpoints.items():
        reading.put("bridge_endpoints", count, state)
    reading.put("bridge_endpoints", held, "held")
    reading.fill("bridge_commands", ("queued", "running"))
    for state, count in census.commands.items():
        reading.put("bridge_commands", count, state)
    reading.put("bridge_undelivered_events", sum(lag.events for lag in census.lags))
    reading.put("bridge_oldest_undelivered_seconds", max((lag.oldest_s for lag in census.lags), default=0))
    reading.families.setdefault("bridge_endpoint_lag_events", {})
    reading.families.setdefault("bridge_endpoint_oldest_undelivered_seconds", {})
    for lag in sorted(census.lags, key=lambda lag: -lag.oldest_s)[:MAX_ENDPOINTS]:
        reading.put("bridge_endpoint_lag_events", lag.events, lag.endpoint)
        reading.put("bridge_endpoint_oldest_undelivered_seconds", lag.oldest_s, lag.endpoint)


def render(reading: Reading) -> bytes:
    """Return everything in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collected(reading))
    return generate_latest(registry) + generate_latest(meters.REGISTRY)


def documented() -> dict[str, tuple[str, str]]:
    """Return of each metric of ours its kind and its help, by the name under which it is asked for."""
    return {name: (kind, text) for name, _, kind, text in _described()}


def table() -> str:
    """Return the table of docs/operations.md."""
    return "\n".join(
        f"| `{name}{'{' + ', '.join(labels) + '}' if labels else ''}` | {kind} | {text} |"
        for name, labels, kind, text in _described()
    )


def _described() -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    for name, family in FAMILIES.items():
        yield f"{name}_total" if family.kind == COUNTER else name, family.labels, family.kind, family.help
    for meter in meters.METERS:
        (metric,) = meter.collect()
        name = f"{metric.name}_total" if metric.type == COUNTER else metric.name
        yield name, meter._labelnames, metric.type, metric.documentation


class Scrape:
    """Looks everything up, once for each time that somebody asks."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        http: HttpServer,
        *,
        tree: Callable[[], Snapshot],
        ready: Callable[[], bool],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._http = http
        self._tree = tree
        self._ready = ready
        self._census: Census | None = None
        self._good_until = -float("inf")

    async def text(self) -> bytes:
        """Return everything in Prometheus' text format; some milliseconds, on the event loop."""
        reading = Reading()
        reading.put("bridge_build_info", 1, *_versions())
        reading.put("bridge_ready", self._ready())
        reading.put("bridge_store_up", self._store.healthy)
        reading.put("bridge_http_connections", self._http.connections)
        reading.put("bridge_events_waiting", self._store.events.waiting)
        read_tree(reading, self._tree())
        self._read_pool(reading)
        held = self._read_dispatcher(reading)
        census = await self._take_census()
        if census is not None:
            read_census(reading, census, held)
        return render(reading)

    def _read_pool(self, reading: Reading) -> None:
        stats = self._store.pool.stats
        reading.put("bridge_pool_connections", stats.in_use, "in_use")
        reading.put("bridge_pool_connections", stats.idle, "idle")
        reading.put("bridge_pool_size", stats.size)
        reading.put("bridge_pool_waiting", stats.waiting)
        reading.put("bridge_pool_timeouts", stats.timeouts)
        reading.put("bridge_pool_opened", stats.opened)
        reading.put("bridge_pool_discarded", stats.discarded)

    def _read_dispatcher(self, reading: Reading) -> int:
        stats = self._dispatcher.stats
        for result in ("delivered", "failed", "parked", "dead"):
            reading.put("bridge_deliveries", getattr(stats, result), result)
        reading.put("bridge_deliveries_in_flight", stats.in_flight)
        return len(stats.held)

    async def _take_census(self) -> Census | None:
        if trio.current_time() < self._good_until:
            return self._census
        try:
            self._census = await self._store.census.take()
        except StoreError:
            return None
        self._good_until = trio.current_time() + CENSUS_S
        return self._census


@cache
def _versions() -> tuple[str, str, str]:
    return metadata.version("whatsapp-bridge"), platform.python_version(), metadata.version("neonize")


class _Collected(Collector):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        for name, samples in self._reading.families.items():
            family = FAMILIES[name]
            kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
            metric = kind(name, family.help, labels=family.labels)
            for labels, value in samples.items():
                metric.add_metric(labels, value)
            yield metric


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


if __name__ == "__main__":
    print(table())
