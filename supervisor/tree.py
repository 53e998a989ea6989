"""The supervisor: its life from start to stop, and the calls on it."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import trio

from supervisor import decide
from supervisor.children import Children
from supervisor.decide import Policy
from supervisor.errors import NoSuchChild, NotRunning, StartFailed
from supervisor.slot import Promise, describe
from supervisor.snapshot import Change, Kind, Snapshot, State
from supervisor.spec import INFINITY, Backoff, ChildSpec, Intensity, Parking, Restart, Strategy

_INTENSITY = Intensity()
_BACKOFF = Backoff()


class Supervisor:
    """Keeps children running: starts them in order, restarts them as told, stops them in reverse.

    Without `parking`, too many restarts end it: run() stops the other children and raises IntensityExceeded. With it,
    the child that ends too often is parked and its siblings go on. `on_change` is called, synchronously, at each change
    of a child's state. When run() itself is cancelled from outside, children are still stopped in order with
    their grace, for at most `cancel_grace_s` in all; when it was already asked to stop, they are cancelled at once.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = _INTENSITY,
        backoff: Backoff = _BACKOFF,
        parking: Parking | None = None,
        cancel_grace_s: float = 30.0,
        on_change: Callable[[Change], None] | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        if len({spec.id for spec in children}) < len(children):
            raise ValueError("the ids of the children must differ")
        self.name = name
        self._specs = tuple(children)
        self._policy = Policy(strategy, intensity, backoff, parking)
        self._cancel_grace_s = cancel_grace_s
        self._on_change = on_change
        self._rng = rng
        self._children: Children | None = None  # those of the latest run
        self._running = False
        self._state = State.STOPPED
        self._since: float | None = None
        self._failure: Exception | None = None
        self._life = trio.CancelScope()
        self._news = trio.Event()

    async def run(
        self, *, stop: trio.Event, task_status: "trio.TaskStatus[Supervisor]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until `stop` is set; raise StartFailed when a child of the first start fails, or IntensityExceeded.

        May be run again afterwards (a parent restarting it): it begins with the children given to the constructor.
        """
        if self._running:
            raise RuntimeError("this supervisor is already running")
        self._running, self._failure, self._life = True, None, trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                children = self._children = self._new_children(nursery)
                nursery.start_soon(self._end_life_on, stop)
                try:
                    with self._life:
                        await self._start_first()
                        task_status.started(self)
                        await trio.sleep_forever()
                    self._enter(State.STOPPING)
                    await children.stop()
                except BaseException:
                    self._enter(State.STOPPING)
                    with trio.move_on_after(0 if stop.is_set() else self._cancel_grace_s, shield=True):
                        await children.stop()
                    children.kill()
                    raise
                nursery.cancel_scope.cancel()
        finally:
            self._running = False
            self._enter(State.STOPPED)
        if self._failure is not None:
            raise self._failure

    def _new_children(self, nursery: trio.Nursery) -> Children:
        return Children(
            self.name, self._policy, nursery, rng=self._rng, give_up=self._give_up, on_change=self._child_changed
        )

    async def _start_first(self) -> None:
        self._enter(State.STARTING)
        try:
            for spec in self._specs:
                await self._start(spec, dynamic=False)
        except StartFailed as error:
            self._give_up(error)
            await trio.sleep_forever()  # for the moment until the end of this life is noticed
        self._enter(State.RUNNING)

    async def _end_life_on(self, stop: trio.Event) -> None:
        await stop.wait()
        self._life.cancel()

    def _give_up(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._life.cancel()

    # ---- calls

    async def start_child(self, spec: ChildSpec) -> Any:
        """Start a child and return what it gave to started(); None when it refused to start (Ignore).

        Raise StartFailed when it did not start; then it is not kept. A caller that is cancelled leaves no child behind.
        Under one_for_one such children start and stop side by side.
        """
        return await self._start(spec, dynamic=True)

    async def stop_child(self, child_id: str) -> None:
        """Stop a child with its grace and return when it has ended; it stays known, except a temporary one.

        It is not started again before restart_child. A caller that is cancelled does not keep the child from stopping.
        """
        await self._stop(child_id, decide.stop)

    async def restart_child(self, child_id: str) -> Any:
        """Start a stopped or parked child at once, or stop and start a running one; its past is forgiven.

        Siblings of a running child are restarted with it as the strategy says. Return and raise as start_child; a
        child that fails here stays supervised: it is tried again, parked, or too much.
        """
        children = self._accepting()
        slot = children[child_id]
        if slot.promise.settled.is_set():
            slot.promise = Promise()
        promise = slot.promise
        children.restart(child_id)
        await promise.settled.wait()
        return promise.result()

    async def delete_child(self, child_id: str) -> None:
        """Stop a child if it runs, and forget it."""
        await self._stop(child_id, decide.forget)

    async def changed(self) -> None:
        """Wait for the next change of state of a child or of the supervisor."""
        await self._news.wait()

    def child(self, child_id: str) -> Snapshot | None:
        """Return what snapshot() shows of one child, or None when there is none of this id."""
        slot = self._children.slots.get(child_id) if self._children is not None else None
        return None if slot is None else slot.snapshot(trio.current_time())

    def snapshot(self) -> Snapshot:
        """Return the tree below this supervisor as it is now."""
        now = trio.current_time() if self._since is not None else 0.0
        slots = self._children.slots if self._children is not None else {}
        return Snapshot(
            name=self.name,
            kind=Kind.SUPERVISOR,
            state=self._state,
            since_s=0.0 if self._since is None else now - self._since,
            last_error=None if self._failure is None else describe(self._failure),
            detail={"strategy": self._policy.strategy.value},
            children=tuple(slot.snapshot(now) for slot in slots.values()),
        )

    def as_child(self, *, restart: Restart = Restart.PERMANENT) -> ChildSpec:
        """Return the spec that makes this supervisor a child: no deadline, since each child below has its own."""
        return ChildSpec(self.name, self.run, restart, INFINITY, INFINITY, self.snapshot)

    async def _start(self, spec: ChildSpec, *, dynamic: bool) -> Any:
        children = self._accepting()
        slot = children.add(spec, dynamic=dynamic)
        promise = slot.promise
        try:
            await promise.settled.wait()
        except trio.Cancelled:
            if children.slots.get(spec.id) is slot:
                children.decide(spec.id, decide.forget if dynamic else decide.stop)
            raise
        return promise.result()

    async def _stop(self, child_id: str, decision: Callable[[decide.Lane, str], decide.Lane]) -> None:
        if self._children is None:
            raise NoSuchChild(child_id, supervisor=self.name)
        slot = self._children[child_id]
        self._children.decide(child_id, decision)
        if slot.live:
            await slot.done.wait()
        else:
            await trio.lowlevel.checkpoint()

    def _accepting(self) -> Children:
        if self._children is None or not self._children.accepting:
            raise NotRunning(supervisor=self.name)
        return self._children

    def _enter(self, state: State) -> None:
        self._state = state
        self._since = trio.current_time()
        self._tell_news()

    def _child_changed(self, change: Change) -> None:
        self._tell_news()
        if self._on_change is not None:
            self._on_change(change)

    def _tell_news(self) -> None:
        self._news.set()
        self._news = trio.Event()
