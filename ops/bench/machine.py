"""Memory and CPU time of process groups, summed over their whole trees."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ops.bench.figures import Footprint, Usage

Groups = Mapping[str, Sequence[psutil.Process]]
MB = 1024 * 1024
_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment."""

    at: float
    cpu_s: Mapping[str, float]
    backends: Mapping[int, tuple[str, float]]
    bench_s: float
    machine_s: float
    commits: int


class Meter:
    """Reads the groups that `find` returns.

    `clients` says which database client a backend process serves, `commits` counts PostgreSQL's transactions.
    """

    def __init__(
        self, find: Callable[[], Groups], clients: Callable[[], Mapping[int, str]], commits: Callable[[], int]
    ) -> None:
        self._find = find
        self._clients = clients
        self._commits = commits

    def read(self) -> Reading:
        """Return the counters now."""
        groups = self._find()
        cpu = {name: sum(cpu_s(process) for process in members) for name, members in groups.items()}
        if groups.get("postgres"):
            cpu["postgres"] += _ended_children_s(groups["postgres"][0])
        backends = {}
        for pid, client in self._clients().items():
            with suppress(*_GONE):
                backends[pid] = (client, cpu_s(psutil.Process(pid)))
        return Reading(time.monotonic(), cpu, backends, sum(os.times()[:2]), machine_s(), self._commits())

    def usage(self, before: Reading) -> Usage:
        """Return what was used since `before`; call it before a process of the groups ends."""
        now = self.read()
        cpu = {name: max(0.0, value - before.cpu_s.get(name, 0.0)) for name, value in now.cpu_s.items()}
        inside: dict[str, float] = {}
        for pid, (client, value) in now.backends.items():
            _, earlier = before.backends.get(pid, (client, 0.0))  # one that began meanwhile began with nothing
            inside[client] = inside.get(client, 0.0) + value - earlier
        bench = now.bench_s - before.bench_s
        others = now.machine_s - before.machine_s - sum(cpu.values()) - bench
        seconds = now.at - before.at
        return Usage(
            time.time() - seconds,
            seconds,
            psutil.cpu_count() or 1,
            cpu,
            bench,
            max(0.0, others),
            inside,
            now.commits - before.commits,
        )

    def footprint(self, sessions: int) -> Footprint:
        """Return the memory of every group now."""
        pss: dict[str, float] = {}
        rss: dict[str, float] = {}
        count: dict[str, int] = {}
        for name, members in self._find().items():
            sizes = [size for process in members if (size := memory(process))]
            pss[name] = round(sum(size[0] for size in sizes) / MB, 1)
            rss[name] = round(sum(size[1] for size in sizes) / MB, 1)
            count[name] = len(sizes)
        engine = sum(client == "engine" for client in self._clients().values())
        return Footprint(sessions, pss, rss, count, engine)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of one process, 0 when it is gone."""
    with suppress(*_GONE):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _ended_children_s(process: psutil.Process) -> float:
    """Return what children used that have ended: PostgreSQL's backends come and go."""
    with suppress(*_GONE):
        times = process.cpu_times()
        return float(getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0))
    return 0.0


def memory(process: psutil.Process) -> tuple[int, int] | None:
    """Return proportional and resident set size in bytes; where the former is not to be had, the latter twice."""
    try:
        full = process.memory_full_info()
    except _GONE:
        return None
    except psutil.AccessDenied:
        resident = process.memory_info().rss
        return resident, resident
    return getattr(full, "pss", full.uss), full.rss


def machine_s() -> float:
    """Return the seconds that all cores together were not idle, those that the hypervisor took included."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "system", "nice", "irq", "softirq", "steal")))


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it, itself first; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except _GONE:
        return []
