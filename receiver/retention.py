"""Deletes events that are old, a batch at a time, unless a handler still has to deal with them."""

import structlog
import trio

from receiver.errors import StoreUnavailable
from receiver.store import Store

log = structlog.get_logger()

EVERY_S = 3600.0
BATCH = 500
_PAUSE_S = 0.1
"""Between batches, so that whoever reads events gets a turn."""


async def run(store: Store, days: int) -> None:
    """Keep events for so many days, until cancelled; 0 days: for ever. Two receivers on one database may both do so."""
    if days == 0:
        return
    await store.connected()
    while True:
        try:
            deleted = await once(store, days)
        except StoreUnavailable:
            log.warning("retention.interrupted")  # the next hour takes it up again from the beginning
        else:
            log.info("retention.done", deleted=deleted, days=days)
        await trio.sleep(EVERY_S)


async def once(store: Store, days: int) -> int:
    """Delete all that is older; return how many. Raise `StoreUnavailable`."""
    deleted, after = await store.forget(days, after=0, limit=BATCH)
    while after is not None:
        await trio.sleep(_PAUSE_S)
        count, after = await store.forget(days, after=after, limit=BATCH)
        deleted += count
    return deleted
