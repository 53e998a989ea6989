"""The API keys; a key itself is never stored."""

from dataclasses import asdict

from bridge.domain.ids import KeyId
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import KeyRow, NewKey, Page

_SQL = load("keys")


class Keys:
    """The repository of API keys."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, key: NewKey) -> KeyRow | None:
        """Store a key; return None when there is one with its id."""
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["add"], asdict(key), KeyRow)

    async def find(self, key_hash: bytes) -> KeyRow | None:
        """Return the key with this SHA-256 unless it has expired."""
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["find"], {"hash": key_hash}, KeyRow)

    async def get(self, id: KeyId) -> KeyRow | None:
        """Return a key, also an expired one."""
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["get"], {"id": id}, KeyRow)

    async def count(self) -> int:
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["count"])).fetchone()
        assert row is not None
        return int(row[0])

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[KeyRow]:
        """Return up to `limit` keys, expired ones too, oldest first; a cursor is the id of the last one seen."""
        async with self._pool.connection() as conn:
            rows = await fetch_all(conn, _SQL["page"], {"after": cursor, "limit": limit}, KeyRow)
        items = tuple(rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)

    async def delete_others(self, name: str, keep: KeyId) -> int:
        """Revoke the keys called `name` but the one with the id `keep`; return how many there were."""
        async with self._pool.connection() as conn:
            return await run(conn, _SQL["delete_others"], {"name": name, "keep": keep})

    async def revoke(self, id: KeyId) -> bool:
        """Revoke a key; return False when there is none, or when it is the last one that can make keys for good."""
        async with self._pool.connection() as conn:
            return await run(conn, _SQL["revoke"], {"id": id}) > 0
