"""Knows how an endpoint is doing: how many lanes it may have at once, and when a failing one is probed.

Pure: times are arguments. A single failing lane backs off by itself; when many fail and none gets through, the endpoint
is held, and one lane at a time is let out to probe it. Held deliveries lose nothing, not even an attempt.
"""

from dataclasses import dataclass, field

from bridge.domain.lanes import TOO_MANY, Answer
from bridge.domain.schedule import ASKED_MAX_S, JITTER, SLOW_WAIT_S

OPEN_AFTER_LANES = 5
NOTE_AFTER_S = 60.0
"""Of nothing but failures, before that is stored: an endpoint that fails now and then costs no writes."""
DISABLE_AFTER_S = 5 * 86_400.0
"""Of nothing but failures, after which an endpoint is disabled."""
PROBE_FIRST_S = 1.0
PROBE_MAX_S = 30.0


@dataclass(slots=True)
class Breaker:
    """The state of one endpoint, kept by the dispatcher; what is lost at a restart is learnt again."""

    capacity: int
    busy: int = 0
    """Lanes that are being worked on."""
    replaying: int = 0
    """Lanes of replays that are being worked on."""
    more: bool = False
    """The last claim gave it all the lanes that it may have: others may be due."""
    failing: set[str] = field(default_factory=set)
    """Lanes that failed since the last success."""
    unreachable: set[str] = field(default_factory=set)
    """Lanes whose last attempt found nobody there."""
    probe_at: float | None = None
    """When the next lane is let out; None while the endpoint is not held."""
    probe_wait_s: float = PROBE_FIRST_S
    succeeded_at: float | None = None
    """Wall clock, seconds since 1970."""
    failing_from: float | None = None
    """Wall clock of the first failure since the last success."""

    def free(self, now: float) -> int:
        """Return how many more lanes may be claimed."""
        if self.probe_at is None:
            return max(self.capacity - self.busy, 0)
        return 1 if self.busy == 0 and now >= self.probe_at else 0

    def succeeded(self, lane: str, at: float) -> frozenset[str] | None:
        """Note a success; return the lanes that need not wait any longer, None meaning all."""
        was_held, waiting = self.probe_at is not None, frozenset(self.unreachable - {lane})
        self.forget()
        self.succeeded_at, self.failing_from = at, None
        return None if was_held else waiting

    def forget(self) -> None:
        """Forget every failure."""
        self.failing.clear()
        self.unreachable.clear()
        self.probe_at, self.probe_wait_s = None, PROBE_FIRST_S

    def failing_since(self, at: float, stored: float | None) -> float:
        """Note a failure at `at`; return since when every attempt has failed, as far back as is `stored`."""
        if self.failing_from is None:
            self.failing_from = at
        return self.failing_from if stored is None else min(stored, self.failing_from)

    def failed(self, lane: str, answer: Answer, now: float, *, jitter: float) -> bool:
        """Note a failure; return whether the endpoint is held from now on."""
        self.failing.add(lane)
        if answer.status is None and not answer.timed_out:
            self.unreachable.add(lane)
        if len(self.failing) < OPEN_AFTER_LANES:
            return False
        newly = self.probe_at is None
        slow = answer.timed_out or answer.status == TOO_MANY
        rest_s = max(SLOW_WAIT_S if slow else 0.0, min(answer.retry_after_s or 0.0, ASKED_MAX_S))
        pause = max(self.probe_wait_s * (1 + JITTER * jitter), rest_s)
        if newly or now >= (self.probe_at or 0.0):
            self.probe_at = now + pause
            if not newly:
                self.probe_wait_s = min(self.probe_wait_s * 2, PROBE_MAX_S)
        return newly
