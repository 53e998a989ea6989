"""Works replays off: puts their events into lanes, batch by batch, a few hundred ahead of the deliveries at most.

A replay is a row; this task has nothing to remember and goes on after a restart where the row says.
"""

from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from bridge.store.errors import StoreUnavailable
from bridge.store.replays import Replays

log = structlog.get_logger()

IDLE_S = 60.0
"""How long a replay that nobody told us of may stay unseen."""
FULL_S = 0.25
"""How long to wait when every replay has enough waiting."""


class ReplayStore(Protocol):
    """The part of the store that replays need."""

    @property
    def replays(self) -> Replays: ...


class Replayer:
    """A supervised child."""

    def __init__(self, store: ReplayStore, *, wake: Callable[[], None]) -> None:
        """`wake` tells the dispatcher that there is something to deliver."""
        self._store = store
        self._tell = wake
        self._woken = trio.Event()

    def wake(self) -> None:
        """Say that there is a new replay."""
        self._woken.set()

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until `stop`; it may be cut off at any moment."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work)
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        while True:
            self._woken = trio.Event()
            try:
                pause_s = await self._turn()
            except StoreUnavailable as error:
                log.warning("replay.store_unavailable", error=str(error))
                pause_s = 1.0
            if pause_s:
                with trio.move_on_after(pause_s):
                    await self._woken.wait()

    async def _turn(self) -> float:
        """Do a batch of each replay that has room; return how long to wait before the next turn."""
        running = await self._store.replays.running()
        queued = [await self._store.replays.enqueue(id) for id, room in running if room]
        if any(queued):
            self._tell()
        if not running:
            return IDLE_S
        return 0.0 if queued else FULL_S
