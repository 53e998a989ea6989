"""Runs psycopg's generators under Trio: each step waits until its socket can be read or written."""

import select
from time import monotonic
from typing import Any, TypeVar, cast

import trio
from psycopg import errors as e
from psycopg import waiting
from psycopg.abc import PQGen, PQGenConn

RV = TypeVar("RV")

READ, WRITE = int(waiting.WAIT_R), int(waiting.WAIT_W)
MAX_BUSY_S = 0.005
"""A task whose socket is always ready lets the others run after this long."""


async def drive(gen: PQGen[RV], fd: int, timeout_s: float | None = None) -> RV:
    """Return what `gen`, which waits for `fd`, returns; raise `_WaitTimeout` after `timeout_s`."""
    return cast("RV", await _bounded(gen, fd, timeout_s))


async def drive_connect(gen: PQGenConn[RV], timeout_s: float | None = None) -> RV:
    """Do the same for a generator that names the socket at each step, for it may change while connecting."""
    return cast("RV", await _bounded(gen, None, timeout_s))


def ready_now(fd: int, want: int) -> int:
    """Return the part of `want` (READ, WRITE) for which `fd` is ready, without waiting."""
    poll = select.poll()
    poll.register(fd, (select.POLLIN if want & READ else 0) | (select.POLLOUT if want & WRITE else 0))
    ready = 0
    for _, event in poll.poll(0):
        if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
            ready |= READ
        if event & (select.POLLOUT | select.POLLHUP | select.POLLERR):
            ready |= WRITE
    return ready & want


class _Fairness:
    """When this process last let its other tasks run."""

    __slots__ = ("since_s",)

    def __init__(self) -> None:
        self.since_s = 0.0

    def overdue(self) -> bool:
        return monotonic() - self.since_s > MAX_BUSY_S

    def reset(self) -> None:
        self.since_s = monotonic()


_fairness = _Fairness()


async def _bounded(gen: Any, fd: int | None, timeout_s: float | None) -> object:
    try:
        if timeout_s is None:
            return await _steps(gen, fd)
        with trio.move_on_after(timeout_s):
            return await _steps(gen, fd)
    except (OSError, trio.ClosedResourceError) as exc:
        raise e.OperationalError("connection socket closed") from exc
    raise e._WaitTimeout("wait timeout expired")


async def _steps(gen: Any, fd: int | None) -> object:
    waited = False
    try:
        step = next(gen)
        while True:
            at, want = (fd, step) if fd is not None else step
            # A socket to write to is nearly always ready, and asking is cheaper than a turn of the loop.
            ready = ready_now(at, want) if want & WRITE else 0
            if ready and _fairness.overdue():
                await trio.lowlevel.checkpoint()
                _fairness.reset()
            if not ready:
                ready = await _wait_ready(at, want)
                waited = True
                _fairness.reset()
            step = gen.send(ready)
    except StopIteration as end:
        if not waited and _fairness.overdue():
            await trio.lowlevel.cancel_shielded_checkpoint()  # be fair, but never lose a result that is here
            _fairness.reset()
        return cast("object", end.value)


async def _wait_ready(fd: int, want: int) -> int:
    if want == READ:
        await trio.lowlevel.wait_readable(fd)
        return READ
    if want == WRITE:
        await trio.lowlevel.wait_writable(fd)
        return WRITE
    ready = 0
    async with trio.open_nursery() as nursery:  # either will do; rare, only with a full socket buffer

        async def one(flag: int) -> None:
            nonlocal ready
            await _wait_ready(fd, flag)
            ready |= flag
            nursery.cancel_scope.cancel()

        nursery.start_soon(one, READ)
        nursery.start_soon(one, WRITE)
    return ready
