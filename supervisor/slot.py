"""The place of one child in a supervisor: its spec, the decisions' view of it, and the handles of its current start."""

from collections.abc import Callable, Mapping
from typing import Any

import trio

from supervisor.decide import LIVE, Child, Phase, Reason
from supervisor.errors import Ignore, Shutdown, StartFailed
from supervisor.snapshot import Kind, Snapshot, State
from supervisor.spec import ChildSpec

_STATES = {
    Phase.STARTING: State.STARTING,
    Phase.RUNNING: State.RUNNING,
    Phase.STOPPING: State.STOPPING,
    Phase.STOPPED: State.STOPPED,
    Phase.PARKED: State.PARKED,
}


class Promise:
    """What becomes of one start: settled once, by the first to say so."""

    __slots__ = ("_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self._value: Any = None
        self._error: StartFailed | None = None

    def resolve(self, value: object) -> None:
        """The child is up, or refused to be (None)."""
        if not self.settled.is_set():
            self._value = value
            self.settled.set()

    def reject(self, error: StartFailed, cause: BaseException | None = None) -> None:
        """The child did not come up."""
        if not self.settled.is_set():
            error.__cause__ = cause
            self._error = error
            self.settled.set()

    def result(self) -> Any:
        """Return the value of a settled promise, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._value


class Status:
    """The task_status given to a child: hands what started() is given to `came_up`."""

    __slots__ = ("_came_up",)

    def __init__(self, came_up: Callable[[object], None]) -> None:
        self._came_up = came_up

    def started(self, value: object = None) -> None:
        """Say that the child is up; raise RuntimeError the second time."""
        self._came_up(value)


class Slot:
    """Mutable: replaced handles at each start, counters for the snapshot."""

    __slots__ = ("child", "done", "dynamic", "last_error", "promise", "scope", "since", "spec", "starts", "stop", "up")

    def __init__(self, spec: ChildSpec, *, dynamic: bool, now: float) -> None:
        self.spec = spec
        self.dynamic = dynamic
        self.child = Child(spec.id, spec.restart, due=now)
        self.promise = Promise()
        self.starts = 0
        self.since = now
        self.last_error: str | None = None
        self.up = False
        self.renew(now)

    def renew(self, now: float) -> None:
        """Make the handles of a new start. Shielded: only its supervisor cancels a child, when its grace is over."""
        self.stop = trio.Event()
        self.done = trio.Event()
        self.scope = trio.CancelScope(deadline=now + self.spec.start_timeout_s, shield=True)
        self.up = False

    @property
    def live(self) -> bool:
        """Whether a task runs for it."""
        return self.child.phase in LIVE

    def state(self, now: float) -> State:
        """Return the state to show."""
        if self.child.phase is Phase.WAITING:
            return State.STARTING if self.child.due <= now else State.BACKOFF
        return _STATES[self.child.phase]

    def snapshot(self, now: float) -> Snapshot:
        """Return what to show; a child that cannot be inspected is shown without details."""
        seen: Snapshot | Mapping[str, object] = {}
        if self.spec.inspect is not None:
            try:
                seen = self.spec.inspect()
            except Exception as error:  # health must not fail because one of many parts cannot describe itself
                seen = {"inspect_error": describe(error)}
        nested = seen if isinstance(seen, Snapshot) else None
        return Snapshot(
            name=self.spec.id,
            kind=Kind.WORKER if nested is None else nested.kind,
            state=self.state(now),
            restarts=max(0, self.starts - 1),
            since_s=now - self.since,
            last_error=self.last_error,
            detail=dict(seen) if isinstance(seen, Mapping) else seen.detail,
            children=() if nested is None else nested.children,
        )


def leaves(error: BaseException) -> tuple[BaseException, ...]:
    """Return the errors inside groups inside groups."""
    if isinstance(error, BaseExceptionGroup):
        return tuple(leaf for inner in error.exceptions for leaf in leaves(inner))
    return (error,)


def reason_of(error: BaseException | None, *, up: bool) -> Reason:
    """Return how a child ended that raised `error`; several errors count as what the worst of them is."""
    if error is None:
        return Reason.NORMAL
    kinds = leaves(error)
    if all(isinstance(leaf, Shutdown) for leaf in kinds):
        return Reason.SHUTDOWN
    if not up and all(isinstance(leaf, Ignore) for leaf in kinds):
        return Reason.REFUSED
    return Reason.ABNORMAL


def describe(error: BaseException) -> str:
    """Return type and text of an error; of a group, those of its members."""
    return "; ".join(f"{type(leaf).__name__}: {leaf}".removesuffix(": ") for leaf in leaves(error))
