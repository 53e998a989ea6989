"""What an endpoint that hangs costs the others: `python -m ops.bench.isolation`, six minutes.

Windows with and without it alternate within one run, for a machine is never the same for two minutes. In each with it,
a thousand of its lanes have been stored beforehand, and all its places are taken by attempts that get no answer:
throughout, or until they time out in the middle and the endpoint is only probed.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from functools import partial

import trio

from bridge import logs
from bridge.domain.ids import EndpointId
from bridge.webhooks.limits import Limits
from ops.bench.delivery_rig import Owner, Rig, Sink, arrivals, running_rig
from ops.bench.figures import Latency

RATE, LANES, PLACES = 200.0, 1_000, Limits().per_endpoint
LONG_S, SHORT_S = 30.0, 5.0
"""Timeouts of the endpoint that hangs: the longest that can be set, longer than a window, and one that ends in it."""
WARM_S = 1.0
"""Of each window that is not counted: PostgreSQL plans anew, connections are made."""
ENDED_S = 20.0


@dataclass
class Series:
    """The windows of one kind."""

    name: str
    windows: list[Latency] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return statistics.median(window.p99_ms for window in self.windows)

    def __str__(self) -> str:
        p50 = statistics.median(window.p50_ms for window in self.windows)
        each = " ".join(f"{window.p99_ms:.1f}" for window in self.windows)
        return f"{self.name}: p50 {p50:.1f} ms, p99 {self.p99_ms:.1f} ms ({each})"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is beside the endpoints that are measured."""

    name: str
    sink: str = ""
    """Of another endpoint: it hangs or answers; empty when there is none."""
    everything: bool = False
    """Whether that gets all that happens, beside its thousand lanes."""
    timeout_s: float = LONG_S


class Neighbour:
    """An endpoint beside those that are measured, there for the length of a window."""

    def __init__(self, rig: Rig, kind: Kind) -> None:
        self._rig = rig
        self._kind = kind
        self._failed = rig.dispatcher.stats.failed
        self._sink: Sink | None = None
        self._id: EndpointId | None = None

    async def come(self, owner: Owner) -> None:
        """Store its lanes, and wait until they are on their way."""
        if not self._kind.sink:
            return
        self._sink = self._rig.sink(self._kind.sink)
        instance = None if self._kind.everything else owner.view.key
        self._id = await self._rig.endpoint(self._sink, instance, timeout_s=self._kind.timeout_s)
        ids = [id for start in range(0, LANES, 100) for id in await self._rig.append(owner, _lanes(start))]
        if self._kind.sink == "answers":
            await arrivals(self._sink, set(ids))
            return
        began = 0
        with trio.fail_after(ENDED_S):
            while began < PLACES:
                began += len(self._sink.came())
                await trio.sleep(0.05)

    async def leave(self) -> None:
        """End every attempt, and take it and its deliveries away."""
        if self._id is None or self._sink is None:
            return
        stats = self._rig.dispatcher.stats
        if self._kind.sink == "hangs":
            hung = stats.in_flight if self._kind.timeout_s == LONG_S else stats.failed - self._failed
            assert hung >= PLACES, f"only {hung} attempts hung as they should"
        await self._rig.store.endpoints.remove(self._id)
        self._sink.kill()
        with trio.fail_after(ENDED_S):
            while self._rig.dispatcher.stats.in_flight:  # noqa: ASYNC110 -- a bench may look
                await trio.sleep(0.05)
        await self._rig.store.deliveries.sweep()


def _lanes(start: int) -> list[str]:
    return [f"lane {number}" for number in range(start, start + 100)]


async def window(rig: Rig, sink: Sink, neighbour: Neighbour, owner: Owner, seconds: float) -> Latency:
    """Return the latencies of the others while `neighbour` is there."""
    await neighbour.come(owner)
    async with rig.store.connection() as conn:
        await conn.execute("vacuum analyze")  # each window finds the same: the one before left dead rows
    await rig.steadily(RATE, WARM_S)
    committed = await rig.steadily(RATE, seconds)
    came = await arrivals(sink, set(committed))
    await neighbour.leave()
    took = [came[id] - at for id, at in committed.items() if id in came]
    return Latency.of(took, missing=len(committed) - len(took))


async def compare(rig: Rig, sink: Sink, kinds: tuple[Kind, Kind], count: int, seconds: float) -> None:
    """Alternate windows of two kinds, in the order ABBA, and print what the second costs."""
    owner = await rig.own()
    series = [Series(kind.name) for kind in kinds]
    for number in range(count):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            found = await window(rig, sink, Neighbour(rig, kinds[which]), owner, seconds)
            series[which].windows.append(found)
    for one in series:
        print(one, flush=True)
    print(f"the second beside the first: {series[1].p99_ms / series[0].p99_ms - 1:+.0%}", flush=True)


ALONE = Kind("no such endpoint")
COMPARISONS = {
    "own": (ALONE, Kind(f"one hangs with {LANES} lanes of its own", "hangs")),
    "times-out": (ALONE, Kind(f"the same, and it times out after {SHORT_S:.0f} s", "hangs", timeout_s=SHORT_S)),
    "all": (Kind("a second gets all and answers", "answers", True), Kind("a second gets all and hangs", "hangs", True)),
    "spread": (ALONE, Kind("no such endpoint again")),
}


async def main() -> None:
    """Print each comparison."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--windows", type=int, default=5, help="of each kind")
    options.add_argument("--seconds", type=float, default=8.0, help="of each window")
    options.add_argument("--only", nargs="+", choices=COMPARISONS, default=["own", "times-out", "all"])
    given = options.parse_args()
    async with running_rig() as rig, trio.open_nursery() as running:
        sink = rig.sink("answers")
        for owner in rig.owners:
            await rig.endpoint(sink, owner.view.key)
        await running.start(partial(rig.dispatcher.run, stop=trio.Event()))
        for which in given.only:
            await compare(rig, sink, COMPARISONS[which], given.windows, given.seconds)
        running.cancel_scope.cancel()


if __name__ == "__main__":
    logs.configure(level="critical", style="console")
    trio.run(main)
