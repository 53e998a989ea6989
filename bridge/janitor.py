"""Removes what is over: old idempotency keys, deliveries, attempts, events and messages past their retention, endpoints
and keys of deleted instances, old entries of the audit trail."""

import time
from collections.abc import Awaitable, Callable

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
"""How long a person can look at a delivery that arrived, at an attempt that failed, and at a replay that ended."""
BATCHES_MAX = 50
"""Of each kind and time: what is left is for the next time."""
ORPHANS_EVERY = 12
"""Rounds between two searches for files that no row knows: once an hour, and in the first round."""


class Janitor:
    """Cleans the store every five minutes; a failure waits for the next time."""

    def __init__(
        self,
        store: Store,
        *,
        interval_s: float = INTERVAL_S,
        audit_s: float = AUDIT_S,
        events_s: float = 0.0,
        messages_s: float = 0.0,
        media: Library | None = None,
    ) -> None:
        """Events and messages are kept for so many seconds, for ever when it is 0."""
        self._store = store
        self._events_s = events_s
        self._messages_s = messages_s
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
                removed |= await self._forget()
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

    async def _forget(self) -> dict[str, int]:
        """Delete what is older than it is kept; return how much of each kind."""
        now, store = time.time(), self._store
        over = first_event_id(now - DELIVERED_S)
        removed = {
            "deliveries": await _all(lambda: store.deliveries.prune(DELIVERED_S, before=over)),
            "attempts": await _all(lambda: store.deliveries.prune_attempts(DELIVERED_S)),
            "replays": await store.replays.prune(DELIVERED_S),
        }
        if self._events_s:
            before = first_event_id(now - self._events_s)
            removed["events"] = await _all(lambda: store.retention.events(before))
        if self._messages_s:
            removed["messages"] = await _all(lambda: store.retention.messages(self._messages_s))
        return removed


async def _all(batch: Callable[[], Awaitable[int]]) -> int:
    """Delete batch after batch until there is nothing left, or enough is done; return how many rows went."""
    total = 0
    for _ in range(BATCHES_MAX):
        if (count := await batch()) == 0:
            break
        total += count
    return total
