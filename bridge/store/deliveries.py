"""The deliveries: what is still to be posted to which endpoint, in which order, and how each attempt ended."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import psycopg

from bridge.domain.ids import EndpointId, EventId, InstanceKey, NodeId
from bridge.domain.lanes import Fate
from bridge.store.events import storable
from bridge.store.pool import Pool
from bridge.store.prepared import Statement
from bridge.store.queries import load
from bridge.store.sealed import Headers, Sealer
from bridge.store.trio_psycopg import TrioConnection
from bridge.vault import NoMainKey, SecretUnreadable, Vault

ERROR_MAX = 500
"""Characters of an error that are kept."""
PRUNE_BATCH = 5_000
REPLAY_PREFIX = "rpl_"
"""Of the id of a replay, with which the keys of its lanes begin; those of others begin with an instance's."""
LANE_COLUMNS = 9
"""Of a claim's rows: the first are the lane's and its endpoint's, those of the delivery follow."""
_encode = msgspec.json.Encoder().encode
_SQL = load("deliveries")
_CLAIM, _SETTLE = Statement(_SQL["claim"]), Statement(_SQL["settle"])


@dataclass(frozen=True, slots=True)
class Destination:
    """What a POST needs to know of its endpoint."""

    id: EndpointId
    url: str
    keys: tuple[bytes, ...]
    """The secrets that sign: two during a rotation, none when they cannot be read."""
    timeout_s: float
    max_age_s: float
    headers: Headers = ()
    """Those that its owner wants on every request."""
    failing_since: float | None = None
    """Since when every attempt has failed, as far as it is stored; seconds since 1970."""

    def __repr__(self) -> str:
        return f"Destination({self.id})"


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery that is to be attempted; times are seconds since 1970, by the database's clock."""

    event_id: EventId
    instance_key: InstanceKey
    attempts: int
    created_at: float
    first_failed_at: float | None
    body: str
    replay: str | None = None
    """The replay that it belongs to."""


@dataclass(frozen=True, slots=True)
class ClaimedLane:
    """A lane that is ours for the lease, with its first deliveries in order."""

    destination: Destination
    key: str
    deliveries: tuple[Pending, ...]

    @property
    def replays(self) -> bool:
        """Whether it is a replay's: such lanes have places of their own."""
        return self.key.startswith(REPLAY_PREFIX)


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an attempt ended. A parked delivery waits `wait_s` in its new lane."""

    endpoint_id: EndpointId
    lane_key: str
    event_id: EventId
    fate: Fate
    status: int | None = None
    error: str | None = None
    wait_s: float | None = None
    duration_ms: int | None = None
    answer: str | None = None
    """The beginning of what the receiver answered."""


@dataclass(frozen=True, slots=True)
class Released:
    """A lane that is given back, to be claimed again after `wait_s`."""

    endpoint_id: EndpointId
    key: str
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one endpoint."""

    endpoint_id: EndpointId
    deliveries: int
    lanes: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery, for people."""

    event_id: EventId
    lane_key: str
    seq: int
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    duration_ms: int | None
    answer: str | None
    """The first 2 kB of the last answer."""
    created_at: datetime
    finished_at: datetime | None
    next_at: datetime | None
    replay: str | None
    """The last replay that took it up."""
    history: Sequence[Mapping[str, object]] | None
    """Its attempts that failed, as far as they are kept."""


class Deliveries:
    """The repository of lanes and deliveries."""

    def __init__(self, pool: Pool, vault: Vault | None = None) -> None:
        self._pool = pool
        self._sealer = Sealer(vault)

    async def settle_and_claim(
        self,
        node: NodeId,
        attempted: Sequence[Attempted],
        released: Sequence[Released],
        *,
        free: int,
        busy: Mapping[EndpointId, tuple[int, int]],
        per_lane: int,
        lease_s: float,
        replays: int = 0,
    ) -> tuple[ClaimedLane, ...]:
        """Record attempts, give lanes back, and claim what is due: in this order, in one go.

        `free` is how many lanes an endpoint may have claimed now, `replays` how many of replays beside these; `busy`
        says both for those endpoints for which they are others.
        """
        claim = {
            "node": node,
            "free": free,
            "ids": list(busy),
            "frees": [lanes for lanes, _ in busy.values()],
            "replays": replays,
            "busy_replays": [lanes for _, lanes in busy.values()],
            "per_lane": per_lane,
            "lease_s": lease_s,
        }
        async with self._pool.connection() as conn:
            if attempted or released:
                await self._settle(conn, node, attempted, released)
            lanes = self._lanes(await conn.call(_CLAIM, claim))
            if empty := [lane for lane in lanes if not lane.deliveries]:
                await self._recount(conn, node, empty)
        return tuple(lane for lane in lanes if lane.deliveries)

    async def settle(self, node: NodeId, attempted: Sequence[Attempted], released: Sequence[Released]) -> None:
        """Record attempts and give lanes back."""
        if attempted or released:
            async with self._pool.connection() as conn:
                await self._settle(conn, node, attempted, released)

    async def release(self, node: NodeId, *, alone: bool, keep: Collection[tuple[EndpointId, str]] = ()) -> int:
        """Free the lanes that `node` has claimed but does not `keep`; if it is `alone`, those of all others too."""
        params = {
            "node": node,
            "alone": alone,
            "endpoints": [endpoint for endpoint, _ in keep],
            "keys": [key for _, key in keep],
        }
        async with self._pool.connection() as conn:
            return (await conn.execute(_SQL["release"], params)).rowcount

    async def hasten(self, endpoint: EndpointId, keys: Sequence[str] | None = None) -> None:
        """Make lanes due now that wait: those in `keys`, or all of the endpoint's."""
        params = {"endpoint": endpoint, "keys": None if keys is None else list(keys)}
        async with self._pool.connection() as conn:
            await conn.execute(_SQL["hasten"], params)

    async def backlog(self) -> tuple[Backlog, ...]:
        """Return what waits, for each endpoint that has something waiting."""
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(_SQL["backlog"])).fetchall()
        return tuple(Backlog(*row) for row in rows)

    async def page(
        self, endpoint: EndpointId, state: str | None = None, *, limit: int = 100, before: EventId | None = None
    ) -> tuple[DeliveryRow, ...]:
        """Return the newest deliveries of an endpoint that are pending, delivered or dead, or any of these.

        `failed` are the pending ones that have been tried.
        """
        params = {"endpoint": endpoint, "state": state, "limit": limit, "before": before}
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(_SQL["page"], params)).fetchall()
        return tuple(DeliveryRow(*row) for row in rows)

    async def hurry(self, event: EventId, endpoint: EndpointId) -> str | None:
        """Make a pending delivery due now; return the state that it had, None when there is none."""
        params = {"event": event, "endpoint": endpoint}
        async with self._pool.connection() as conn:
            await conn.execute(_SQL["hurry"], params)
            row = await (await conn.execute(_SQL["state_of"], params)).fetchone()
        return None if row is None else str(row[0])

    async def prune_attempts(self, older_than_s: float) -> int:
        """Forget a batch of attempts that failed longer ago."""
        params = {"older_than_s": older_than_s, "limit": PRUNE_BATCH}
        async with self._pool.connection() as conn:
            return (await conn.execute(_SQL["prune_attempts"], params)).rowcount

    async def prune(self, older_than_s: float, *, before: EventId) -> int:
        """Forget a batch of what arrived longer ago than this; `before` bounds the search to events up to that id."""
        params = {"older_than_s": older_than_s, "before": before, "limit": PRUNE_BATCH}
        async with self._pool.connection() as conn:
            return (await conn.execute(_SQL["prune"], params)).rowcount

    async def sweep(self) -> None:
        """Remove what still waits for endpoints that are gone."""
        async with self._pool.connection() as conn:
            await conn.execute(_SQL["sweep"])

    async def _settle(
        self, conn: TrioConnection, node: NodeId, attempted: Sequence[Attempted], released: Sequence[Released]
    ) -> None:
        lanes: dict[tuple[str, str], dict[str, object]] = {
            (one.endpoint_id, one.lane_key): {"endpoint_id": one.endpoint_id, "key": one.lane_key, "release": False}
            for one in attempted
        }
        for lane in released:
            lanes[lane.endpoint_id, lane.key] = {
                "endpoint_id": lane.endpoint_id,
                "key": lane.key,
                "release": True,
                "wait_s": lane.wait_s,
            }
        results = [
            {
                "endpoint_id": one.endpoint_id,
                "lane_key": one.lane_key,
                "event_id": one.event_id,
                "fate": one.fate,
                "status": one.status,
                "error": None if one.error is None else storable(one.error[:ERROR_MAX]),
                "wait_s": one.wait_s,
                "duration_ms": one.duration_ms,
                "answer": None if one.answer is None else storable(one.answer),
            }
            for one in attempted
        ]
        params = {
            "node": node,
            "results": _encode(results).decode(),
            "lanes": _encode(list(lanes.values())).decode(),
        }
        try:
            await conn.call(_SETTLE, params)
        except psycopg.errors.DeadlockDetected:
            await conn.call(_SETTLE, params)

    async def _recount(self, conn: TrioConnection, node: NodeId, lanes: Sequence[ClaimedLane]) -> None:
        params = {
            "node": node,
            "endpoints": [lane.destination.id for lane in lanes],
            "keys": [lane.key for lane in lanes],
        }
        async with conn.transaction():
            rows = await (await conn.execute(_SQL["recount"], params)).fetchall()
            locked = {"endpoints": [row[0] for row in rows], "keys": [row[1] for row in rows]}
            await conn.execute(_SQL["recount_locked"], locked)

    def _lanes(self, rows: Sequence[tuple[Any, ...]]) -> list[ClaimedLane]:
        """Group the rows of a claim, which come ordered by lane and then by `seq`."""
        lanes: list[ClaimedLane] = []
        for (_, key), group in groupby(rows, lambda row: (row[0], row[1])):
            mine = list(group)
            pending = tuple(Pending(*row[LANE_COLUMNS:-1]) for row in mine if row[-3] is not None)
            lanes.append(ClaimedLane(self._destination(mine[0]), key, pending))
        return lanes

    def _destination(self, row: tuple[Any, ...]) -> Destination:
        id, _, url, secret, old_secret, headers, timeout_s, max_age_s, failing_since = row[:LANE_COLUMNS]
        keys: tuple[bytes, ...] = ()
        own: Headers = ()
        with suppress(SecretUnreadable, NoMainKey):
            own = self._sealer.headers(id, headers)
            keys = (self._sealer.secret(id, secret),)
            if old_secret is not None:
                keys = (*keys, self._sealer.secret(id, old_secret))
        return Destination(id, url, keys, timeout_s, max_age_s, own, failing_since)
