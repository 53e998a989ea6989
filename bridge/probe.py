"""Measures how late tasks of this process are woken: what a blocking call, or too little CPU, does to all of them."""

import trio

from bridge.meters import LOOP_LAG_SECONDS

INTERVAL_S = 0.25


async def watch_loop(*, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Measure four times a second until `stop`."""
    task_status.started()
    while not stop.is_set():
        due = trio.current_time() + INTERVAL_S
        with trio.move_on_at(due):
            await stop.wait()
            return
        LOOP_LAG_SECONDS.observe(max(0.0, trio.current_time() - due))
