"""Gives each handler what it has to be called with, and records how it went: in order per chat, several at once."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
import trio

from receiver.calling import Process
from receiver.handlers import Handler, HandlerName
from receiver.retry import Again, Park, after_failure
from receiver.runs import Run, Runs

log = structlog.get_logger()

AT_ONCE = 4
"""Calls of one handler at the same time, each of another chat."""

_LOOK_S = 5.0
"""How long what another receiver on the same database has stored may go unnoticed."""

_SOON_S = 0.02
_SWEEP_S = 300.0
_LAST_CALLS_S = 2.5
"""How long calls that have begun may take after a stop; the server's own grace is a second longer."""


class Desk:
    """One handler: its process, the calls under way, and the counts of their outcomes."""

    def __init__(self, handler: Handler, runs: Runs, timeout_s: float) -> None:
        self.handler = handler
        self.process = Process(handler, timeout_s)
        self.results: Counter[str] = Counter(ok=0, failed=0, parked=0, interrupted=0)
        self._runs = runs
        self._busy: set[str] = set()
        self._wake = trio.Event()

    def wake(self) -> None:
        """Look for something to do."""
        self._wake.set()

    @property
    def calling(self) -> int:
        """How many calls are under way."""
        return len(self._busy)

    async def run(self, stop: trio.Event) -> None:
        """Work until `stop`, and then until the calls that have begun are recorded."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.process.run)
            async with trio.open_nursery() as calls:
                calls.start_soon(self._end_at, stop, calls.cancel_scope)
                while not stop.is_set():
                    await self.process.up()
                    self._wake = trio.Event()
                    wait_s = await self._begin(calls)
                    with trio.move_on_after(wait_s):
                        await self._wake.wait()
                await self._idle()
                calls.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    async def _end_at(self, stop: trio.Event, scope: trio.CancelScope) -> None:
        await stop.wait()
        scope.deadline = trio.current_time() + (_LAST_CALLS_S if self._busy else 0)
        self.wake()

    async def _idle(self) -> None:
        while self._busy:
            self._wake = trio.Event()
            await self._wake.wait()

    async def _begin(self, calls: trio.Nursery) -> float:
        """Begin what can be begun now; return how long there is nothing else to do."""
        free = AT_ONCE - len(self._busy)
        if free == 0:
            return _LOOK_S
        runs = await self._runs.due(self.handler.name, self._busy, free)
        for run in runs:
            self._busy.add(run.lane)
            calls.start_soon(self._call, run)
        if len(runs) == free:
            return _LOOK_S
        next_s = await self._runs.next_due_s(self.handler.name, self._busy)
        return _LOOK_S if next_s is None else min(max(next_s, _SOON_S), _LOOK_S)

    async def _call(self, run: Run) -> None:
        try:
            outcome = await self.process.call(run)
            if not outcome.counts:
                self.results["interrupted"] += 1
            elif outcome.error is None:
                await self._runs.done(self.handler.name, run.cursor)
                self.results["ok"] += 1
            else:
                await self._failed(run, outcome.error)
        finally:
            self._busy.discard(run.lane)
            self.wake()

    async def _failed(self, run: Run, error: str) -> None:
        name = self.handler.name
        match after_failure(run.attempts + 1, random.random()):  # noqa: S311 -- jitter
            case Again(delay_s):
                await self._runs.again(name, run.cursor, delay_s, error)
                self.results["failed"] += 1
            case Park():
                await self._runs.park(name, run.cursor, error)
                self.results["parked"] += 1
                log.warning("handler.parked", handler=name, webhook_id=run.webhook_id, attempts=run.attempts + 1)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a handler beside its backlog."""

    name: str
    state: str
    pid: int | None
    starts: int
    calling: int
    error: str | None
    results: Mapping[str, int]


class Desks:
    """All handlers of a receiver."""

    def __init__(self, url: str, handlers: Sequence[Handler], timeout_s: float) -> None:
        self._runs = Runs(url)
        self._desks = {handler.name: Desk(handler, self._runs, timeout_s) for handler in handlers}

    @property
    def names(self) -> tuple[HandlerName, ...]:
        return tuple(self._desks)

    def wake(self) -> None:
        """Tell all that something was stored."""
        for desk in self._desks.values():
            desk.wake()

    def shown(self) -> tuple[Shown, ...]:
        """Return what every handler is doing."""
        return tuple(self._shown(desk) for desk in self._desks.values())

    def _shown(self, desk: Desk) -> Shown:
        process = desk.process
        state = process.state.value if self._runs.owned or process.state.value != "up" else "standing_by"
        results = dict(desk.results)
        return Shown(desk.handler.name, state, process.pid, process.starts, desk.calling, process.error, results)

    async def run(self, stop: trio.Event) -> None:
        """Work until `stop`, and then until the calls that have begun are recorded, 2.5 s at most."""
        if not self._desks:
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep)
                async with trio.open_nursery() as desks:
                    for desk in self._desks.values():
                        desks.start_soon(desk.run, stop)
                nursery.cancel_scope.cancel()
        finally:
            self._runs.close()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(_SWEEP_S)
            await self._runs.sweep()
