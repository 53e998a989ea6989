"""Decides what happens to an event that a handler could not deal with: again after a while, or parked. Pure."""

from dataclasses import dataclass

DELAYS_S = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Before the second call, the third, and so on: an hour and three quarters in all, then it is parked."""

JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Again:
    """Call it again after `delay_s`; what follows in its chat waits as long."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Call it no more until somebody asks for it; what follows in its chat goes on."""


def after_failure(attempts: int, chance: float) -> Again | Park:
    """Return what to do after `attempts` calls that failed; `chance` from 0 to 1 spreads the delay by 20 %."""
    if attempts > len(DELAYS_S):
        return Park()
    return Again(DELAYS_S[attempts - 1] * (1 - JITTER + 2 * JITTER * chance))
