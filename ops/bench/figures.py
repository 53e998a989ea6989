"""What the bench finds out, as values: latencies, load runs, figures with their targets. No I/O."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution in milliseconds; what never arrived counts as infinitely late."""

    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float], missing: int = 0) -> "Latency":
        """Return the distribution of `seconds`; raise ValueError when there is nothing to describe."""
        values = sorted(seconds) + [float("inf")] * missing
        if not values:
            raise ValueError("no values")
        return cls(*(round(rank(values, share) * 1e3, 2) for share in (0.5, 0.99, 1.0)))


def rank(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile of sorted `values`."""
    return values[max(0, math.ceil(round(share * len(values), 6)) - 1)]


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds over an interval: of our process groups, of the bench itself, and of everybody else."""

    began_at: float
    """Seconds since 1970."""
    seconds: float
    cores: int
    cpu_s: Mapping[str, float]
    bench_s: float
    others_s: float
    """Of processes that have nothing to do with this run, and what the hypervisor took."""
    postgres_s: Mapping[str, float] = field(default_factory=dict)
    """PostgreSQL's part by client, of the backends that were there at the end of the interval."""
    commits: int = 0
    """Transactions that PostgreSQL committed."""

    def share(self, group: str) -> float:
        """Return how much of one core the group used."""
        return self.cpu_s.get(group, 0.0) / self.seconds

    def cpu_total_s(self, *without: str) -> float:
        return sum(value for group, value in self.cpu_s.items() if group not in without)


@dataclass(frozen=True, slots=True)
class Load:
    """One run of texts in at a steady rate."""

    rate: float
    seconds: float
    sent: int
    achieved_per_s: float
    """What the generator really sent."""
    late_p99_ms: float
    """How far behind its schedule the generator was."""
    arrived: int
    arrivals_per_s: float
    """Between the first and the last tenth of the arrivals."""
    latency: Latency
    usage: Usage

    def held(self, p99_limit_ms: float) -> bool:
        return self.arrived == self.sent and self.latency.p99_ms < p99_limit_ms

    def cpu_per_1000(self) -> dict[str, float]:
        """Return CPU seconds per 1,000 texts by process group."""
        thousands = max(self.arrived, 1) / 1000
        return {group: round(value / thousands, 3) for group, value in self.usage.cpu_s.items()}

    @property
    def capacity_per_s(self) -> float:
        """Return the rate at which all cores would be full: that of this run's CPU time per text, generator included.

        Other programs on the machine distort it far less than they distort a rate or a latency.
        """
        return round(self.usage.cores * max(self.arrived, 1) / max(self.usage.cpu_total_s(), 1e-9), 1)


@dataclass(frozen=True, slots=True)
class Sends:
    """One run of texts out."""

    count: int
    seconds: float
    latency: Latency
    usage: Usage

    @property
    def per_s(self) -> float:
        return round(self.count / self.seconds, 1)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of each process group in MB, the WhatsApp stand-in apart, and the engine's database connections."""

    sessions: int
    pss_mb: Mapping[str, float]
    rss_mb: Mapping[str, float]
    processes: Mapping[str, int]
    engine_connections: int

    def total(self, kind: str = "pss") -> float:
        values = self.pss_mb if kind == "pss" else self.rss_mb
        return round(sum(value for group, value in values.items() if group != "sandbox"), 1)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: the product beside bare neonize."""

    name: str
    unit: str
    bridge: float | str | None
    bare: float | str | None = None
    target: str = ""
    met: bool | None = None
    limit: str = ""
    """What limits the product's value, measured."""
    details: Mapping[str, Any] = field(default_factory=dict)
