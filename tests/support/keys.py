"""API keys and the audit trail in memory, for tests of the API over the wire."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import trio

from bridge.domain.ids import KeyId
from bridge.store.rows import AuditRow, KeyRow, NewKey, Page


@dataclass
class MemoryKeys:
    """Keys by their SHA-256."""

    rows: dict[bytes, KeyRow] = field(default_factory=dict)
    lookups: int = 0

    def put(self, key: str, role: str = "admin", expires_at: datetime | None = None, **limits: object) -> KeyRow:
        """Store a key as it might be found there."""
        row = KeyRow(KeyId(f"key_{len(self.rows):026}"), "test", role, datetime.now(UTC), expires_at)
        row = self.rows[hashlib.sha256(key.encode()).digest()] = replace(row, **limits)  # type: ignore[arg-type]
        return row

    async def find(self, key_hash: bytes) -> KeyRow | None:
        await trio.lowlevel.checkpoint()
        self.lookups += 1
        return self.rows.get(key_hash)

    async def get(self, id: KeyId) -> KeyRow | None:
        await trio.lowlevel.checkpoint()
        return next((row for row in self.rows.values() if row.id == id), None)

    async def add(self, key: NewKey) -> KeyRow | None:
        if await self.get(key.id) is not None:
            return None
        row = self.rows[key.hash] = KeyRow(
            id=key.id,
            name=key.name,
            role=key.role,
            created_at=datetime.now(UTC),
            expires_at=key.expires_at,
            instances=key.instances,
            networks=key.networks,
            rate_per_s=key.rate_per_s,
            hint=key.hint,
            created_by=key.created_by,
        )
        return row

    async def page(self, *, limit: int, cursor: str | None) -> Page[KeyRow]:
        await trio.lowlevel.checkpoint()
        return _page(sorted((row for row in self.rows.values() if row.id > (cursor or "")), key=lambda r: r.id), limit)

    async def revoke(self, id: KeyId) -> bool:
        row = await self.get(id)
        lasting = [found for found in self.rows.values() if found.role == "admin" and found.id != id]
        if row is None or (row.role == "admin" and not lasting):
            return False
        self.rows = {hash: found for hash, found in self.rows.items() if found.id != id}
        return True


@dataclass
class MemoryAudit:
    """Entries in the order in which they came; `failure` is raised instead of keeping one."""

    entries: list[AuditRow] = field(default_factory=list)
    failure: BaseException | None = None

    async def insert(self, row: AuditRow) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.entries.append(replace(row, at=datetime.now(UTC)))

    async def page(
        self, *, instance_key: str | None, key_id: str | None, limit: int, cursor: str | None
    ) -> Page[AuditRow]:
        await trio.lowlevel.checkpoint()
        found = [row for row in reversed(self.entries) if instance_key in {None, row.instance_key}]
        found = [row for row in found if key_id in {None, row.key_id} and (cursor is None or row.id < cursor)]
        return _page(found, limit)


def _page(rows: Sequence[object], limit: int) -> Page[object]:  # type: ignore[type-arg]
    items = tuple(rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)  # type: ignore[attr-defined]
