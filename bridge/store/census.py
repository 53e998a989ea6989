"""Counts what is in the database, for metrics: one statement, whose cost grows with what waits."""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("census")


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits for one endpoint."""

    endpoint: str
    events: int
    oldest_s: float
    """Age of the oldest of them."""


@dataclass(frozen=True, slots=True)
class Census:
    """How many of each kind there are, by state; states that nothing is in are absent."""

    instances: Mapping[str, int]
    endpoints: Mapping[str, int]
    commands: Mapping[str, int]
    """Those without an outcome."""
    lags: tuple[Lag, ...]


class Censuses:
    """The repository of counts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self) -> Census:
        """Count; raise `StoreUnavailable`."""
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(_SQL["count"])).fetchall()
            lags = await (await conn.execute(_SQL["lags"])).fetchall()
        counts: dict[str, dict[str, int]] = {"instance": {}, "endpoint": {}, "command": {}}
        for kind, state, number in rows:
            counts[kind][state] = number
        return Census(counts["instance"], counts["endpoint"], counts["command"], tuple(Lag(*row) for row in lags))
