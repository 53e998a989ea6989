"""The audit trail: appended to, read from its end, cut at its beginning by the janitor."""

from dataclasses import asdict

from bridge.store.fetch import fetch_all, run
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import AuditRow, Page

_SQL = load("audit")


class Audit:
    """The repository of who did what."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert(self, row: AuditRow) -> None:
        """Store an entry; PostgreSQL's clock gives it its time."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["insert"], asdict(row))

    async def page(
        self, *, instance_key: str | None = None, key_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[AuditRow]:
        """Return up to `limit` entries, newest first; a cursor is the id of the last one seen."""
        params = {"instance_key": instance_key, "key_id": key_id, "before": cursor, "limit": limit}
        async with self._pool.connection() as conn:
            rows = await fetch_all(conn, _SQL["page"], params, AuditRow)
        items = tuple(rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)
