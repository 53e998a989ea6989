"""Values that are made once for an installation, such as the default endpoint's secret."""

from collections.abc import Callable

from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.vault import NoMainKey, SecretUnreadable, Vault

_SQL = load("settings")


class Settings:
    """The repository of such values."""

    def __init__(self, pool: Pool, vault: Vault | None = None) -> None:
        self._pool = pool
        self._vault = vault

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

    async def secret(self, name: str, make: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return a secret that is kept sealed, and whether it was made just now.

        It is made at first, and anew when it was sealed under a key that is not here.
        """
        if self._vault is None:
            raise NoMainKey
        purpose = f"setting/{name}"
        made = make()
        stored = await self.put_if_absent(name, self._vault.seal(made, purpose))
        try:
            secret = self._vault.open(stored, purpose)
        except SecretUnreadable:
            secret = made
        if not self._vault.current(stored):
            await self.put(name, self._vault.seal(secret, purpose))
        return secret, secret == made

    async def put(self, name: str, value: bytes) -> None:
        """Store `value` whether there is one or not."""
        async with self._pool.connection() as conn:
            await conn.execute(_SQL["put"], {"name": name, "value": value})
