"""How much is measured: a full run takes a quarter of an hour or more on two idle cores, the quick one two minutes."""

from dataclasses import dataclass, field

from ops.bench.search import Search

PARTS = ("memory", "recovery", "texts-in", "texts-out", "sandbox")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and how long."""

    parts: tuple[str, ...] = PARTS
    sizes: tuple[int, ...] = (1, 25, 100, 200)
    """Sessions at which memory is read; the last also for coming back after kill -9."""
    pairing_s: float = 360
    """After so long, what is paired by then must do."""
    instances: int = 10
    """Over how many the texts go."""
    steady_rate: float = 100
    steady_s: float = 20
    search: Search = field(default_factory=Search)
    in_turn: int = 600
    at_once: int = 2000
    sandbox_messages: int = 100_000

    def wants(self, *parts: str) -> bool:
        return any(part in self.parts for part in parts)


def quick(parts: tuple[str, ...]) -> Plan:
    """Return the plan that shows that everything works and about where it stands."""
    search = Search(first=200, step=200, probe_s=4, hold_s=5, holds=2, lower=0)
    return Plan(parts, (1, 5), 60, 10, 100, 5, search, 100, 200, 5_000)
