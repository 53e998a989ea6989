"""A child process on Trio: its pipes as streams, its end as something to wait for."""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

_TERMINATE_S = 2.0
_waiters = trio.CapacityLimiter(200)
"""Threads that wait for a child's end, where the kernel has no pidfd."""


class Process(ABC):
    """A running process with three pipes. `wait` may be called by one task at a time."""

    pid: int
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """The exit status, negative for a signal as in `subprocess`; None while it runs, or when nobody knows."""

    @abstractmethod
    def ended(self) -> bool:
        """Return whether it has ended; never waits."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait for its end, after which `returncode` is known."""

    @abstractmethod
    def kill(self) -> None: ...

    @abstractmethod
    def terminate(self) -> None: ...

    async def end(self, patience_s: float) -> None:
        """Wait `patience_s` for the end, then SIGTERM, then SIGKILL; close the pipes."""
        with trio.CancelScope(shield=True):  # every step has its own deadline
            with trio.move_on_after(patience_s):
                await self.wait()
            await self.stdin.aclose()
            if not self.ended():
                self.terminate()
                with trio.move_on_after(_TERMINATE_S):
                    await self.wait()
            if not self.ended():
                self.kill()
            await self.wait()
            await self.stdout.aclose()
            await self.stderr.aclose()


class ChildProcess(Process):
    """A process of our own."""

    def __init__(self, arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        """Start it on the calling thread.

        Not with `trio.lowlevel.open_process`: that forks on a worker thread, and a child that asked to be killed with
        its parent is killed when that *thread* ends, after ten idle seconds.
        """
        self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        assert self._popen.stdin is not None and self._popen.stdout is not None and self._popen.stderr is not None
        self.pid = self._popen.pid
        self.stdin = trio.lowlevel.FdStream(os.dup(self._popen.stdin.fileno()))
        self.stdout = trio.lowlevel.FdStream(os.dup(self._popen.stdout.fileno()))
        self.stderr = trio.lowlevel.FdStream(os.dup(self._popen.stderr.fileno()))
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            pipe.close()

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    def ended(self) -> bool:
        return self._popen.poll() is not None

    async def wait(self) -> None:
        if self._popen.poll() is None:
            if hasattr(os, "pidfd_open"):
                pidfd = os.pidfd_open(self._popen.pid)
                try:
                    await trio.lowlevel.wait_readable(pidfd)
                finally:
                    os.close(pidfd)
            else:
                await trio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True, limiter=_waiters)
        self._popen.wait()

    def kill(self) -> None:
        self._popen.kill()

    def terminate(self) -> None:
        self._popen.terminate()
