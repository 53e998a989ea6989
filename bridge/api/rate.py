"""A token bucket for each API key: how many calls per second it may make, with a reserve for bursts."""

from dataclasses import dataclass

BURST_S = 2.0
"""Seconds' worth of calls that a key that was quiet may make at once."""
MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """The buckets of this process. A full one is not worth keeping: the oldest goes first."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str, rate_per_s: float, now: float) -> float:
        """Take a token of `name` and return 0, or return in how many seconds there is one; `now` never goes back."""
        burst = max(1.0, rate_per_s * BURST_S)
        bucket = self._buckets.get(name)
        if bucket is None:
            while len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[name] = _Bucket(burst, now)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate_per_s)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate_per_s
        bucket.tokens -= 1
        return 0.0
