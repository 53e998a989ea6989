"""What is forgotten after its time: events with their deliveries, and messages. Batches are bounded."""

from bridge.domain.ids import EventId
from bridge.store.fetch import run
from bridge.store.pool import Pool
from bridge.store.queries import load

BATCH = 2_000


class Retention:
    """Deletes what is old."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load("retention")

    async def events(self, before: EventId) -> int:
        """Delete a batch of events with ids below `before`, but none that is still to be delivered."""
        async with self._pool.connection() as conn:
            return await run(conn, self._sql["events"], {"before": before, "limit": BATCH})

    async def messages(self, older_than_s: float) -> int:
        """Delete a batch of messages that are older, by WhatsApp's clock."""
        async with self._pool.connection() as conn:
            return await run(conn, self._sql["messages"], {"older_than_s": older_than_s, "limit": BATCH})
