"""Children that do what a test says, and a frame to run a supervisor in. Time is virtual in all tests that use it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from supervisor import ChildSpec, State, Supervisor

PATIENCE_S = 100_000
"""Virtual seconds after which a test that waits for something that never comes fails."""


class Puppet:
    """A child that writes `+id` when started, `-id` at a graceful stop, `!id` when cancelled, `~id` at its own end.

    `on_start` holds what the next starts do instead of coming up: an exception to raise, "hang", or "return".
    """

    def __init__(self, name: str, diary: list[str], *, stop_takes_s: float = 0.0, start_takes_s: float = 0.0) -> None:
        self.name = name
        self.diary = diary
        self.stop_takes_s = stop_takes_s
        self.start_takes_s = start_takes_s
        self.on_start: list[BaseException | str] = []
        self.starts: list[float] = []
        self.stops: list[trio.Event] = []
        self._error: BaseException | None = None
        self._told = trio.Event()

    def end(self, error: BaseException | None = None) -> None:
        """Make it end by itself: return, or raise `error`."""
        self._error = error
        self._told.set()

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[int]) -> None:
        self.starts.append(trio.current_time())
        self.stops.append(stop)
        self._told = trio.Event()
        self.diary.append(f"+{self.name}")
        try:
            if self.on_start:
                match self.on_start.pop(0):
                    case BaseException() as error:
                        raise error
                    case "hang":
                        await trio.sleep_forever()
                    case "return":
                        return
            await trio.sleep(self.start_takes_s)
            task_status.started(len(self.starts))
            await first_of(stop, self._told)
            if not stop.is_set():
                self.diary.append(f"~{self.name}")
                if self._error is not None:
                    raise self._error
                return
            await trio.sleep(self.stop_takes_s)
            self.diary.append(f"-{self.name}")
        except (trio.Cancelled, BaseExceptionGroup):  # a nursery wraps even Cancelled
            self.diary.append(f"!{self.name}")
            raise

    def spec(self, **fields: object) -> ChildSpec:
        return ChildSpec(self.name, self.run, **fields)  # type: ignore[arg-type]


async def first_of(*events: trio.Event) -> None:
    async def one(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(one, event)


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[trio.Event]:
    """Run a supervisor in the background; yield its stop event, which is set at the end."""
    stop = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(supervisor.run, stop=stop))
            yield stop
            stop.set()


async def reached(supervisor: Supervisor, child: str, state: State, *, restarts: int = 0) -> None:
    """Wait until a child is in a state, after at least so many restarts."""
    with trio.fail_after(PATIENCE_S):
        while True:
            seen = supervisor.child(child)
            if seen is not None and seen.state is state and seen.restarts >= restarts:
                return
            await supervisor.changed()


async def gone(supervisor: Supervisor, child: str) -> None:
    """Wait until a child is forgotten."""
    with trio.fail_after(PATIENCE_S):
        while supervisor.child(child) is not None:
            await supervisor.changed()
