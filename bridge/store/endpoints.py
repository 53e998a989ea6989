"""The endpoints: where events go, which ones, and signed with what. Their secrets are sealed here, and never shown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from psycopg.rows import dict_row

from bridge.domain.ids import EndpointId, InstanceKey
from bridge.store import cursors
from bridge.store.deliveries import Destination
from bridge.store.fetch import run
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import Page
from bridge.store.sealed import Sealer
from bridge.vault import NoMainKey, SecretUnreadable, Vault

ROTATION_S = 86_400.0
"""How long the old secret signs beside the new one."""
HINT_CHARS = 4
DEAD_MAX = 10_000
"""Dead deliveries are counted up to here."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """What an endpoint is made from, besides its secret; whoever makes one has judged URL and headers."""

    instance_key: InstanceKey | None
    url: str
    events: tuple[str, ...]
    ordering: str
    timeout_s: float
    max_age_s: float
    headers: Mapping[str, str] = field(default_factory=dict)

    def describes(self, row: "EndpointRow") -> bool:
        """Say whether `row` could have been made from this."""
        mine = (self.instance_key, self.url, self.events, self.ordering, self.timeout_s, self.max_age_s)
        names = tuple(self.headers)
        return (*mine, names) == (
            row.instance_key,
            row.url,
            tuple(row.events),
            row.ordering,
            row.timeout_s,
            row.max_age_s,
            tuple(row.headers),
        )


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One receiver of webhooks, as it may be shown."""

    id: EndpointId
    instance_key: InstanceKey | None
    """None: events of every instance."""
    url: str
    events: Sequence[str]
    """Types or the original's names; empty: all."""
    headers: Sequence[str]
    """Names of its own headers; their values are secrets."""
    ordering: str
    timeout_s: float
    max_age_s: float
    state: str
    reason: str | None
    failing_since: datetime | None
    created_at: datetime
    secret_hint: str
    """The last characters of its secret, empty when that cannot be read."""
    old_secret_until: datetime | None
    """Until when the secret before this one signs as well."""

    def __repr__(self) -> str:
        return f"EndpointRow({self.id}, {self.state})"  # not the URL, which may hold a secret


@dataclass(frozen=True, slots=True)
class Lag:
    """How far an endpoint is behind."""

    pending: int = 0
    oldest: datetime | None = None
    """When the oldest of what is pending was made."""
    dead: int = 0
    """Counted up to `DEAD_MAX`."""
    error_at: datetime | None = None
    error: str | None = None
    """Of the last attempt that failed."""


class Endpoints:
    """The repository of endpoints."""

    def __init__(self, pool: Pool, vault: Vault | None = None) -> None:
        self._pool = pool
        self._sealer = Sealer(vault)
        self._sql = load("endpoints")

    async def upsert(
        self,
        id: EndpointId,
        instance_key: InstanceKey | None,
        url: str,
        events: Sequence[str],
        secret: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        ordering: str = "chat",
        timeout_s: float = 10.0,
        max_age_s: float = 259_200.0,
    ) -> EndpointRow:
        """Make an endpoint, or give one that exists these values; whoever calls this has judged the URL."""
        spec = EndpointSpec(instance_key, url, tuple(events), ordering, timeout_s, max_age_s, headers or {})
        row = await self._one("upsert", self._params(id, spec, secret))
        assert row is not None
        return row

    async def insert(self, id: EndpointId, spec: EndpointSpec, secret: bytes) -> bool:
        """Make an endpoint; return False when there is one with this id, which stays as it is."""
        return await self._run("insert", self._params(id, spec, secret))

    async def change(
        self,
        id: EndpointId,
        *,
        instance_key: InstanceKey | None = None,
        every_instance: bool = False,
        url: str | None = None,
        events: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        ordering: str | None = None,
        timeout_s: float | None = None,
        max_age_s: float | None = None,
    ) -> EndpointRow | None:
        """Change what is given; empty `headers` take all away. Returns None when there is no such endpoint."""
        params: dict[str, object] = {
            "id": id,
            "instance_key": instance_key,
            "every_instance": every_instance,
            "url": url,
            "events": None if events is None else list(events),
            "headers": self._sealer.seal_headers(id, headers) if headers else None,
            "no_headers": headers is not None and not headers,
            "ordering": ordering,
            "timeout_s": timeout_s,
            "max_age_s": max_age_s,
        }
        return await self._one("change", params)

    async def get(self, id: EndpointId) -> EndpointRow | None:
        return await self._one("get", {"id": id})

    async def list(self, instance_key: InstanceKey | None = None) -> list[EndpointRow]:
        """Return the endpoints that get events of an instance; without a key, all there are."""
        return [self._shown(row) for row in await self._rows("list", {"instance_key": instance_key})]

    async def page(
        self,
        *,
        instance_key: InstanceKey | None,
        limit: int,
        cursor: str | None,
        only: frozenset[str] | None = None,
    ) -> Page[EndpointRow]:
        """Return a page of endpoints, oldest first; `only` leaves out what does not belong to one of these instances.

        With `instance_key`, those that get events of it: its own, and those of all instances.
        """
        after_at, after_id = (None, None) if cursor is None else cursors.time(cursor)
        params = {
            "instance_key": instance_key,
            "only": None if only is None else sorted(only),
            "after_at": after_at,
            "after_id": after_id,
            "limit": limit + 1,
        }
        rows = [self._shown(row) for row in await self._rows("page", params)]
        items = tuple(rows[:limit])
        return Page(items, cursors.at_time(items[-1].created_at, items[-1].id) if len(rows) > limit else None)

    async def lag(self, ids: Sequence[EndpointId]) -> dict[EndpointId, Lag]:
        """Return how far behind these endpoints are."""
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(self._sql["lag"], {"ids": ids, "dead_max": DEAD_MAX})).fetchall()
        return {row[0]: Lag(*row[1:]) for row in rows}

    async def destination(self, id: EndpointId) -> Destination | None:
        """Return what a POST to this endpoint needs; raise `SecretUnreadable`."""
        rows = await self._rows("get", {"id": id})
        if not rows:
            return None
        row = rows[0]
        keys = (self._sealer.secret(id, row["secret"]),)
        return Destination(
            id, row["url"], keys, row["timeout_s"], row["max_age_s"], self._sealer.headers(id, row["headers"])
        )

    async def rotate(self, id: EndpointId, secret: bytes, *, keep_s: float = ROTATION_S) -> EndpointRow | None:
        """Sign with `secret` from now on, and with the old one beside it for `keep_s`."""
        return await self._one("rotate", {"id": id, "secret": self._sealer.seal_secret(id, secret), "keep_s": keep_s})

    async def set_state(self, id: EndpointId, state: str, reason: str | None = None) -> EndpointRow | None:
        """Make an endpoint active, paused (its deliveries wait) or disabled (none are made)."""
        return await self._one("set_state", {"id": id, "state": state, "reason": reason})

    async def note_failing(self, id: EndpointId, since: float | None) -> None:
        """Store since when (seconds since 1970) every attempt has failed; None: it is well again."""
        await self._run("failing", {"id": id, "since": since})

    async def remove(self, id: EndpointId) -> bool:
        """Remove an endpoint and what was still to be delivered to it; return whether it was there."""
        return await self._run("remove", {"id": id})

    async def reseal(self) -> int:
        """Seal what is still plain, or sealed under an older key, under the key of today; return how many rows."""
        changed, unreadable = 0, []
        async with self._pool.transaction() as conn:
            async with conn.cursor(row_factory=dict_row) as cursor:
                await cursor.execute(self._sql["sealed"])
                rows = await cursor.fetchall()
            for row in rows:
                try:
                    anew = self._sealer.again(row["id"], row)
                except SecretUnreadable:
                    unreadable.append(row["id"])
                    continue
                if any(anew[name] is not row[name] for name in anew):
                    await conn.execute(self._sql["reseal"], {"id": row["id"], **anew})
                    changed += 1
        if unreadable:
            log.error("store.secrets_unreadable", endpoints=unreadable)
        return changed

    def _params(self, id: EndpointId, spec: EndpointSpec, secret: bytes) -> dict[str, object]:
        return {
            "id": id,
            "instance_key": spec.instance_key,
            "url": spec.url,
            "events": list(spec.events),
            "secret": self._sealer.seal_secret(id, secret),
            "headers": self._sealer.seal_headers(id, spec.headers),
            "ordering": spec.ordering,
            "timeout_s": spec.timeout_s,
            "max_age_s": spec.max_age_s,
        }

    async def _one(self, name: str, params: Mapping[str, object]) -> EndpointRow | None:
        rows = await self._rows(name, params)
        return self._shown(rows[0]) if rows else None

    async def _rows(self, name: str, params: Mapping[str, object]) -> "Sequence[dict[str, Any]]":
        async with self._pool.connection() as conn, conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._sql[name], params)
            return await cursor.fetchall()

    async def _run(self, name: str, params: Mapping[str, object]) -> bool:
        async with self._pool.connection() as conn:
            return await run(conn, self._sql[name], params) > 0

    def _shown(self, row: dict[str, Any]) -> EndpointRow:
        values = {name: row[name] for name in EndpointRow.__slots__ if name in row}
        try:
            secret = base64.b64encode(self._sealer.secret(row["id"], row["secret"])).decode()
            headers = [name for name, _ in self._sealer.headers(row["id"], row["headers"])]
        except (SecretUnreadable, NoMainKey):
            secret, headers = "", []
        return EndpointRow(**values | {"secret_hint": secret[-HINT_CHARS:], "headers": headers})
