"""What the two ways to run a bridge share: signals, the ready line, and what a person reads at a terminal."""

import gc
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Run = Callable[[trio.Event], Awaitable[None]]


def run_until_signalled(run: Run, *, parent_pipe: bool = False) -> int:
    """Run `run(stop)` and set `stop` at SIGTERM or Ctrl-C; return 0 when it then ended in order.

    With `parent_pipe` it is set too when stdin ends: whoever holds the other end is gone, also after a `kill -9`.
    """
    trio.run(_supervise, run, parent_pipe)
    return 0


async def _supervise(run: Run, parent_pipe: bool) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def watch(task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(*SIGNALS) as received:
                task_status.started()
                async for _ in received:
                    stop.set()

        async def watch_parent() -> None:
            async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as pipe:
                async for _ in pipe:
                    pass
            stop.set()

        await nursery.start(watch)
        if parent_pipe:
            nursery.start_soon(watch_parent)
        await run(stop)
        nursery.cancel_scope.cancel()


def freeze_what_lasts() -> None:
    """Tell the garbage collector that what is there now stays, modules above all: once a process has started.

    Without this a full collection looks at all of it: one in 400 texts was seen, which stopped a bridge for 70 ms.
    """
    gc.collect()
    gc.freeze()
    log.info("process.memory_frozen", objects=gc.get_freeze_count())


def announce(fields: dict[str, object], *, as_json: bool) -> None:
    """Print the one thing that goes to stdout: a JSON line, or lines for a person."""
    if as_json:
        print(json.dumps({"ready": True, **fields, "pid": os.getpid()}), flush=True)
        return
    for name, value in fields.items():
        if value is not None:
            print(f"{name:>9}  {value}", flush=True)
    sys.stdout.flush()
