"""What a supervisor is told: its children, how to restart them, how often, and how long to wait."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from supervisor.snapshot import Snapshot

Run = Callable[..., Awaitable[None]]
"""A child: `async def run(*, stop: trio.Event, task_status: trio.TaskStatus) -> None`.

It calls `task_status.started(value)` when it is up, and returns soon after `stop` is set. Returning is a normal end,
raising `Shutdown` an end with the reason shutdown, raising anything else a crash. Raising `Ignore` before started()
refuses the start. Each start gets a `stop` of its own.
"""

Inspect = Callable[[], "Snapshot | Mapping[str, object]"]

INFINITY: Final = math.inf
"""As `shutdown_s`: wait as long as the child takes. Right for children that are supervisors."""
BRUTAL_KILL: Final = 0.0
"""As `shutdown_s`: cancel at once."""


class Restart(Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a crash only."""
    TEMPORARY = "temporary"
    """Never; it is forgotten when it ends."""


class Strategy(Enum):
    """Which siblings are restarted together with a child that ended."""

    ONE_FOR_ONE = "one_for_one"
    """None."""
    ONE_FOR_ALL = "one_for_all"
    """All."""
    REST_FOR_ONE = "rest_for_one"
    """Those that were started after it."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `max_restarts` restarts within `period_s` seconds; one more is too many.

    Counted over the whole supervisor, as in OTP; over each child where children are parked.
    """

    max_restarts: int = 5
    period_s: float = 30

    def __post_init__(self) -> None:
        if self.max_restarts < 0 or not self.period_s > 0:
            raise ValueError("max_restarts must not be negative and period_s must be positive")


@dataclass(frozen=True, slots=True)
class Backoff:
    """The n-th restart of a child within the intensity's period waits `first_s * factor ** (n - 1)`, at most `max_s`.

    `jitter` is the share of the delay that is random: 0.5 gives half of it to all of it.
    """

    first_s: float = 0.1
    max_s: float = 10
    factor: float = 2
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if self.first_s < 0 or self.max_s < self.first_s or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError("0 <= first_s <= max_s, factor >= 1 and 0 <= jitter <= 1 must hold")


@dataclass(frozen=True, slots=True)
class Parking:
    """Park a child that exceeds the intensity instead of ending the supervisor; try it again after `retry_after_s`."""

    retry_after_s: float = 300

    def __post_init__(self) -> None:
        if not self.retry_after_s > 0:
            raise ValueError("retry_after_s must be positive")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: how to run it, when to restart it, how long it may take to start and to stop.

    `shutdown_s` is the grace between `stop` and cancellation: seconds, INFINITY or BRUTAL_KILL. `inspect` gives what
    a snapshot shows of the child: a nested supervisor's `snapshot`, or a mapping of details.
    """

    id: str
    run: Run
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    start_timeout_s: float = 30.0
    inspect: Inspect | None = None

    def __post_init__(self) -> None:
        if not self.shutdown_s >= 0 or not self.start_timeout_s > 0:
            raise ValueError("shutdown_s must not be negative and start_timeout_s must be positive")
