"""Consumers of the feed: readers with a name, whose cursor outlives them and the bridge."""

from dataclasses import dataclass

from bridge.domain.ids import KeyId
from bridge.store.fetch import fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("consumers")

CONSUMERS_MAX = 100
"""Of one key: their names are the caller's."""
UNUSED_S = 90 * 86_400.0
"""After which a consumer makes room: events are not kept that long."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer as one connection holds it. `position` is the cursor that was acknowledged when it was opened."""

    id: int
    position: int
    lease: int


class Consumers:
    """The repository of consumers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def open(self, key_id: KeyId | None, name: str, position: int) -> Consumer | None:
        """Take the key's consumer over from whoever has it, or make it at `position`; None: the key has too many."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["forget"], {"key_id": key_id, "unused_s": UNUSED_S})
            params = {"key_id": key_id, "name": name, "position": position, "most": CONSUMERS_MAX}
            return await fetch_one(conn, _SQL["open"], params, Consumer)

    async def acknowledge(self, consumer: Consumer, position: int) -> bool:
        """Move the cursor forward; return False when somebody else has taken over, or its key was revoked."""
        params = {"id": consumer.id, "lease": consumer.lease, "position": position}
        async with self._pool.connection() as conn:
            return await run(conn, _SQL["acknowledge"], params) > 0
