"""Ends a receiver whose parent is gone, so that none is left behind: by the end of stdin, and on Linux by a signal."""

import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator

import trio

DEATH_SIGNAL = signal.SIGUSR1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, DEATH_SIGNAL)
_PR_SET_PDEATHSIG = 1
_READ_BYTES = 4096


def ask_for_death_signal() -> None:
    """Ask Linux for `DEATH_SIGNAL` when the parent dies; elsewhere do nothing.

    Linux sends it when the *thread* that started us ends, which Trio's `open_process` starts in a pool: so it is a
    signal to look whether the parent is still the same, not one to die by.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, DEATH_SIGNAL, 0, 0, 0)


async def end_of_stdin() -> None:
    """Return when the other end of our stdin is closed."""
    fd = sys.stdin.fileno()
    try:
        while True:
            await trio.lowlevel.wait_readable(fd)
            if not os.read(fd, _READ_BYTES):
                return
    except OSError:
        await trio.lowlevel.checkpoint()  # a file or /dev/null cannot be waited for: nobody holds the other end


async def stop_signal(signals: AsyncIterator[int], parent_pid: int) -> str:
    """Return the name of the first of `signals` that asks us to end; `DEATH_SIGNAL` does when our parent changed."""
    async for number in signals:
        if number != DEATH_SIGNAL or os.getppid() != parent_pid:
            return signal.Signals(number).name
    raise AssertionError("a signal receiver does not end")
