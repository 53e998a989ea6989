"""Removes what is over: old idempotency keys, deliveries past their retention, endpoints and keys of deleted instances,
old entries of the audit trail."""

import time

import structlog
import trio

from bridge.ids import first_event_id
from bridge.media.errors import MediaStoreFailed
from bridge.media.library import Library
from bridge.store.errors import StoreError
from bridge.store.store import Store

log = structlog.get_logger()

INTERVAL_S = 300.0
AUDIT_S = 90 * 24 * 3600.0
DELIVERED_S = 7 * 24 * 3600.0
"""How long a person can look at a delivery that arrived."""
ORPHANS_EVERY = 12
"""Rounds between two searches for files that no row knows: once an hour, and in the first round."""


class Janitor:
    """Cleans the store every five minutes; a failure waits for the next time."""

    def __init__(
        self, store: Store, *, interval_s: float = INTERVAL_S, audit_s: float = AUDIT_S, media: Library | None = None
    ) -> None:
        self._store = store
        self._interval_s = interval_s
        self._audit_s = audit_s
        self._media = media
        self._rounds = 0

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean until `stop`."""
        task_status.started()
        while not stop.is_set():
            with trio.move_on_after(self._interval_s):
                await stop.wait()
                return
            try:
                removed = await self._store.housekeeping.clean(audit_s=self._audit_s)
                removed["deliveries"] = await self._store.deliveries.prune(
                    DELIVERED_S, before=first_event_id(time.time() - DELIVERED_S)
                )
                await self._store.deliveries.sweep()
                removed |= await self._clean_media()
            except (StoreError, MediaStoreFailed, OSError) as error:
                log.warning("janitor.failed", code=getattr(error, "code", type(error).__name__))
            else:
                if any(removed.values()):
                    log.info("janitor.cleaned", **removed)

    async def _clean_media(self) -> dict[str, int]:
        """Remove media that have outlived their retention, and files that nobody refers to; return how many."""
        if self._media is None:
            return {}
        orphans = await self._media.find_orphans() if self._rounds % ORPHANS_EVERY == 0 else 0
        self._rounds += 1
        return {"media_orphans": orphans, **await self._media.clean()}
