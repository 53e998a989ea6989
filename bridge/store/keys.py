"""The API keys; a key itself is never stored."""

from datetime import datetime

from bridge.domain.ids import KeyId
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import KeyRow

_SQL = load("keys")


class Keys:
    """The repository of API keys."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert(self, id: KeyId, name: str, role: str, hash: bytes, expires_at: datetime | None = None) -> KeyRow:
        """Store a key by its SHA-256."""
        params = {"id": id, "name": name, "role": role, "hash": hash, "expires_at": expires_at}
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["insert"], params, KeyRow)
        assert row is not None
        return row

    async def find(self, key_hash: bytes) -> KeyRow | None:
        """Return the key with this SHA-256 unless it has expired."""
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["find"], {"hash": key_hash}, KeyRow)

    async def count(self) -> int:
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["count"])).fetchone()
        assert row is not None
        return int(row[0])

    async def list(self) -> list[KeyRow]:
        """Return every key, expired ones too, oldest first."""
        async with self._pool.connection() as conn:
            return await fetch_all(conn, _SQL["all"], {}, KeyRow)

    async def delete(self, id: KeyId) -> bool:
        """Revoke a key; return whether there was one."""
        async with self._pool.connection() as conn:
            return await run(conn, _SQL["delete"], {"id": id}) > 0
