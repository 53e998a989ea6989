"""Values that are made once for an installation, such as the default endpoint's secret."""

from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("settings")


class Settings:
    """The repository of such values."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, name: str) -> bytes | None:
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["get"], {"name": name})).fetchone()
        return None if row is None else bytes(row[0])

    async def put_if_absent(self, name: str, value: bytes) -> bytes:
        """Store `value` unless there is one; return the one that is stored."""
        async with self._pool.connection() as conn:
            while True:
                row = await (await conn.execute(_SQL["put_if_absent"], {"name": name, "value": value})).fetchone()
                if row is not None:  # else somebody else's value was committed while we asked: it is there now
                    return bytes(row[0])
