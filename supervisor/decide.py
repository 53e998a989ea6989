"""Every decision of a supervisor, pure: what is stopped and started again, in which order, when, and when to give up.

A *lane* is the children that wait for each other, in start order: one child alone under one_for_one, all of them under
the other strategies. Functions take a lane and return it changed; `step` says what to do next in it. So a child that
fails while its siblings are being restarted is nothing special: it changes the lane, and the next step follows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from supervisor.spec import Backoff, Intensity, Parking, Restart, Strategy


class Phase(Enum):
    """What a child does."""

    WAITING = "waiting"
    """Is started when it is `due` and its turn has come."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PARKED = "parked"
    """Ended too often; is tried again when it is `due`."""


class Target(Enum):
    """What is wanted of a child."""

    UP = "up"
    AGAIN = "again"
    """Stopped, then started again."""
    DOWN = "down"


class Reason(Enum):
    """How a child ended."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    ABNORMAL = "abnormal"
    REFUSED = "refused"
    """Ignore before started()."""


class Verdict(Enum):
    """What an end means for the supervisor."""

    EXPECTED = "expected"
    """It was asked to stop."""
    LEFT = "left"
    """It is not restarted."""
    RESTARTED = "restarted"
    PARKED = "parked"
    NOT_STARTED = "not_started"
    """It never was up; nothing is retried, whoever asked for it is told."""
    ESCALATED = "escalated"
    """Too many restarts: the supervisor gives up."""


LIVE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING})


@dataclass(frozen=True, slots=True)
class Policy:
    """How a supervisor restarts."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = field(default_factory=Intensity)
    backoff: Backoff = field(default_factory=Backoff)
    parking: Parking | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A child as decisions see it. `window` holds the times of its own latest restarts, oldest first."""

    id: str
    restart: Restart = Restart.PERMANENT
    phase: Phase = Phase.WAITING
    target: Target = Target.UP
    due: float = 0.0
    window: tuple[float, ...] = ()
    proven: bool = False
    """It was up at least once, or refused to be."""


Lane = tuple[Child, ...]


@dataclass(frozen=True, slots=True)
class End:
    """A child's end: `at` seconds on the clock, with a random number of 0 to 1 for the jitter."""

    id: str
    reason: Reason
    at: float
    random: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from an end; `window` is the supervisor's own, changed."""

    verdict: Verdict
    lane: Lane
    window: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    id: str


@dataclass(frozen=True, slots=True)
class Halt:
    id: str


@dataclass(frozen=True, slots=True)
class Sleep:
    until: float


Step = Launch | Halt | Sleep


def is_restarted(restart: Restart, reason: Reason) -> bool:
    """Return whether a child that ended by itself is started again."""
    match restart:
        case Restart.PERMANENT:
            return reason is not Reason.REFUSED
        case Restart.TRANSIENT:
            return reason is Reason.ABNORMAL
        case Restart.TEMPORARY:
            return False


def delay_s(backoff: Backoff, attempt: int, random: float) -> float:
    """Return the wait before restart number `attempt` (from 1); `random` is 0 to 1."""
    full = backoff.first_s
    for _ in range(attempt - 1):  # a product reaches infinity where a power overflows
        full = min(backoff.max_s, full * backoff.factor)
    return full * (1 - backoff.jitter * (1 - random))


def ended(policy: Policy, lane: Lane, end: End, window: tuple[float, ...]) -> Outcome:
    """Return what a child's end leads to; `window` holds the times of the supervisor's latest restarts."""
    child = find(lane, end.id)
    if child.target is not Target.UP:
        again = child.target is Target.AGAIN
        after = replace(child, phase=Phase.WAITING, target=Target.UP) if again else _down(child)
        return Outcome(Verdict.EXPECTED, _put(lane, after), window)
    if not child.proven and end.reason is not Reason.REFUSED:
        return Outcome(Verdict.NOT_STARTED, _drop(lane, child.id), window)
    if not is_restarted(child.restart, end.reason):
        after = replace(child, phase=Phase.STOPPED, proven=True)
        return Outcome(Verdict.LEFT, _put(lane, after), window)
    return _restarted(policy, lane, child, end, window)


def _restarted(policy: Policy, lane: Lane, child: Child, end: End, window: tuple[float, ...]) -> Outcome:
    own = _within(policy.intensity, child.window, end.at)
    window = _within(policy.intensity, window, end.at)
    if len(window if policy.parking is None else own) > policy.intensity.max_restarts:
        if policy.parking is None:
            return Outcome(Verdict.ESCALATED, _put(lane, replace(child, phase=Phase.STOPPED, window=own)), window)
        parked = replace(child, phase=Phase.PARKED, due=end.at + policy.parking.retry_after_s, window=own)
        return Outcome(Verdict.PARKED, _put(lane, parked), window)
    due = end.at + delay_s(policy.backoff, len(own), end.random)
    lane = _put(lane, replace(child, phase=Phase.WAITING, due=due, window=own))
    return Outcome(Verdict.RESTARTED, _again(policy.strategy, lane, child.id, due), window)


def step(lane: Lane, now: float) -> Step | None:
    """Return what to do next in a lane: stop in reverse order, then start in order, one at a time; None is to wait."""
    if any(child.phase is Phase.STOPPING for child in lane):
        return None
    for child in reversed(lane):
        if child.phase in LIVE and child.target is not Target.UP:
            return Halt(child.id)
    if any(child.phase is Phase.STARTING for child in lane):
        return None
    # The first that waits holds up those behind it, and a parked one is tried only while nobody waits.
    next_up = next((child for child in lane if child.phase is Phase.WAITING), None) or min(
        (child for child in lane if child.phase is Phase.PARKED), key=lambda child: child.due, default=None
    )
    if next_up is None:
        return None
    return Launch(next_up.id) if next_up.due <= now else Sleep(next_up.due)


def launched(policy: Policy, lane: Lane, child_id: str, now: float) -> Lane:
    """Return the lane with this child starting; a parked one starts on probation: its next end parks it again."""
    child = find(lane, child_id)
    probation = (now,) * policy.intensity.max_restarts
    window = probation if child.phase is Phase.PARKED else child.window
    return _put(lane, replace(child, phase=Phase.STARTING, window=window))


def started(lane: Lane, child_id: str) -> Lane:
    """Return the lane with this child up; one that was asked to stop meanwhile stays stopping."""
    child = find(lane, child_id)
    phase = Phase.RUNNING if child.phase is Phase.STARTING else child.phase
    return _put(lane, replace(child, phase=phase, proven=True))


def halted(lane: Lane, child_id: str) -> Lane:
    """Return the lane with this child told to stop."""
    return _put(lane, replace(find(lane, child_id), phase=Phase.STOPPING))


def stop(lane: Lane, child_id: str) -> Lane:
    """Return the lane with this child wanted down, for good: a restart of its siblings leaves it alone."""
    return _put(lane, _unwanted(find(lane, child_id)))


def forget(lane: Lane, child_id: str) -> Lane:
    """Return the lane with this child wanted down and dropped when it is."""
    return _put(lane, _unwanted(replace(find(lane, child_id), restart=Restart.TEMPORARY)))


def restart(policy: Policy, lane: Lane, child_id: str, now: float) -> Lane:
    """Return the lane with this child wanted up at once and its past forgiven.

    If it is up, it is stopped first, and its siblings with it as the strategy says.
    """
    child = replace(find(lane, child_id), due=now, window=(), proven=True)
    if child.phase not in LIVE:
        return _put(lane, replace(child, phase=Phase.WAITING, target=Target.UP))
    return _again(policy.strategy, _put(lane, replace(child, target=Target.AGAIN)), child_id, now)


def drain(lane: Lane) -> Lane:
    """Return the lane with all children wanted down."""
    downs = (_unwanted(child) for child in lane)
    return tuple(child for child in downs if not _is_gone(child))


def stop_order(strategy: Strategy, ids: Iterable[str], dynamic: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return groups of children to be stopped, one group after the other, the members of a group side by side.

    Under one_for_one those added later know no order among themselves: they go first, together.
    """
    apart = frozenset(dynamic) if strategy is Strategy.ONE_FOR_ONE else frozenset()
    ids = tuple(ids)
    together = tuple(child_id for child_id in ids if child_id in apart)
    return (together, *((child_id,) for child_id in reversed(ids) if child_id not in apart))


def gone(child: Child) -> Child:
    """Return a child that was dropped from its lane, as its last look."""
    return _down(child)


def find(lane: Lane, child_id: str) -> Child:
    """Return the child with this id; raise KeyError."""
    for child in lane:
        if child.id == child_id:
            return child
    raise KeyError(child_id)


def _again(strategy: Strategy, lane: Lane, child_id: str, due: float) -> Lane:
    """Mark the siblings that are restarted together with this child."""
    if strategy is Strategy.ONE_FOR_ONE:
        return lane
    at = next(index for index, child in enumerate(lane) if child.id == child_id)
    first = 0 if strategy is Strategy.ONE_FOR_ALL else at
    return tuple(_sibling(child, due) if index >= first and index != at else child for index, child in enumerate(lane))


def _sibling(child: Child, due: float) -> Child:
    if child.target is Target.DOWN or child.phase is Phase.PARKED:
        return child
    if child.phase not in LIVE:  # as in OTP, those that had ended or refused are started again with the others
        return replace(child, phase=Phase.WAITING, due=max(child.due, due))
    if child.restart is Restart.TEMPORARY:  # ends with its siblings and is not started with them
        return replace(child, target=Target.DOWN)
    return replace(child, target=Target.AGAIN, due=max(child.due, due))


def _within(intensity: Intensity, window: tuple[float, ...], now: float) -> tuple[float, ...]:
    """Add `now` to the window and drop what is older than the period; keep no more than can matter."""
    times = (*(at for at in window if at > now - intensity.period_s), now)
    return times[-(intensity.max_restarts + 1) :]


def _unwanted(child: Child) -> Child:
    return replace(child, target=Target.DOWN) if child.phase in LIVE else _down(child)


def _down(child: Child) -> Child:
    return replace(child, phase=Phase.STOPPED, target=Target.DOWN)


def _is_gone(child: Child) -> bool:
    """A temporary child that is not up is forgotten."""
    return child.restart is Restart.TEMPORARY and child.phase is Phase.STOPPED


def _put(lane: Lane, child: Child) -> Lane:
    if _is_gone(child):
        return _drop(lane, child.id)
    return tuple(child if other.id == child.id else other for other in lane)


def _drop(lane: Lane, child_id: str) -> Lane:
    return tuple(child for child in lane if child.id != child_id)
