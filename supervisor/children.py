"""Carries out what `decide` decides about the children of one run of a supervisor.

Nothing here waits before it acts: an end, a start, a call changes a lane at once, and the lane's next steps follow.
What takes time (a child's start, its grace, a backoff) is a task or a deadline, and calls back when it is over.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import assert_never

import trio

from supervisor import decide
from supervisor.decide import End, Halt, Lane, Launch, Phase, Policy, Reason, Sleep, Verdict
from supervisor.errors import ChildExists, IntensityExceeded, NoSuchChild, StartFailed
from supervisor.slot import Slot, Status, describe, reason_of
from supervisor.snapshot import Change
from supervisor.spec import BRUTAL_KILL, INFINITY, ChildSpec, Strategy

log = logging.getLogger(__name__)
_NO_FIELDS: Mapping[str, str | float] = MappingProxyType({})

LATE_S = 5.0
"""A child that has not ended so long after it was cancelled shields itself or blocks the loop: this is logged."""


class Children:
    """The slots and the lanes. `give_up` is called once, when a decision is to end the supervisor."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        nursery: trio.Nursery,
        *,
        rng: Callable[[], float],
        give_up: Callable[[Exception], None],
        on_change: Callable[[Change], None],
    ) -> None:
        self.name = name
        self.slots: dict[str, Slot] = {}
        self.accepting = True
        self._policy = policy
        self._nursery = nursery
        self._rng = rng
        self._give_up = give_up
        self._on_change = on_change
        self._window: tuple[float, ...] = ()
        self._alarms: dict[str, float] = {}

    def __getitem__(self, child_id: str) -> Slot:
        try:
            return self.slots[child_id]
        except KeyError:
            raise NoSuchChild(child_id, supervisor=self.name) from None

    def add(self, spec: ChildSpec, *, dynamic: bool) -> Slot:
        """Take in a child, to be started when its turn comes; its promise says what becomes of it."""
        if spec.id in self.slots:
            raise ChildExists(spec.id, supervisor=self.name)
        slot = self.slots[spec.id] = Slot(spec, dynamic=dynamic, now=trio.current_time())
        self._advance(spec.id)
        return slot

    def decide(self, child_id: str, decision: Callable[[Lane, str], Lane]) -> None:
        """Change the lane of a child and carry out what follows."""
        lane = self._lane(child_id)
        self._apply(lane, decision(lane, child_id))
        self._advance(child_id)

    def restart(self, child_id: str) -> None:
        """Make a child start at once, whatever it did."""
        now = trio.current_time()
        self.decide(child_id, lambda lane, child_id: decide.restart(self._policy, lane, child_id, now))

    async def stop(self) -> None:
        """Stop all children in reverse order, each with its grace; may be called again after a cancellation."""
        self.accepting = False
        everyone = tuple(slot.child for slot in self.slots.values())
        self._apply(everyone, decide.drain(everyone))
        dynamic = [child_id for child_id, slot in self.slots.items() if slot.dynamic]
        for group in decide.stop_order(self._policy.strategy, self.slots, dynamic):
            slots = [self.slots[child_id] for child_id in group if child_id in self.slots]
            for slot in slots:
                if slot.child.phase in (Phase.STARTING, Phase.RUNNING):
                    self._halt(slot)
            for slot in slots:
                if slot.live:
                    await slot.done.wait()

    def kill(self) -> None:
        """Cancel whatever still runs; the nursery waits for their clean-up."""
        for slot in self.slots.values():
            if slot.live:
                slot.stop.set()
                slot.scope.cancel()

    # ---- lanes

    def _lane(self, key: str) -> Lane:
        """Return the lane of a child; under one_for_one it is alone in it, or gone."""
        if self._policy.strategy is Strategy.ONE_FOR_ONE:
            return (self.slots[key].child,) if key in self.slots else ()
        return tuple(slot.child for slot in self.slots.values())

    def _apply(self, before: Lane, after: Lane) -> None:
        kept = {child.id for child in after}
        for child in after:
            slot = self.slots[child.id]
            moved = child.phase is not slot.child.phase
            slot.child = child
            if moved:
                self._moved(slot)
        for child in before:
            if child.id not in kept:
                slot = self.slots.pop(child.id)
                slot.child = decide.gone(slot.child)
                self._moved(slot)

    def _moved(self, slot: Slot) -> None:
        slot.since = trio.current_time()
        if slot.child.phase in (Phase.STOPPED, Phase.PARKED):
            slot.promise.reject(StartFailed(f"{slot.spec.id} was stopped.", supervisor=self.name))
        try:
            self._on_change(Change(slot.spec.id, slot.state(slot.since), slot.last_error))
        except Exception as error:  # whoever watches must not break what is watched
            self._log(logging.ERROR, "supervisor.on_change_failed", slot, error)

    def _advance(self, key: str) -> None:
        """Carry out the next steps of a lane; once it stops, the order is that of `stop` alone."""
        while self.accepting:
            step = decide.step(self._lane(key), trio.current_time())
            match step:
                case Launch(child_id):
                    self._launch(self.slots[child_id])
                case Halt(child_id):
                    self._halt(self.slots[child_id])
                case Sleep(until):
                    self._set_alarm(key, until)
                    return
                case None:
                    return
                case _:
                    assert_never(step)

    def _set_alarm(self, key: str, until: float) -> None:
        key = key if self._policy.strategy is Strategy.ONE_FOR_ONE else ""
        if until < self._alarms.get(key, INFINITY):
            self._alarms[key] = until
            self._nursery.start_soon(self._alarm, key, until)

    async def _alarm(self, key: str, until: float) -> None:
        await trio.sleep_until(until)
        if self._alarms.get(key) == until:
            del self._alarms[key]
        self._advance(key)

    # ---- one child

    def _launch(self, slot: Slot) -> None:
        now = trio.current_time()
        slot.renew(now)
        slot.starts += 1
        lane = self._lane(slot.spec.id)
        self._apply(lane, decide.launched(self._policy, lane, slot.spec.id, now))
        self._nursery.start_soon(self._incarnate, slot, name=f"{self.name}/{slot.spec.id}")

    def _halt(self, slot: Slot) -> None:
        lane = self._lane(slot.spec.id)
        self._apply(lane, decide.halted(lane, slot.spec.id))
        slot.stop.set()
        grace_s = slot.spec.shutdown_s
        if grace_s == BRUTAL_KILL:
            slot.scope.cancel()
        else:
            slot.scope.deadline = min(slot.scope.deadline, trio.current_time() + grace_s)
        if grace_s < INFINITY:
            self._nursery.start_soon(self._watch_halt, slot, slot.done, grace_s + LATE_S)

    async def _watch_halt(self, slot: Slot, done: trio.Event, patience_s: float) -> None:
        with trio.CancelScope(shield=True):  # ends with the child
            with trio.move_on_after(patience_s):
                await done.wait()
            if not done.is_set():
                self._log(logging.ERROR, "child.ignores_cancellation", slot)
                await done.wait()

    async def _incarnate(self, slot: Slot) -> None:
        """Be one start of a child, from its launch to its end; its scope keeps Cancelled in and out."""
        error: Exception | None = None
        try:
            with slot.scope:
                await slot.spec.run(stop=slot.stop, task_status=Status(lambda value: self._came_up(slot, value)))
        except Exception as crash:
            error = crash
        except BaseExceptionGroup as group:  # KeyboardInterrupt, SystemExit: the program's, not the child's
            part, rest = group.split(Exception)
            self._torn_down(slot, part)
            assert rest is not None
            raise rest from None
        except BaseException:
            self._torn_down(slot, None)
            raise
        if error is None and not slot.up and slot.child.phase is Phase.STARTING:
            late = slot.scope.cancelled_caught
            what = f"not within {slot.spec.start_timeout_s:g} s" if late else "it returned before it called started()"
            error = StartFailed(f"{slot.spec.id}: {what}.", supervisor=self.name)
        self._ended(slot, error)

    def _torn_down(self, slot: Slot, error: Exception | None) -> None:
        lane = self._lane(slot.spec.id)
        self._apply(lane, decide.stop(lane, slot.spec.id))
        self._ended(slot, error)

    def _came_up(self, slot: Slot, value: object) -> None:
        if slot.up:
            raise RuntimeError("started() was called twice")
        slot.up = True
        if slot.child.phase is Phase.STARTING:
            slot.scope.deadline = INFINITY
            slot.promise.resolve(value)
        self.decide(slot.spec.id, decide.started)

    def _ended(self, slot: Slot, error: Exception | None) -> None:
        reason = reason_of(error, up=slot.up)
        if reason is Reason.ABNORMAL and error is not None:
            slot.last_error = describe(error)
        lane = self._lane(slot.spec.id)
        end = End(slot.spec.id, reason, trio.current_time(), self._rng())
        outcome = decide.ended(self._policy, lane, end, self._window)
        self._window = outcome.window
        self._report(slot, reason, outcome.verdict, error)
        if reason is Reason.REFUSED and outcome.verdict is Verdict.LEFT:
            slot.promise.resolve(None)
        elif not slot.up and outcome.verdict is not Verdict.EXPECTED:
            slot.promise.reject(StartFailed(f"{slot.spec.id}.", supervisor=self.name), error)
        if outcome.verdict is Verdict.ESCALATED:
            failure = IntensityExceeded(f"{self.name}/{slot.spec.id}.", supervisor=self.name, child=slot.spec.id)
            failure.__cause__ = error
            self._give_up(failure)
        self._apply(lane, outcome.lane)
        slot.done.set()
        self._advance(slot.spec.id)

    # ---- the log

    def _report(self, slot: Slot, reason: Reason, verdict: Verdict, error: Exception | None) -> None:
        fields = {"reason": reason.value, "verdict": verdict.value}
        if reason is Reason.ABNORMAL:
            event = "child.stop_failed" if verdict is Verdict.EXPECTED else "child.crashed"
            self._log(logging.ERROR, event, slot, error, fields)
        elif verdict is not Verdict.EXPECTED:
            self._log(logging.INFO, "child.ended", slot, fields=fields)
        elif slot.scope.cancelled_caught and slot.spec.shutdown_s != BRUTAL_KILL:
            self._log(logging.WARNING, "child.grace_exceeded", slot, fields={"grace_s": slot.spec.shutdown_s})

    def _log(
        self,
        level: int,
        event: str,
        slot: Slot,
        error: Exception | None = None,
        fields: Mapping[str, str | float] = _NO_FIELDS,
    ) -> None:
        log.log(level, event, exc_info=error, extra={"supervisor": self.name, "child": slot.spec.id, **fields})
