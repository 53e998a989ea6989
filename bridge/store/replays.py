"""The replays: events that an endpoint gets again, worked off in batches that survive a restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.ids import EndpointId, EventId, InstanceKey
from bridge.ids import first_event_id
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load

BATCH = 200
"""Events that one statement looks at."""
BACKLOG = 500
"""Deliveries of a replay that wait at the same time, give or take a batch."""
CLOCK_S = 60.0
"""How much earlier than its position the id of an event may have been made."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: exactly one of the kinds; the bounds belong to it. Times are seconds since 1970."""

    event: EventId | None = None
    dead: bool = False
    instance: InstanceKey | None = None
    seqs: tuple[int, int] | None = None
    times: tuple[float, float] | None = None
    types: tuple[str, ...] | None = None
    """Types or the original's names, empty for all; None: what the endpoint wants."""


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A replay and how far it is."""

    id: str
    endpoint_id: EndpointId
    request_hash: bytes
    kind: str
    state: str
    """running (looks for events), queued (all are in lanes) or cancelled."""
    queued: int
    cursor: int
    until_position: int
    created_at: datetime
    ended_at: datetime | None
    pending: int
    delivered: int
    dead: int


class Replays:
    """The repository of replays."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load("replays")

    async def insert(self, id: str, endpoint: EndpointId, chosen: Selection, request_hash: bytes) -> ReplayRow | None:
        """Make a replay, or find the one with this id; None when there is no such endpoint."""
        params: dict[str, object] = {
            "id": id,
            "endpoint": endpoint,
            "request_hash": request_hash,
            "kind": "dead" if chosen.dead else "range",
            "instance_key": chosen.instance,
            "types": None if chosen.types is None else list(chosen.types),
            "from_id": "" if chosen.times is None else first_event_id(chosen.times[0]),
            "to_id": "~" if chosen.times is None else first_event_id(chosen.times[1]),
        }
        async with self._pool.connection() as conn:
            after: int | None = None
            until: int | None = None
            if chosen.event is not None:
                row = await (await conn.execute(self._sql["span_of_event"], {"id": chosen.event})).fetchone()
                after, until = (row[0] - 1, row[0]) if row else (0, 0)
            elif chosen.seqs is not None:
                low, high = chosen.seqs
                bounds = {"instance": chosen.instance, "low": low, "high": high}
                row = await (await conn.execute(self._sql["span_of_seq"], bounds)).fetchone()
                after, until = (row[0], row[1]) if row and None not in row else (0, 0)
            elif chosen.times is not None:
                low_id = first_event_id(max(chosen.times[0] - CLOCK_S, 0))
                row = await (await conn.execute(self._sql["span_of_ids"], {"low": low_id})).fetchone()
                assert row is not None
                after = row[0]
            await conn.execute(self._sql["insert"], params | {"after": after, "until": until})
            return await fetch_one(conn, self._sql["get"], {"id": id}, ReplayRow)

    async def get(self, id: str) -> ReplayRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, self._sql["get"], {"id": id}, ReplayRow)

    async def list(self, endpoint: EndpointId, *, limit: int) -> list[ReplayRow]:
        """Return the newest replays of an endpoint."""
        async with self._pool.connection() as conn:
            return await fetch_all(conn, self._sql["list"], {"endpoint": endpoint, "limit": limit}, ReplayRow)

    async def running(self) -> Sequence[tuple[str, bool]]:
        """Return what is to be worked off, and whether it may have more waiting."""
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(self._sql["running"], {"bound": BACKLOG})).fetchall()
        return [(row[0], row[1] < BACKLOG) for row in rows]

    async def enqueue(self, id: str) -> int:
        """Put the next batch into lanes; return how many deliveries that were."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(self._sql["enqueue"], {"id": id, "batch": BATCH})).fetchone()
        return 0 if row is None else int(row[0])

    async def cancel(self, id: str) -> None:
        """End a replay; what it has not delivered is again what it was."""
        async with self._pool.connection() as conn:
            await run(conn, self._sql["cancel"], {"id": id})

    async def prune(self, older_than_s: float) -> int:
        """Forget replays that ended longer ago."""
        async with self._pool.connection() as conn:
            return await run(conn, self._sql["prune"], {"older_than_s": older_than_s})
