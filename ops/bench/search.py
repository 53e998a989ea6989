"""Which rate to try next, on the way to the highest one that is held. Pure: it sees what came of the tries before.

Short probes go upwards until one fails. Then the space between the best and the worst is halved by runs that last,
until what held and what did not are close together. A probe that held is only a hint: the rate that is told has held
for the full time, so when the space above a probe is used up, that rate is tried for the full time as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

GRAIN = 10.0
"""Rates are multiples of this, per second."""


@dataclass(frozen=True, slots=True)
class Search:
    """Where the search begins and how much it may cost. Rates are per second."""

    first: float = 200
    step: float = 100
    last: float = 1200
    probe_s: float = 8
    hold_s: float = 30
    within: float = 0.04
    """Good enough: so much between the rate that held and the next one that did not."""
    holds: int = 5
    """Runs of the full time at most, as long as one of them held."""
    lower: int = 3
    """So many more, downwards, while none has held."""
    back: float = 0.85


@dataclass(frozen=True, slots=True)
class Try:
    """A rate to try, for the full time or only as a probe."""

    rate: float
    full: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    rate: float
    full: bool
    held: bool


def next_try(search: Search, tried: Sequence[Tried]) -> Try | None:
    """Return what to try next, None when the highest rate is known well enough or enough was spent on it."""
    if not any(one.full for one in tried) and all(one.held for one in tried):
        rate = tried[-1].rate + search.step if tried else search.first
        if rate <= search.last:
            return Try(rate, full=False)
    return _next_full(search, tried)


def _next_full(search: Search, tried: Sequence[Tried]) -> Try | None:
    failed = min((one.rate for one in tried if not one.held), default=None)
    below = [one for one in tried if one.held and (failed is None or one.rate < failed)]
    proven = max((one.rate for one in below if one.full), default=0.0)
    hinted = max((one.rate for one in below), default=0.0)
    spent = sum(one.full for one in tried)
    if spent >= search.holds + (0 if proven else search.lower):
        return None
    if failed is None:
        return None if proven else Try(hinted, full=True)
    if not hinted:
        return Try(max(GRAIN, _rounded(failed * search.back)), full=True) if failed > GRAIN else None
    middle = _rounded((hinted + failed) / 2)
    if failed - hinted > search.within * hinted and hinted < middle < failed:
        return Try(middle, full=True)
    return Try(hinted, full=True) if hinted > proven else None


def _rounded(rate: float) -> float:
    return rate // GRAIN * GRAIN
