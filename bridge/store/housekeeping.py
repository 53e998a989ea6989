"""What the janitor deletes. Batches are bounded, so that no statement holds locks for long."""

from bridge.store.pool import Pool
from bridge.store.queries import load

SQL = load("housekeeping")

COMMANDS_S = 24 * 3600.0
"""An Idempotency-Key works for a day."""


class Housekeeping:
    """Deletes what is over."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def clean(self, *, audit_s: float) -> dict[str, int]:
        """Delete a batch of each kind and return how many went; raise `StoreUnavailable`.

        `audit_s` is how many seconds the audit trail is kept.
        """
        removed: dict[str, int] = {}
        parameters = {"commands_s": COMMANDS_S, "audit_s": audit_s}
        async with self._pool.connection() as conn:
            for kind in ("commands", "replies", "endpoints", "keys", "audit"):
                cursor = await conn.execute(SQL[kind], parameters)
                removed[kind] = cursor.rowcount
        return removed
