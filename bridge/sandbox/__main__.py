"""Runs a sandbox as a process of its own: `python -m bridge.sandbox --data-dir D`.

Its only line on stdout says that it is ready and where. It ends on SIGTERM and SIGINT, when the process that started it
dies, and with `--parent-pipe` when its stdin ends.
"""

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from functools import partial

import structlog
import trio

from bridge.errors import BridgeError
from bridge.process import freeze_what_lasts
from bridge.sandbox.causes import first_cause
from bridge.sandbox.cli import add_run_flags
from bridge.sandbox.server import Ready, run

log = structlog.get_logger()

_PR_SET_PDEATHSIG = 1
_PARENT_DIED = signal.SIGHUP


def main(arguments: list[str] | None = None) -> int:
    """Run until told to end; return the exit status."""
    return run_until_told(_parser().parse_args(arguments))


def run_until_told(options: argparse.Namespace) -> int:
    """Run a sandbox with these options (`cli.add_run_flags`); return the exit status."""
    _log_to_stderr(options.log_level)
    status = 0
    try:
        trio.run(_main, options)
    except* BridgeError as group:
        log.error("sandbox.cannot_run", error=str(first_cause(group)))
        status = 1
    return status


async def _main(options: argparse.Namespace) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_end_on_signal, nursery.cancel_scope)
        if options.parent_pipe:
            nursery.start_soon(_end_with_stdin, nursery.cancel_scope)
        start = partial(run, options.data_dir, host=options.host, port=options.port, proxy_port=options.proxy_port)
        ready: Ready = await nursery.start(start)
        freeze_what_lasts()
        print(json.dumps({"ready": True, **asdict(ready), "pid": os.getpid()}), flush=True)


async def _end_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    parent = os.getppid()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, _PARENT_DIED) as signals:
        _ask_for_parent_death()
        task_status.started()
        async for received in signals:
            # The kernel means the thread that started us; of a process with threads the rest may well be alive.
            if received != _PARENT_DIED or os.getppid() != parent:
                scope.cancel()
                return


async def _end_with_stdin(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        while await stdin.receive_some(4096):
            pass
    scope.cancel()


def _ask_for_parent_death() -> None:
    """Have the kernel send a signal when the parent, or the thread of it that started this process, ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _PARENT_DIED)


def _log_to_stderr(level: str) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bridge.sandbox", description="A local WhatsApp to test against.")
    add_run_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
