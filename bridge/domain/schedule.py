"""When a delivery is tried again: the retry table of the webhook contract, as arithmetic."""

WAITS_S = (2.0, 10.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0)
"""Seconds between the first attempts."""
LAST_WAIT_S = 7_200.0
"""Seconds between all later attempts."""
JITTER = 0.2
SLOW_WAIT_S = 60.0
"""A receiver that says 429 or does not answer in time is left alone for at least this long."""
ASKED_MAX_S = 3_600.0
"""`Retry-After` is believed up to here."""


def wait_s(attempts: int, *, jitter: float, slow: bool = False, asked_s: float | None = None) -> float:
    """Return the seconds until the next attempt, after `attempts` (1 or more) that failed.

    `jitter` is a random number in [-1, 1]. `slow` says that the last answer was 429 or none in time. `asked_s` is the
    answer's `Retry-After`; it replaces the table, and is never undercut.
    """
    if asked_s is not None:
        planned = min(max(asked_s, 1.0), ASKED_MAX_S)
        wait = min(planned * (1 + JITTER * abs(jitter)), ASKED_MAX_S)
    else:
        planned = WAITS_S[attempts - 1] if attempts <= len(WAITS_S) else LAST_WAIT_S
        wait = planned * (1 + JITTER * jitter)
    return max(wait, SLOW_WAIT_S) if slow else wait
