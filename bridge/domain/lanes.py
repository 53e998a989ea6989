"""What happens to a delivery and to its lane after an attempt.

A lane is the order in which one endpoint gets what belongs together, by default one chat of one instance. Its head is
tried until it is through; only then comes the next. Retries are rows: the lane waits, the process does not.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from bridge.domain import schedule

PARK_AFTER = 5
"""Tries of one event, by an endpoint that is otherwise well, until its lane goes on without it."""
SHOWN_BYTES = 2_048
GONE = 410
TOO_MANY = 429


class Fate(StrEnum):
    """What becomes of a delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """It stays the head of its lane, which waits."""
    PARKED = "parked"
    """It goes on being tried in a lane of its own; the others overtake it."""
    DEAD = "dead"
    """Older than its endpoint allows: tried no more, kept for replay."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended: `status` is None when there was no answer."""

    status: int | None
    error: str | None = None
    timed_out: bool = False
    retry_after_s: float | None = None
    body: str | None = None
    """The first `SHOWN_BYTES` of the answer's body."""
    duration_ms: int = field(default=0, compare=False)

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Case:
    """What is known about a delivery when its answer is judged."""

    attempts: int
    """Including this one."""
    age_s: float
    max_age_s: float
    endpoint_well: bool
    """The endpoint took another delivery after this one had begun to fail."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The fate of the delivery; `wait_s` is how long it (and, unless parked, its lane) waits; None: go on at once."""

    fate: Fate
    wait_s: float | None = None
    pause_endpoint: bool = False


def decide(answer: Answer, case: Case, *, jitter: float) -> Decision:
    """Judge an answer. Everything but a 2xx is tried again: a receiver in mid-deployment answers 404 as well."""
    if answer.ok:
        return Decision(Fate.DELIVERED)
    slow = answer.timed_out or answer.status == TOO_MANY
    wait = schedule.wait_s(case.attempts, jitter=jitter, slow=slow, asked_s=answer.retry_after_s)
    if answer.status == GONE:
        return Decision(Fate.RETRY, wait, pause_endpoint=True)
    if case.age_s >= case.max_age_s:
        return Decision(Fate.DEAD)
    if case.attempts >= PARK_AFTER and case.endpoint_well:
        return Decision(Fate.PARKED, wait)
    return Decision(Fate.RETRY, wait)
