"""The endpoints: where events go, which ones, and signed with what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.ids import EndpointId, InstanceKey
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One receiver of webhooks."""

    id: EndpointId
    instance_key: InstanceKey | None
    """None: events of every instance."""
    url: str
    events: Sequence[str]
    """Types or the original's names; empty: all."""
    secret: bytes
    ordering: str
    timeout_s: float
    max_age_s: float
    state: str
    reason: str | None
    created_at: datetime

    def __repr__(self) -> str:
        return f"EndpointRow({self.id}, {self.state})"  # neither the secret nor the URL, which may hold one


class Endpoints:
    """The repository of endpoints."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load("endpoints")

    async def upsert(
        self,
        id: EndpointId,
        instance_key: InstanceKey | None,
        url: str,
        events: Sequence[str],
        secret: bytes,
        *,
        ordering: str = "chat",
        timeout_s: float = 10.0,
        max_age_s: float = 259_200.0,
    ) -> EndpointRow:
        """Make an endpoint, or give one that exists these values; whoever calls this has judged the URL."""
        params = {
            "id": id,
            "instance_key": instance_key,
            "url": url,
            "events": list(events),
            "secret": secret,
            "ordering": ordering,
            "timeout_s": timeout_s,
            "max_age_s": max_age_s,
        }
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, self._sql["upsert"], params, EndpointRow)
        assert row is not None
        return row

    async def get(self, id: EndpointId) -> EndpointRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, self._sql["get"], {"id": id}, EndpointRow)

    async def list(self, instance_key: InstanceKey | None = None) -> list[EndpointRow]:
        """Return the endpoints that get events of an instance; without a key, all there are."""
        async with self._pool.connection() as conn:
            return await fetch_all(conn, self._sql["list"], {"instance_key": instance_key}, EndpointRow)

    async def rotate(self, id: EndpointId, secret: bytes, *, keep_s: float = 86_400.0) -> bool:
        """Sign with `secret` from now on, and with the old one beside it for `keep_s`."""
        return await self._run("rotate", {"id": id, "secret": secret, "keep_s": keep_s})

    async def set_state(self, id: EndpointId, state: str, reason: str | None = None) -> bool:
        """Make an endpoint active, paused (its deliveries wait) or disabled (none are made)."""
        return await self._run("set_state", {"id": id, "state": state, "reason": reason})

    async def remove(self, id: EndpointId) -> bool:
        """Remove an endpoint and what was still to be delivered to it; return whether it was there."""
        return await self._run("remove", {"id": id})

    async def _run(self, name: str, params: dict[str, object]) -> bool:
        async with self._pool.connection() as conn:
            return await run(conn, self._sql[name], params) > 0
